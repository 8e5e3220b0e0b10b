"""`tellapart predict`: predict the classes of images, a few or millions."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from tellapart.cli import options as opt
from tellapart.terminal import json_text, one_line, plain_writer

if TYPE_CHECKING:
    from rich.text import Text

    from tellapart.inference.context import Settings
    from tellapart.inference.image_sources.base import SourceOptions
    from tellapart.inference.prediction import ImagePrediction
    from tellapart.progress import Progress
    from tellapart.workflows.predict import PredictSummary

ImageNames = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE…",
        help="Files, folders, quoted patterns, CSV/TSV or parquet tables, .zip, .tar, IDX; - reads standard input.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="Write predictions to FILE (.csv, .jsonl, .parquet); resumes after an interruption.",
    ),
]
AsCsv = Annotated[
    bool,
    typer.Option("--csv", help="Print CSV: image, predicted class, decision and reason if the run has rules, probabilities."),
]
AsLines = Annotated[bool, typer.Option("--json-lines", help="Print one JSON object per line.")]
AsParquet = Annotated[bool, typer.Option("--parquet", help="Write parquet, whatever the extension of FILE.")]
Stability = Annotated[
    bool,
    typer.Option("--stability", help="Also predict each image re-saved as JPEG and scaled: does the prediction change?"),
]
AllowUrls = Annotated[bool, typer.Option("--allow-urls", help="Fetch images from http:// and https:// addresses.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Start FILE from the beginning instead of resuming.", rich_help_panel="Run options")
]

RawCsv = Annotated[
    bool,
    typer.Option(
        "--raw-csv",
        help="Write CSV cells that begin with =, +, - or @ as they are; otherwise a single quote keeps spreadsheets from "
        "running them.",
        rich_help_panel="Output options",
    ),
]


def run(
    run_id: opt.RunId, images: ImageNames, output: Output = None, as_csv: AsCsv = False, as_lines: AsLines = False,
    as_parquet: AsParquet = False, stability: Stability = False, allow_urls: AllowUrls = False,
    folder: opt.Images = None, id_column: opt.IdColumn = None, skip_bad: opt.SkipBad = False,
    runs: opt.Runs = opt.RUNS, device: opt.Device = "auto", overwrite: Overwrite = False,
    raw_csv: RawCsv = False, as_json: opt.AsJson = False, quiet: opt.Quiet = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Predict the classes of images with a finished run.

    A run made by `tellapart calibrate` also decides, or abstains ("unsure").
    """
    kinds = {"csv": as_csv, "json-lines": as_lines, "parquet": as_parquet, "json": as_json and output is None}
    wanted = [name for name, is_wanted in kinds.items() if is_wanted]
    if len(wanted) > 1:
        raise typer.BadParameter(f"--{wanted[0]} and --{wanted[1]}: choose one format")
    if output is None and wanted == ["parquet"]:
        raise typer.BadParameter("--parquet: parquet cannot be printed; pass a file with -o")
    from tellapart.inference.image_sources.base import SourceOptions

    options = SourceOptions(folder, id_column, allow_urls)
    settings = opt.settings(runs=runs, device=device, quiet=quiet, skip_bad=skip_bad, overwrite=overwrite)
    kind = wanted[0] if wanted else None
    if output is None:
        _print(kind or "text", run_id, images, stability, raw_csv, options, settings)
    else:
        _write(output, kind, run_id, images, stability, raw_csv, options, settings, as_json)


# --- to a file --------------------------------------------------------------------------------------------------------


