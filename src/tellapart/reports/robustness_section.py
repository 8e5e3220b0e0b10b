"""The robustness part of a run's page: what the stored sweeps found. No number is made here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tellapart import formatting
from tellapart.errors import DataError
from tellapart.io import translate_os_errors
from tellapart.leaderboards.row import Row
from tellapart.perturbations.kinds import PERTURBATIONS
from tellapart.perturbations.scores import Robustness, RobustnessCell, describe
from tellapart.reports.figures import INK, LINE, MUTED, PAPER, TEST, VALID, styled
from tellapart.reports.svg import FigureSheet, write_png
from tellapart.runs.store import Run
from tellapart.types import Score
from tellapart.workflows.robustness import stored

#: Up to this many classes the table shows the flips of each.
CLASSES_UP_TO = 5


@dataclass(frozen=True, eq=False)
class _Shown:
    """One sweep on the page."""

    found: Robustness
    figure: Markup

    @property
    def title(self) -> str:
        return part_title(self.found.split, self.found.data, self.found.n, self.found.total)

    @property
    def words(self) -> str:
        return describe(self.found)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.found.classes if len(self.found.classes) <= CLASSES_UP_TO else ()


def page(run: Run, row: Row, key: str, sheet: FigureSheet, level: int = 4) -> Markup | None:
    """Curves of accuracy by damage, the table and the flips of every stored sweep; None when there is none.

    Args:
        run: The run.
        row: Its row of the leaderboard.
        key: Unique on the page.
        sheet: Where the figures go.
        level: Of the headings.
    """
    sweeps = []
    for number, found in enumerate(stored(run)):
        about = f"Accuracy of {row.name} on damaged images, a panel a damage; {describe(found)}"
        name, place = f"{run.id}-{found.folder.name}", f"{key}-robustness-{number}"
        sweeps.append(_Shown(found, sheet.place(curves(found), name, place, about)))
    if not sweeps:
        return None
    return Markup(environment().get_template("robustness.html").render(sweeps=sweeps, row=row, level=level))


def part_title(part: str, data: str, n: int, of: int) -> str:
    """What was asked about: "the test part, 200 of 800 images". `part`: "valid", "test", or "other" for `data`."""
    named = formatting.PARTS.get(part)
    return f"{f'the {named} part' if named else data}, {n:,}{'' if n == of else f' of {of:,}'} images"


def environment() -> Environment:
    """Templates of what is said under stress, with their filters."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates", encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "fraction": formatting.fraction, "interval": formatting.interval, "number": formatting.count,
        "p_value": formatting.p_value,
        "tie": formatting.no_break, "points": formatting.points, "percent": percent, "points_interval": points_interval,
        "percent_interval": percent_interval,
    }  # fmt: skip
    return environment


def percent(score: Score) -> str:
    """A share in per cent.

    >>> percent(Score(0.123, 200, 0.08, 0.17))
    '12.3 %'
    """
    return f"{100 * score.value:.1f} %"


def percent_interval(score: Score) -> str:
    """Its ends.

    >>> percent_interval(Score(0.123, 200, 0.08, 0.17))
    '8.0–17.0 %'
    """
    return f"{100 * score.low:.1f}–{100 * score.high:.1f} %"


def points_interval(score: Score) -> str:
    """The ends of a difference in points.

    >>> points_interval(Score(-0.05, 200, -0.08, 0.01))
    '−8.0 … +1.0'
    """
    return f"{formatting.points(score.low)} … {formatting.points(score.high)}"


# --- the curves of a robustness sweep: accuracy over the strength of each damage, one small panel each, on on ---------


COLUMNS = 3
UNHARMED = "none"


