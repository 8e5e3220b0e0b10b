"""`tellapart predict`: ask a run about images, a few or millions."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from tellapart.cli import options as shared

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from tellapart.inference.context import Settings
    from tellapart.inference.image_sources.base import SourceOptions
    from tellapart.inference.prediction import ImagePrediction
    from tellapart.progress import Progress
    from tellapart.workflows.predict import PredictSummary

_IMAGES = "Files, folders, quoted patterns, CSV/TSV or parquet tables, .zip, .tar, IDX; - is standard input. docs/predict.md."


def run(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="An id, the beginning of one, or a path.")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE…", help=_IMAGES)],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write a .csv, .jsonl or .parquet; can be gone on with.")
    ] = None,
    as_csv: Annotated[
        bool,
        typer.Option("--csv", help="Print CSV: image, predicted, decision and reason if calibrated, probabilities."),
    ] = False,
    as_lines: Annotated[bool, typer.Option("--json-lines", help="Print one JSON object a line.")] = False,
    as_parquet: Annotated[bool, typer.Option("--parquet", help="Write parquet, if FILE has no ending that says so.")] = False,
    stability: Annotated[
        bool, typer.Option("--stability", help="Ask again about each image re-saved as JPEG and scaled: does the answer stay?")
    ] = False,
    folder: shared.Images = None,
    id_column: shared.IdColumn = None,
    allow_urls: Annotated[bool, typer.Option("--allow-urls", help="Fetch images named by http:// or https://.")] = False,
    runs: shared.Runs = Path("runs"),
    device: shared.Device = "auto",
    skip_bad: shared.SkipBad = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin FILE anew, whatever was left unfinished.")] = False,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Ask a finished run what IMAGEs are; one made by `calibrate` also says whether it is sure enough to answer."""
    kinds = {"csv": as_csv, "json-lines": as_lines, "parquet": as_parquet, "json": as_json and out is None}
    wanted = [name for name, is_wanted in kinds.items() if is_wanted]
    if len(wanted) > 1:
        raise typer.BadParameter(f"--{wanted[0]} and --{wanted[1]}: one of them")
    if out is None and wanted == ["parquet"]:
        raise typer.BadParameter("--parquet: parquet is not printed; name a file with -o")
    from tellapart.inference.image_sources.base import SourceOptions

    options = SourceOptions(folder, id_column, allow_urls)
    settings = shared.settings(runs=runs, device=device, quiet=quiet, skip_bad=skip_bad, fresh=fresh)
    kind = wanted[0] if wanted else None
    if out is None:
        _print(kind or "text", run_id, images, stability, options, settings)
    else:
        _write(out, kind, run_id, images, stability, options, settings, as_json)


# --- to a file --------------------------------------------------------------------------------------------------------


def _write(
    out: Path, kind: str | None, run_id: str, images: list[str], stability: bool, options: SourceOptions, settings: Settings,
    as_json: bool,
) -> None:  # fmt: skip
    from tellapart.errors import DataError
    from tellapart.workflows.predict import predict_to_file

    shared.check_output(out)
    done = predict_to_file(run_id, images, out, format=kind, stability=stability, options=options, settings=settings)
    if as_json:
        shared.print_json(done.to_dict())
    else:
        for line in _summary(done):
            shared.out().print(line, markup=False, highlight=False, soft_wrap=True)
    if done.unreadable and not settings.skip_bad:
        shown = "".join(f"\n    {problem}" for problem in done.problems)
        more = f"\n    … and {done.unreadable - len(done.problems):,} more" if done.unreadable > len(done.problems) else ""
        raise DataError(
            f"{done.unreadable:,} of {done.images + done.unreadable:,} images could not be read:{shown}{more}",
            hint=f"see the column `error` of their rows in {out}; pass --skip-bad to write no row for them",
        )


