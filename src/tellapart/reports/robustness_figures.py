"""The curves of a robustness sweep: accuracy over the strength of each damage, one small panel each, on one scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tellapart.errors import DataError
from tellapart.io import translate_os_errors
from tellapart.perturbations.kinds import PERTURBATIONS
from tellapart.perturbations.scores import Robustness, RobustnessCell
from tellapart.reports.figures import INK, LINE, MUTED, PAPER, TEST, VALID, styled
from tellapart.reports.svg import write_png
from tellapart.types import Score

COLUMNS = 3
UNHARMED = "none"


@styled
def curves(found: Robustness) -> Figure:
    """A panel a damage: accuracy with its 95 % band, a filled dot where it is significantly lower; flips as a dashed line.

    Strengths stand at even distances, the undamaged images among them; the horizontal line is their accuracy.
    """
    names = found.damages
    columns = min(COLUMNS, len(names))
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(2.9 * columns + 0.3, 1.75 * rows + 0.55), layout="constrained")
    panels = np.atleast_1d(figure.subplots(rows, columns, sharey=True)).ravel()
    for axes, name in zip(panels, names, strict=False):
        _panel(axes, found.undamaged["accuracy"], found.of_damage(name), TEST if found.part == "test" else VALID)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    _explain(figure, TEST if found.part == "test" else VALID)
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
    texts = [UNHARMED if cell is None else PERTURBATIONS[cell.damage].text(cell.strength) or "yes" for cell in points]
    axes.set_xticks(places, texts)
    axes.set(xlim=(-0.35, len(points) - 0.65), ylim=(-0.03, 1.03))
    axes.set_title(cells[0].damage, loc="left", color=INK)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    if any(cell is not None and cell.reason for cell in points):
        axes.text(0.98, 0.05, "not answered", transform=axes.transAxes, ha="right", fontsize=8, color=MUTED)


def _in_order(cells: Sequence[RobustnessCell]) -> list[RobustnessCell | None]:
    """Cells with the undamaged images (None) among them: first, or between darker and brighter."""
    before = [cell for cell in cells if cell.damage == "brightness" and cell.strength < 0]
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
