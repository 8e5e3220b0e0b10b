"""Robustness section of the report, from the stored robustness sweeps. No numbers are computed here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tellapart import formatting
from tellapart.leaderboards.row import Row
from tellapart.perturbations.kinds import PERTURBATIONS
from tellapart.perturbations.scores import Robustness, RobustnessCell, describe
from tellapart.reports.figures import INK, LINE, MUTED, PAPER, TEST, VALID, styled
from tellapart.reports.svg import FigureSheet
from tellapart.reports.templating import environment
from tellapart.runs.store import Run
from tellapart.types import Score
from tellapart.workflows.robustness import stored

#: Up to this number of classes, the table has the flips of each class.
CLASSES_UP_TO = 5
COLUMNS = 3
UNPERTURBED = "none"


@dataclass(frozen=True, eq=False)
class SectionData:
    """One stored sweep with its figure."""

    found: Robustness
    figure: Markup

    @property
    def title(self) -> str:
        """The images that were used."""
        return image_set_title(self.found.split, self.found.data, self.found.n, self.found.total)

    @property
    def words(self) -> str:
        """The result in one sentence."""
        return describe(self.found)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes whose flips are in the table; none if there are many."""
        return self.found.classes if len(self.found.classes) <= CLASSES_UP_TO else ()


def render_section(run: Run, row: Row, key: str, sheet: FigureSheet, level: int = 4) -> Markup | None:
    """Render curves, table and flips of every stored sweep; None if there is none.

    Args:
        run: The run.
        row: Row of the run in the leaderboard.
        key: Unique key on the page.
        sheet: Destination of the figures.
        level: Level of the headings.
    """
    sweeps = []
    for number, found in enumerate(stored(run)):
        about = f"Accuracy of {row.name} on perturbed images, one panel per perturbation; {describe(found)}"
        name, figure_key = f"{run.id}-{found.folder.name}", f"{key}-robustness-{number}"
        sweeps.append(SectionData(found, sheet.add(curves(found), name, figure_key, about)))
    if not sweeps:
        return None
    return Markup(environment().get_template("robustness.html").render(sweeps=sweeps, row=row, level=level))


def image_set_title(part: str, data: str, n: int, total: int) -> str:
    """Describe the images: "the test split, 200 of 800 images". `part`: "valid", "test", or "other" for `data`."""
    named = formatting.PARTS.get(part)
    return f"{f'the {named} split' if named else data}, {n:,}{'' if n == total else f' of {total:,}'} images"


# --- figures ----------------------------------------------------------------------------------------------------------


@styled
def curves(found: Robustness) -> Figure:
    """Draw one panel per perturbation: accuracy with 95 % band, filled dots if significantly lower, flips as a dotted line.

    Strengths are evenly spaced and include the unperturbed images, whose accuracy is the horizontal line.
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
    texts = [UNPERTURBED if cell is None else PERTURBATIONS[cell.perturbation].text(cell.strength) or "yes" for cell in points]
    axes.set_xticks(places, texts)
    axes.set(xlim=(-0.35, len(points) - 0.65), ylim=(-0.03, 1.03))
    axes.set_title(cells[0].perturbation, loc="left", color=INK)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    if any(cell is not None and cell.reason for cell in points):
        axes.text(0.98, 0.05, "no prediction", transform=axes.transAxes, ha="right", fontsize=8, color=MUTED)


def _in_order(cells: Sequence[RobustnessCell]) -> list[RobustnessCell | None]:
    """Cells in drawing order, with None for the unperturbed images: first, or between darker and brighter."""
    before = [cell for cell in cells if cell.perturbation == "brightness" and cell.strength < 0]
    return [*before, None, *(cell for cell in cells if cell not in before)]


def _explain(figure: Figure, color: str) -> None:
    """Draw one legend for all panels."""
    axes = figure.axes[0]
    handles = [
        axes.plot([], [], "-o", color=color, markersize=4.5, markerfacecolor=PAPER, label="accuracy, 95 % band")[0],
        axes.plot([], [], "o", color=color, markersize=4.5, label="significantly lower")[0],
        axes.plot([], [], color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)), label="unperturbed")[0],
        axes.plot([], [], color=MUTED, linewidth=1.1, linestyle=(0, (1, 1.5)), label="predictions that flip")[0],
    ]
    columns = 4 if len(figure.axes) > 1 else 2
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, frameon=False, fontsize=8.5, edgecolor=LINE)