def _summary(done: PredictSummary) -> list[str]:
    lines = [f"{done.path}: {done.images:,} images"]
    lines += [f"  {name}: {count:,}" for name, count in done.counts.items()]
    if done.unstable is not None:
        lines.append(f"  unstable: {done.unstable:,}")
    if done.duplicates:
        lines.append(f"  duplicate names, predicted once: {done.duplicates:,}")
    return [*lines, *([f"  could not be read: {done.unreadable:,}"] if done.unreadable else [])]


# --- to standard output -----------------------------------------------------------------------------------------------


def _print(kind: str, run_id: str, images: list[str], stability: bool, options: SourceOptions, settings: Settings) -> None:
    """Print predictions as they come."""
    from tellapart.inference.decision import DecisionRule
    from tellapart.inference.predictor import load_predictor
    from tellapart.inference.writers import WRITERS
    from tellapart.progress import SILENT
    from tellapart.workflows.predict import predict_iter

    stream = sys.stdout  # rich puts something else in its place while it shows a bar
    predictor = load_predictor(run_id, settings)
    if stream.isatty() and settings.progress is not SILENT:
        settings = replace(settings, progress=_without_bars())
    rule = DecisionRule(predictor.run)
    predictions = predict_iter(predictor, images, stability=stability, options=options, settings=settings)
    if kind == "text":
        _print_text(stream, predictions, decides=rule.decides)
    elif kind == "json":
        _print_json(stream, (one.to_dict(rule.classes) for one in predictions))
    else:
        writer, head = WRITERS[kind](rule, stability, errors=False), True
        for one in predictions:
            stream.write(((writer.head() if head else b"") + writer.rows([one])).decode())
            head = False


def _without_bars() -> Progress:
    """On a terminal the predictions themselves show the progress; a bar between them would only disturb."""
    from tellapart.progress import SILENT, Task, Terminal

    class WithoutBars(Terminal):
        def task(self, name: str, total: int | None, unit: str) -> AbstractContextManager[Task]:
            return SILENT.task(name, total, unit)

    return WithoutBars(shared.err())


def _print_json(stream: TextIO, entries: Iterable[dict[str, Any]]) -> None:
    """One JSON document, as `print_json` writes it, an entry at a time."""
    between = "[\n"
    for entry in entries:
        text = json.dumps(entry, indent=2, ensure_ascii=False, allow_nan=False)
        stream.write(between + textwrap.indent(text, "  "))
        between = ",\n"
    stream.write("\n]\n" if between == ",\n" else "[]\n")


def _print_text(stream: TextIO, predictions: Iterable[ImagePrediction], *, decides: bool) -> None:
    from tellapart.calibration.decision import UNSURE_NAME

    console, count, unsure, unstable, with_stability = _console(stream), 0, 0, 0, False
    for one in predictions:
        console.print(_line(one), highlight=False, soft_wrap=True)
        count, unsure = count + 1, unsure + (one.decision == UNSURE_NAME)
        if one.stability is not None:
            with_stability, unstable = True, unstable + (not one.stability.stable)
    if decides:
        console.print(f"{unsure:,} of {count:,} images: unsure", highlight=False)
    if with_stability:
        console.print(f"{unstable:,} of {count:,} images: unstable", highlight=False)


def _line(one: ImagePrediction) -> Text:
    from rich.text import Text

    share = float(one.proba.max())
    if one.decision:
        reason = f" ({one.predicted} {share:.1%}; {one.reason})"
        line = Text.assemble(f"{one.image}: ", (one.decision, "bold"), reason)
    else:
        line = Text.assemble(f"{one.image}: ", (one.predicted, "bold"), f" {share:.1%}")
    if (s := one.stability) is not None:
        span = f"; {one.predicted} {s.lowest:.1%} to {s.highest:.1%}"
        line.append(f" · unchanged in {s.unchanged} of {s.resaved} re-saved versions{span}", "" if s.stable else "bold red")
    return line


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    return Console(file=stream) if stream.isatty() else Console(file=stream, width=120)
