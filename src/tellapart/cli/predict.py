"""`tellapart predict`: ask a run about images."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli import _shared as shared

if TYPE_CHECKING:
    from tellapart.types import Predictions


def run(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="An id, the beginning of one, or a path.")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE…", help="Images, or folders of them.")],
    runs: shared.Runs = Path("runs"),
    device: shared.Device = "auto",
    skip_bad: shared.SkipBad = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV: image, answer, one probability a class.")] = False,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Ask a finished run what IMAGEs are."""
    from tellapart import experiment
    from tellapart.data.loose import from_paths
    from tellapart.runs.store import open_run

    run = open_run(run_id, runs)
    settings = shared.settings(runs=runs, device=device, quiet=quiet, skip_bad=skip_bad)
    predictions = experiment.predict(run, from_paths(images, run.classes), settings=settings)
    if as_json:
        shared.print_json([_entry(predictions, row) for row in range(len(predictions))])
    elif as_csv:
        _print_csv(predictions)
    else:
        _print_text(predictions)


def _entry(predictions: Predictions, row: int) -> dict:
    proba = dict(zip(predictions.classes, map(float, predictions.proba[row]), strict=True))
    return {
        "image": predictions.ids[row],
        "answer": predictions.classes[predictions.answers[row]],
        "probabilities": proba,
    }


def _print_text(predictions: Predictions) -> None:
    from rich.text import Text

    console = shared.out()
    for row in range(len(predictions)):
        entry = _entry(predictions, row)
        share = max(entry["probabilities"].values())
        line = Text.assemble(f"{entry['image']}: ", (entry["answer"], "bold"), f" {share:.1%}")
        console.print(line, highlight=False, soft_wrap=True)


def _print_csv(predictions: Predictions) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["image", "answer", *predictions.classes])
    for row in range(len(predictions)):
        entry = _entry(predictions, row)
        writer.writerow([entry["image"], entry["answer"], *(f"{p:.6f}" for p in entry["probabilities"].values())])
