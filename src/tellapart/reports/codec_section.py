"""Codec-bias section of the report, from the stored results of `codec-bias`. No numbers are computed here."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tellapart.leaderboards.row import Row
from tellapart.perturbations.codec_sensitivity import ClassShift, CodecSensitivity
from tellapart.reports.figures import INK, MUTED, PAPER, TEST, VALID, shorten, styled
from tellapart.reports.robustness_section import image_set_title
from tellapart.reports.svg import FigureSheet
from tellapart.reports.templating import environment
from tellapart.runs.store import Run
from tellapart.workflows.codec_bias import CodecBias, describe, stored

#: Maximum number of classes that are drawn, the most sensitive first.
CLASSES_UP_TO = 4
_APART = 0.17  # offset between own images and others, in lines


@dataclass(frozen=True, eq=False)
class SectionData:
    """One stored result with its figure."""

    found: CodecBias
    figure: Markup | None

    @property
    def title(self) -> str:
        """The images that were used."""
        return image_set_title(self.found.split, self.found.data, self.found.n, self.found.total)

    @property
    def words(self) -> str:
        """The result in one sentence."""
        return describe(self.found)

    @property
    def classes(self) -> tuple[CodecSensitivity, ...]:
        """The classes in the table, the most sensitive first."""
        return self.found.worst_first[:CLASSES_UP_TO]


def render_section(run: Run, row: Row, key: str, sheet: FigureSheet, level: int = 4) -> Markup | None:
    """Render description, figure and table of every stored result; None if there is none.

    Args:
        run: The run.
        row: Row of the run in the leaderboard.
        key: Unique key on the page.
        sheet: Destination of the figures.
        level: Level of the headings.
    """
    findings = []
    for number, found in enumerate(stored(run)):
        figure = None
        if any(one.transforms for one in found.classes):
            about = f"Change in the predictions of {row.name} when images are re-encoded; {describe(found)}"
            figure = sheet.add(shifts(found), f"{run.id}-{found.folder.name}", f"{key}-bias-{number}", about)
        findings.append(SectionData(found, figure))
    if not findings:
        return None
    return Markup(environment().get_template("bias.html").render(findings=findings, row=row, level=level))


@styled
def shifts(found: CodecBias) -> Figure:
    """Draw the mean change in the probability of each class with its 95 % interval; filled markers are significant.

    Each class is a panel, each re-encoding a line. Dots are the images of the class, squares all other images.
    """
    shown = found.worst_first[:CLASSES_UP_TO]
    lines = max(len(one.transforms) for one in shown) or 1
    figure = Figure(
        figsize=(3.4 * min(2, len(shown)) + 1.2, (0.5 * lines + 0.7) * -(-len(shown) // 2) + 0.5), layout="constrained"
    )
    panels = figure.subplots(-(-len(shown) // 2), min(2, len(shown)), sharex=True, squeeze=False).ravel()
    color = TEST if found.split == "test" else VALID
    for axes, one in zip(panels, shown, strict=False):
        _panel(axes, found, one, color)
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
        panels[len(shown) - 2].tick_params(labelbottom=True)  # the last panel of its column
    figure.supxlabel("change in probability", color=MUTED, fontsize=9)
    handles = [
        panels[0].plot([], [], "o", color=color, markersize=5, label="images of the class")[0],
        panels[0].plot([], [], "s", color=MUTED, markersize=5, label="all other images")[0],
        panels[0].plot([], [], "o", color=color, markersize=5, markerfacecolor=PAPER, label="hollow: not significant")[0],
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=3, frameon=False, fontsize=8.5)
    return figure


def _panel(axes: Axes, found: CodecBias, one: CodecSensitivity, color: str) -> None:
    axes.axvline(0, color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)), zorder=0.5)
    for line, way in enumerate(one.transforms):
        _mark(axes, way.own, line - _APART, "o", color)
        _mark(axes, way.others, line + _APART, "s", MUTED)
    axes.set_yticks(range(len(one.transforms)), [found.text(way.transform) for way in one.transforms])
    axes.set_ylim(len(one.transforms) - 0.5, -0.5)
    axes.set_title(shorten(one.name), loc="left", color=INK)
    axes.grid(axis="x")
    axes.set_axisbelow(True)


def _mark(axes: Axes, side: ClassShift, line: float, marker: str, color: str) -> None:
    axes.hlines(line, side.shift.low, side.shift.high, color=color, linewidth=1.6)
    axes.plot([side.shift.value], [line], marker, color=color, markersize=5, markerfacecolor=color if side.counted else PAPER)
