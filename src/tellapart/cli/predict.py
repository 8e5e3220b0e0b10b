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
        bool, typer.Option("--csv", help="Print CSV: image, answer, verdict if the run has one, one probability a class.")
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
    if done.bad and not settings.skip_bad:
        shown = "".join(f"\n    {problem}" for problem in done.problems)
        more = f"\n    … and {done.bad - len(done.problems):,} more" if done.bad > len(done.problems) else ""
        raise DataError(
            f"{done.bad:,} of {done.images + done.bad:,} images could not be read:{shown}{more}",
            hint=f"their rows in {out} say why; with --skip-bad they get no row",
        )


def _summary(done: PredictSummary) -> list[str]:
    said = [f"{done.path}: {done.images:,} images"]
    said += [f"  {name}: {count:,}" for name, count in done.counts.items()]
    if done.unstable is not None:
        said.append(f"  not the same in every delivery: {done.unstable:,}")
    if done.twice:
        said.append(f"  named again, and answered once: {done.twice:,}")
    return [*said, *([f"  could not be read: {done.bad:,}"] if done.bad else [])]


# --- to standard output -----------------------------------------------------------------------------------------------


def _print(kind: str, run_id: str, images: list[str], stability: bool, options: SourceOptions, settings: Settings) -> None:
    """Answers as they come."""
    from tellapart.inference.decision import DecisionRule
    from tellapart.inference.predictor import load_predictor
    from tellapart.inference.writers import SHEETS
    from tellapart.progress import SILENT
    from tellapart.workflows.predict import predict_iter

    stream = sys.stdout  # rich puts something else in its place while it shows a bar
    answerer = load_predictor(run_id, settings)
    if stream.isatty() and settings.progress is not SILENT:
        settings = replace(settings, progress=_without_bars())
    judge = DecisionRule(answerer.run)
    found = predict_iter(answerer, images, stability=stability, options=options, settings=settings)
    if kind == "text":
        _print_text(stream, found, judges=judge.judges)
    elif kind == "json":
        _print_json(stream, (one.to_dict(judge.classes) for one in found))
    else:
        sheet, head = SHEETS[kind](judge, stability, errors=False), True
        for one in found:
            stream.write(((sheet.head() if head else b"") + sheet.rows([one])).decode())
            head = False


def _without_bars() -> Progress:
    """On a terminal the answers are what is seen to go on; a bar among them would only be in the way."""
    from tellapart.progress import SILENT, Task, Terminal

    class Spoken(Terminal):
        def task(self, name: str, total: int | None, unit: str) -> AbstractContextManager[Task]:
            return SILENT.task(name, total, unit)

    return Spoken(shared.err())


def _print_json(stream: TextIO, entries: Iterable[dict[str, Any]]) -> None:
    """One JSON document, as `print_json` writes it, an entry at a time."""
    between = "[\n"
    for entry in entries:
        text = json.dumps(entry, indent=2, ensure_ascii=False, allow_nan=False)
        stream.write(between + textwrap.indent(text, "  "))
        between = ",\n"
    stream.write("\n]\n" if between == ",\n" else "[]\n")


def _print_text(stream: TextIO, found: Iterable[ImagePrediction], *, judges: bool) -> None:
    from tellapart.calibration.decision import UNSURE_NAME

    console, count, unsure, unstable, deliveries = _console(stream), 0, 0, 0, False
    for one in found:
        console.print(_line(one), highlight=False, soft_wrap=True)
        count, unsure = count + 1, unsure + (one.verdict == UNSURE_NAME)
        if one.stability is not None:
            deliveries, unstable = True, unstable + (not one.stability.stable)
    if judges:
        console.print(f"{unsure:,} of {count:,} images: unsure", highlight=False)
    if deliveries:
        console.print(f"{unstable:,} of {count:,} images: not the same in every delivery", highlight=False)


def _line(one: ImagePrediction) -> Text:
    from rich.text import Text

    share = float(one.proba.max())
    if one.verdict:
        why = f" ({one.answer} {share:.1%}; {one.because})"
        line = Text.assemble(f"{one.image}: ", (one.verdict, "bold"), why)
    else:
        line = Text.assemble(f"{one.image}: ", (one.answer, "bold"), f" {share:.1%}")
    if (found := one.stability) is not None:
        span = f"; {one.answer} {found.lowest:.1%} to {found.highest:.1%}"
        line.append(f" · the same in {found.kept} of {found.of} deliveries{span}", "" if found.stable else "bold red")
    return line


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    return Console(file=stream) if stream.isatty() else Console(file=stream, width=120)