@styled
def curves(found: Robustness) -> Figure:
    """A panel a damage: accuracy with its 95 % band, a filled dot where it is significantly lower; flips as a dashed line.

    Strengths stand at even distances, the undamaged images among them; the horizontal line is their accuracy.
    """
    names = found.perturbations
    columns = min(COLUMNS, len(names))
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(2.9 * columns + 0.3, 1.75 * rows + 0.55), layout="constrained")
    panels = np.atleast_1d(figure.subplots(rows, columns, sharey=True)).ravel()
    for axes, name in zip(panels, names, strict=False):
        _panel(axes, found.clean["accuracy"], found.cells_of(name), TEST if found.split == "test" else VALID)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    _explain(figure, TEST if found.split == "test" else VALID)
    return figure


def write(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG or SVG, by the ending of the path.

    Raises:
        DataError: Another ending.
        SystemLimitError: The file cannot be written.
    """
    if path.suffix.lower() == ".png":
        return write_png(figure, path)
    if path.suffix.lower() != ".svg":
        raise DataError(f"{path}: a figure is written as .png or .svg", hint="give the file one of these endings")
    with translate_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _print_svg(figure, path)
    return path


def _panel(axes: Axes, undamaged: Score, cells: Sequence[RobustnessCell], color: str) -> None:
    points = _in_order(cells)
    places = np.arange(len(points))
    scores = [undamaged if cell is None else cell.scores.get("accuracy") for cell in points]
    flips = [0.0 if cell is None else cell.flips.value if cell.flips else math.nan for cell in points]
    value, low, high = (
        np.array([math.nan if s is None else getattr(s, end) for s in scores]) for end in ("value", "low", "high")
    )
    axes.axhline(undamaged.value, color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)), zorder=0.5)
    if len(points) > 2:
        axes.fill_between(places, low, high, color=color, alpha=0.16, linewidth=0)
        axes.plot(places, value, color=color, linewidth=1.6)
        axes.plot(places, flips, color=MUTED, linewidth=1.1, linestyle=(0, (1, 1.5)))
    else:
        axes.vlines(places, low, high, color=color, linewidth=1.6)
        axes.plot(places, flips, "x", color=MUTED, markersize=4.5)
    for place, cell in enumerate(points):
        worse = cell is not None and cell.worse
        axes.plot([place], [value[place]], "o", color=color, markersize=4.5, markerfacecolor=color if worse else PAPER)
    texts = [UNHARMED if cell is None else PERTURBATIONS[cell.perturbation].text(cell.strength) or "yes" for cell in points]
    axes.set_xticks(places, texts)
    axes.set(xlim=(-0.35, len(points) - 0.65), ylim=(-0.03, 1.03))
    axes.set_title(cells[0].perturbation, loc="left", color=INK)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    if any(cell is not None and cell.reason for cell in points):
        axes.text(0.98, 0.05, "not answered", transform=axes.transAxes, ha="right", fontsize=8, color=MUTED)


def _in_order(cells: Sequence[RobustnessCell]) -> list[RobustnessCell | None]:
    """Cells with the undamaged images (None) among them: first, or between darker and brighter."""
    before = [cell for cell in cells if cell.perturbation == "brightness" and cell.strength < 0]
    return [*before, None, *(cell for cell in cells if cell not in before)]


def _explain(figure: Figure, color: str) -> None:
    """What the lines mean, once for all panels."""
    axes = figure.axes[0]
    handles = [
        axes.plot([], [], "-o", color=color, markersize=4.5, markerfacecolor=PAPER, label="accuracy, 95 % band")[0],
        axes.plot([], [], "o", color=color, markersize=4.5, label="significantly lower")[0],
        axes.plot([], [], color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)), label="undamaged")[0],
        axes.plot([], [], color=MUTED, linewidth=1.1, linestyle=(0, (1, 1.5)), label="verdicts that flip")[0],
    ]
    columns = 4 if len(figure.axes) > 1 else 2
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, frameon=False, fontsize=8.5, edgecolor=LINE)


@styled
def _print_svg(figure: Figure, path: Path) -> None:
    FigureCanvasSVG(figure).print_figure(path, facecolor="white", metadata={"Date": None})
