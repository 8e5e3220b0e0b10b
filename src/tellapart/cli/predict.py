"""`tellapart predict`: ask a run about images."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tellapart.cli import _shared as shared

if TYPE_CHECKING:
    from tellapart.evaluate.decision import Verdicts
    from tellapart.runs.store import Run
    from tellapart.types import Predictions


def run(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="An id, the beginning of one, or a path.")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE…", help="Images, or folders of them.")],
    runs: shared.Runs = Path("runs"),
    device: shared.Device = "auto",
    skip_bad: shared.SkipBad = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV: image, answer, verdict if the run has one, one probability a class.")
    ] = False,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Ask a finished run what IMAGEs are; one made by `calibrate` also says whether it is sure enough to answer."""
    from tellapart import experiment
    from tellapart.data.loose import from_paths
    from tellapart.runs.store import open_run

    run = open_run(run_id, runs)
    settings = shared.settings(runs=runs, device=device, quiet=quiet, skip_bad=skip_bad)
    predictions = experiment.predict(run, from_paths(images, run.classes), settings=settings)
    said = _verdicts(run, predictions)
    entries = [_entry(predictions, row, said) for row in range(len(predictions))]
    if as_json:
        shared.print_json(entries)
    elif as_csv:
        _print_csv(entries, predictions.classes, judged=said is not None)
    else:
        _print_text(entries, said)


def _verdicts(run: Run, predictions: Predictions) -> Verdicts | None:
    """Verdicts of a run that has more to say than its most probable class."""
    from tellapart.calibration import decision, has_verdict

    found = decision(run) if has_verdict(run) else None
    return found.verdicts(predictions.proba) if found and found.judges else None


def _entry(predictions: Predictions, row: int, said: Verdicts | None) -> dict[str, Any]:
    proba = dict(zip(predictions.classes, map(float, predictions.proba[row]), strict=True))
    verdict = {} if said is None else {"verdict": str(said.names[row]), "because": str(said.reasons[row])}
    return {
        "image": predictions.ids[row],
        "answer": predictions.classes[predictions.answers[row]],
        **verdict,
        "probabilities": proba,
    }


def _print_text(entries: list[dict[str, Any]], said: Verdicts | None) -> None:
    from rich.text import Text

    console = shared.out()
    for entry in entries:
        share = max(entry["probabilities"].values())
        if said is None:
            line = Text.assemble(f"{entry['image']}: ", (entry["answer"], "bold"), f" {share:.1%}")
        else:
            why = f" ({entry['answer']} {share:.1%}; {entry['because']})"
            line = Text.assemble(f"{entry['image']}: ", (entry["verdict"], "bold"), why)
        console.print(line, highlight=False, soft_wrap=True)
    if said is not None:
        console.print(f"{said.unsure:,} of {len(said):,} images: unsure", highlight=False)


def _print_csv(entries: list[dict[str, Any]], classes: tuple[str, ...], *, judged: bool) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    verdict = ["verdict"] if judged else []
    writer.writerow(["image", "answer", *verdict, *classes])
    for entry in entries:
        said = [entry[name] for name in verdict]
        writer.writerow([entry["image"], entry["answer"], *said, *(f"{p:.6f}" for p in entry["probabilities"].values())])
