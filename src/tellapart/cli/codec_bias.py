"""What `evaluate --bias` prints: for each class and way of writing anew the shifts, and a verdict in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from tellapart.inference.context import Settings
    from tellapart.perturbations.codec_sensitivity import CodecSensitivity, TransformResult
    from tellapart.types import ImageTable, Score
    from tellapart.workflows.codec_bias import CodecBias

Wanted = Annotated[
    bool,
    typer.Option("--bias", help="Write one class anew (JPEG, rescaled), then the other, then both: codec, or mere fragility?"),
]
Quality = Annotated[
    int | None, typer.Option("--quality", min=1, max=100, help="Of the JPEGs that --bias writes; 75 if not given.")
]
_SHOWN = 5  # classes, when there are more than two: those that follow the file or the codec first
_LEGEND = (
    "shift: mean change of p({}), 95 % interval, * counted: sure, and a tenth of the way between the classes or more;",
    "right: answers before → after",
)


def check(wanted: bool, quality: int | None, robustness: bool) -> None:
    """Options that make no sense are refused before any image is read."""
    if quality is not None and not wanted:
        raise typer.BadParameter("--quality: only together with --bias")
    if wanted and robustness:
        raise typer.BadParameter("--bias and --robustness: ask for one at a time")


def ask(
    run: str, table: ImageTable | None, open_test: bool, mapping: dict[str, str], quality: int | None, sample: int | None,
    settings: Settings,
) -> CodecBias:  # fmt: skip
    """`tellapart.workflows.codec_bias.bias`, imported when it is needed."""
    from tellapart.workflows.codec_bias import QUALITY, codec_bias

    return codec_bias(
        run, table, open_test=open_test, mapping=mapping, quality=quality or QUALITY, sample=sample, settings=settings
    )


def draw(found: CodecBias, figure: Path | None) -> list[str]:
    """Draw the shifts where a file is named; lines that say so."""
    if figure is None or not any(one.transforms for one in found.classes):
        return [] if figure is None else ["figure: none is drawn, as the run answers no image that is written anew"]
    from tellapart.reports.codec_section import shifts
    from tellapart.reports.robustness_section import write

    return [f"figure: {write(shifts(found), figure)}"]


def show(found: CodecBias, console: Console) -> None:
    """Tables, sentence and notes."""
    from tellapart.workflows.codec_bias import describe

    where = found.data if found.split == "other" else f"{found.data}, {found.split} part"
    whole = f"a sample of {found.n:,} of {found.total:,}" if found.n < found.total else f"{found.n:,} images"
    title = f"{found.run}, one class written anew: {where}, {whole}"
    console.print(title, style="italic", markup=False, highlight=False, soft_wrap=True)
    for one in found.worst_first[:_SHOWN]:
        console.print(_table(found, one))
    if len(found.classes) > _SHOWN:
        console.print(f"{len(found.classes) - _SHOWN:,} more classes: --json has all", style="dim", highlight=False)
    name = found.classes[0].name if len(found.classes) == 1 else "the class"
    for line in _LEGEND:
        console.print(line.format(name), style="dim", markup=False, highlight=False, soft_wrap=True)
    lines = [f"not answered: {found.text(way)}: the first image {why}" for way, why in found.unanswered.items()]
    for line in [*lines, describe(found), *(f"note: {note}" for note in found.notes), f"kept in {found.folder}"]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _table(found: CodecBias, one: CodecSensitivity) -> Table:
    """Three rows a way: this class written anew, the others, both."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    for heading in ("written as", "anew", f"shift of p({one.name})", "right", "AUROC [95 %]"):
        table.add_column(heading, no_wrap=True)
    if one.transforms:
        table.add_row("as they are", "none", "", "", _interval(one.transforms[0].aurocs["none"]))
    for way in one.transforms:
        for row in _rows(found.text(way.transform), one.name, way):
            table.add_row(*row)
    return table


def _rows(text: str, name: str, way: TransformResult) -> list[tuple[str, str, str, str, str]]:
    rows = []
    for anew, title, side in (("own", f"{name} only", way.own), ("others", "others only", way.others)):
        star = "*" if side.counted else ""
        right = f"{side.right_before.value:.3f} → {side.right.value:.3f}"
        rows.append((text if anew == "own" else "", title, f"{_signed(side.shift)}{star}", right, _interval(way.aurocs[anew])))
    change = f"{100 * way.change.value:+.1f} points".replace("-", "−")
    return [*rows, ("", "both", "", change, _interval(way.aurocs["both"]))]


def _interval(score: Score) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


def _signed(score: Score) -> str:
    return f"{score.value:+.3f} [{score.low:+.3f}, {score.high:+.3f}]".replace("-", "−")
