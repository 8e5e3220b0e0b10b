"""What `evaluate --robustness` prints: a table of damages, and one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from tellapart.inference.context import Settings
    from tellapart.perturbations.scores import Robustness, RobustnessCell
    from tellapart.types import ImageTable, Score

Wanted = Annotated[
    bool, typer.Option("--robustness", help="Ask again about the images, damaged: JPEG, scaling, blur, noise, crop, ….")
]
Damages = Annotated[
    str | None, typer.Option("--damage", metavar="NAME,…", help="Only these damages, for example jpeg,scale. Default: all.")
]
Sample = Annotated[
    int | None,
    typer.Option("--sample", min=1, help="With --robustness or --bias: ask about so many images only, drawn by a fixed seed."),
]
FigurePath = Annotated[
    Path | None,
    typer.Option("--figure", metavar="PATH", help="With --robustness or --bias: draw what was found, .png or .svg."),
]
_LEGEND = (
    "change: accuracy less undamaged; p: exact paired test, Holm's correction;",
    "* worse, p < 0.05; flips: % of the verdicts that differ from undamaged",
)
_HEADINGS = ("damage", "n", "accuracy [95 %]", "change in points", "p", "flips")


def check(wanted: bool, damages: str | None, sample: int | None, figure: Path | None) -> list[str] | None:
    """The names of the damages; options that make no sense, and unknown names, are refused before any image is read."""
    given = {"--damage": damages, "--sample": sample, "--figure": figure}
    lonely = [name for name, value in given.items() if value is not None]
    if lonely and not wanted:
        more = "" if "--damage" in lonely else " or --bias"
        raise typer.BadParameter(f"{' and '.join(lonely)}: only together with --robustness{more}")
    if damages is None:
        return None
    from tellapart.perturbations.kinds import select_perturbations

    names = [name.strip() for name in damages.split(",") if name.strip()]
    return [damage.name for damage in select_perturbations(names)]


def check_figure(figure: Path | None) -> None:
    """Another ending, or a place where nothing can be written, is refused before any image is read."""
    from tellapart.cli import options as shared

    if figure is not None:
        if figure.suffix.lower() not in (".png", ".svg"):
            raise typer.BadParameter(f"--figure {figure}: expected a name that ends in .png or .svg")
        shared.check_output(figure)


def sweep(
    run: str, table: ImageTable | None, open_test: bool, mapping: dict[str, str], damages: list[str] | None,
    sample: int | None, settings: Settings,
) -> Robustness:  # fmt: skip
    """`tellapart.workflows.robustness.robustness`, imported when it is needed."""
    from tellapart.workflows.robustness import robustness

    return robustness(run, table, open_test=open_test, mapping=mapping, perturbations=damages, sample=sample, settings=settings)


def draw(found: Robustness, figure: Path | None) -> list[str]:
    """Draw the curves where a file is named; lines that say so."""
    if figure is None:
        return []
    from tellapart.reports.robustness_section import curves, write

    return [f"figure: {write(curves(found), figure)}"]


def show(found: Robustness, console: Console) -> None:
    """Table, sentence and notes."""
    from tellapart.perturbations.scores import describe

    where = found.data if found.split == "other" else f"{found.data}, {found.split} part"
    whole = f"a sample of {found.n:,} of {found.total:,}" if found.n < found.total else f"{found.n:,} images"
    console.print(f"{found.run} under damage: {where}, {whole}", style="italic", markup=False, highlight=False, soft_wrap=True)
    console.print(table(found))
    for line in _LEGEND:
        console.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)
    lines = [*_unanswered(found), describe(found), *(f"note: {note}" for note in found.notes), f"kept in {found.folder}"]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def table(found: Robustness) -> Any:
    """The cells, bold with a star where they are significantly worse; 80 columns hold it up to n = 99,999."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    for heading in _HEADINGS:
        made.add_column(heading, justify="left" if heading == "damage" else "right", no_wrap=True)
    made.add_row("undamaged", f"{found.n:,}", Text(_interval(found.clean["accuracy"])), "", "", "")
    for cell in found.cells:
        made.add_row(*map(Text, _cells(cell)), style="bold" if cell.worse else None)
    return made


def _cells(cell: RobustnessCell) -> list[str]:
    if cell.change is None or cell.flips is None:
        return [cell.text, f"{cell.n:,}", "not answered", "", "", ""]
    change = f"{_points(cell.change.value)} [{_points(cell.change.low)}, {_points(cell.change.high)}]"
    p = "<0.001" if cell.p_holm < 0.001 else f"{cell.p_holm:.3f}"
    accuracy = _interval(cell.scores["accuracy"])
    return [cell.text, f"{cell.n:,}", accuracy, change, f"{p}{'*' if cell.worse else ' '}", f"{100 * cell.flips.value:.1f}"]


def _unanswered(found: Robustness) -> list[str]:
    """Why some cells have no answer: one line a reason."""
    reasons: dict[str, list[str]] = {}
    for cell in found.cells:
        if cell.reason:
            reasons.setdefault(cell.reason, []).append(cell.text)
    return [f"not answered: {', '.join(cells)}: the first image {reason}" for reason, cells in reasons.items()]


def _interval(score: Score) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


def _points(fraction: float) -> str:
    from tellapart.formatting import points

    return points(fraction)
