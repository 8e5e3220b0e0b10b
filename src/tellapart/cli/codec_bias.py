"""`tellapart codec-bias`: does a run depend on how an image was compressed?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli import options as opt
from tellapart.cli._results import other_images, print_heading, print_result

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from tellapart.perturbations.codec_sensitivity import CodecSensitivity, TransformResult
    from tellapart.types import Score
    from tellapart.workflows.codec_bias import CodecBias

Quality = Annotated[
    int, typer.Option("--quality", metavar="Q", min=1, max=100, help="JPEG quality of the re-compressed images.")
]
_SHOWN = 5  # classes, when there are more than two: those that depend on the file or the codec first
_LEGEND = (
    "shift: mean change of p({}), 95 % interval; *: significant and at least a tenth of the distance between the classes;",
    "accuracy: before → after",
)


def run(
    run_id: opt.RunId, data: opt.OtherData = None, open_test: opt.OpenTest = False, mapping: opt.ClassMap = None,
    quality: Quality = 75, sample: opt.Sample = None, exclude_seen: opt.ExcludeSeen = False, figure: opt.Figure = None,
    images: opt.Images = None, id_column: opt.IdColumn = None, label_column: opt.LabelColumn = None,
    split_column: opt.SplitColumn = None, unlabeled: opt.Unlabeled = None,
    skip_bad: opt.SkipBad = False, verify_files: opt.VerifyFiles = False,
    runs: opt.Runs = opt.RUNS, device: opt.Device = "auto",
    as_json: opt.AsJson = False, quiet: opt.Quiet = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Measure whether a finished run depends on the codec: re-compress one class, then the other, then both.

    Images are re-saved as PNG, compressed as JPEG and rescaled. Uses the validation split, the test split with --open-test, or
    the images of DATA. Nothing is trained. The same command resumes after an interruption.
    """
    pairs = opt.class_map(mapping)
    opt.check_figure(figure, data)
    from tellapart.workflows.codec_bias import codec_bias

    table = other_images(data, images, id_column, label_column, split_column, unlabeled)
    settings = opt.settings(runs=runs, device=device, quiet=quiet, skip_bad=skip_bad, verify_files=verify_files)
    found = codec_bias(
        run_id, table, open_test=open_test, mapping=pairs, quality=quality, sample=sample, exclude_seen=exclude_seen,
        settings=settings,
    )  # fmt: skip
    print_result(found, show, as_json, figure, _draw)


def _draw(found: CodecBias, figure: Path) -> Path | str:
    """Draw the shifts: the path of the figure, or why there is none."""
    if not any(one.transforms for one in found.classes):
        return "not drawn, the run cannot predict any of the re-compressed images"
    from tellapart.reports.codec_section import shifts
    from tellapart.reports.svg import write_figure

    return write_figure(shifts(found), figure)


def show(found: CodecBias, console: Console) -> None:
    """Print the tables, a summary and the notes."""
    from tellapart.workflows.codec_bias import describe

    print_heading(console, "Codec bias", found)
    for one in found.worst_first[:_SHOWN]:
        console.print(_table(found, one))
    if len(found.classes) > _SHOWN:
        console.print(f"{len(found.classes) - _SHOWN:,} more classes: --json prints all", style="dim", highlight=False)
    name = found.classes[0].name if len(found.classes) == 1 else "the class"
    for line in _LEGEND:
        console.print(line.format(name), style="dim", markup=False, highlight=False, soft_wrap=True)
    lines = [f"not predicted: {found.text(way)}: the first image {why}" for way, why in found.not_predicted.items()]
    for line in [*lines, describe(found), *(f"note: {note}" for note in found.notes), f"results: {found.folder}"]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _table(found: CodecBias, one: CodecSensitivity) -> Table:
    """Three rows per transform: applied to this class, to the others, to both."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    for heading in ("transform", "applied to", f"shift of p({one.name})", "accuracy", "AUROC [95 %]"):
        table.add_column(heading, no_wrap=True)
    if one.transforms:
        table.add_row("none", "", "", "", _interval(one.transforms[0].aurocs["none"]))
    for way in one.transforms:
        for row in _rows(found.text(way.transform), one.name, way):
            table.add_row(*row)
    return table


def _rows(text: str, name: str, way: TransformResult) -> list[tuple[str, str, str, str, str]]:
    rows = []
    for which, title, side in (("own", f"{name} only", way.own), ("others", "others only", way.others)):
        star = "*" if side.counted else ""
        right = f"{side.right_before.value:.3f} → {side.right.value:.3f}"
        first = text if which == "own" else ""
        rows.append((first, title, f"{_signed(side.shift)}{star}", right, _interval(way.aurocs[which])))
    change = f"{100 * way.change.value:+.1f} points".replace("-", "−")
    return [*rows, ("", "both", "", change, _interval(way.aurocs["both"]))]


def _interval(score: Score) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


def _signed(score: Score) -> str:
    return f"{score.value:+.3f} [{score.low:+.3f}, {score.high:+.3f}]".replace("-", "−")