def _write(
    out: Path, kind: str | None, run_id: str, images: list[str], stability: bool, raw_csv: bool, options: SourceOptions,
    settings: Settings, as_json: bool,
) -> None:  # fmt: skip
    from tellapart.errors import DataError
    from tellapart.workflows.predict import predict_to_file

    opt.check_output(out)
    done = predict_to_file(
        run_id, images, out, format=kind, stability=stability, raw_csv=raw_csv, options=options, settings=settings
    )
    if as_json:
        opt.print_json(done.to_dict())
    else:
        opt.print_lines(*_summary(done))
    if done.unreadable and not settings.skip_bad:
        shown = "".join(f"\n    {problem}" for problem in done.problems)
        more = f"\n    … and {done.unreadable - len(done.problems):,} more" if done.unreadable > len(done.problems) else ""
        raise DataError(
            f"{done.unreadable:,} of {done.images + done.unreadable:,} images could not be read:{shown}{more}",
            hint=f"see the column `error` of {out} for the reasons, or pass --skip-bad to leave these rows out",
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


def _print(
    kind: str, run_id: str, images: list[str], stability: bool, raw_csv: bool, options: SourceOptions, settings: Settings
) -> None:
    """Print predictions as they are made."""
    from tellapart.inference.decision import DecisionRule
    from tellapart.inference.predictor import load_predictor, reads_faces
    from tellapart.inference.writers import WRITERS
    from tellapart.progress import SILENT
    from tellapart.workflows.predict import predict_iter

    stream, write = sys.stdout, plain_writer()  # rich replaces sys.stdout while it shows a progress bar
    predictor = load_predictor(run_id, settings)
    if stream.isatty() and settings.progress is not SILENT:
        settings = replace(settings, progress=_without_bars())
    rules = DecisionRule(predictor.run)
    found = predict_iter(predictor, images, stability=stability, options=options, settings=settings)
    if kind == "text":
        _print_text(stream, found, decides=rules.decides)
    elif kind == "json":
        _print_json(write, (one.to_dict(rules.classes) for one in found))
    else:
        faces = reads_faces(predictor.run)
        writer, head = WRITERS[kind](rules, stability, errors=False, guarded=not raw_csv, faces=faces), True
        for one in found:
            write(((writer.head() if head else b"") + writer.rows([one])).decode())
            head = False


def _without_bars() -> Progress:
    """Messages without bars: on a terminal the printed predictions show the progress already."""
    from tellapart.progress import SILENT, Task, Terminal

    class MessagesOnly(Terminal):
        def task(self, name: str, total: int | None, unit: str) -> AbstractContextManager[Task]:
            return SILENT.task(name, total, unit)

    return MessagesOnly(opt.err())


def _print_json(write: Callable[[str], object], entries: Iterable[dict[str, Any]]) -> None:
    """One JSON document in the format of `print_json`, written one entry at a time."""
    between = "[\n"
    for entry in entries:
        write(between + textwrap.indent(json_text(entry, indent=2), "  "))
        between = ",\n"
    write("\n]\n" if between == ",\n" else "[]\n")


def _print_text(stream: TextIO, found: Iterable[ImagePrediction], *, decides: bool) -> None:
    from tellapart.calibration.decision import UNSURE_NAME

    console, count, unsure, faceless, unstable, checked = opt.out(stream), 0, 0, 0, 0, False
    for one in found:
        console.print(_line(one), highlight=False, soft_wrap=True)
        count, unsure, faceless = count + 1, unsure + (one.decision == UNSURE_NAME), faceless + (one.face_found is False)
        if one.stability is not None:
            checked, unstable = True, unstable + (not one.stability.stable)
    if decides:
        console.print(f"{unsure:,} of {count:,} images: unsure", highlight=False)
    if faceless:
        console.print(f"{faceless:,} of {count:,} images: no face found", highlight=False)
    if checked:
        console.print(f"{unstable:,} of {count:,} images: unstable", highlight=False)


def _line(one: ImagePrediction) -> Text:
    from rich.text import Text

    name, share = one_line(one.image), float(one.proba.max())
    if one.decision:
        reason = f" ({one.predicted} {share:.1%}; {one.reason})"
        line = Text.assemble(f"{name}: ", (one.decision, "bold"), reason)
    else:
        line = Text.assemble(f"{name}: ", (one.predicted, "bold"), f" {share:.1%}")
    if one.face_found is False:
        line.append(" · no face found")
    if (found := one.stability) is not None:
        span = f"; {one.predicted} {found.lowest:.1%} to {found.highest:.1%}"
        line.append(
            f" · unchanged in {found.unchanged} of {found.resaved} re-saved versions{span}", "" if found.stable else "bold red"
        )
    return line
