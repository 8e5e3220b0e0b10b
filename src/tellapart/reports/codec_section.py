"""Codec, or fragility, on a run's page: what the stored answers of `evaluate --bias` say. No number is made here."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from tellapart.leaderboards.row import Row
from tellapart.perturbations.codec_sensitivity import CodecSensitivity
from tellapart.reports.bias_figure import CLASSES_UP_TO, shifts
from tellapart.reports.robustness_section import environment, part_title
from tellapart.reports.svg import FigureSheet
from tellapart.runs.store import Run
from tellapart.workflows.codec_bias import Bias, in_words, stored


@dataclass(frozen=True, eq=False)
class _Shown:
    """One stored finding on the page."""

    found: Bias
    figure: Markup | None

    @property
    def title(self) -> str:
        return part_title(self.found.part, self.found.data, self.found.n, self.found.of)

    @property
    def words(self) -> str:
        return in_words(self.found)

    @property
    def classes(self) -> tuple[CodecSensitivity, ...]:
        return self.found.worst_first[:CLASSES_UP_TO]


def page(run: Run, row: Row, key: str, sheet: FigureSheet, level: int = 4) -> Markup | None:
    """Sentence, picture and table of everything that was asked; None when nothing was.

    Args:
        run: The run.
        row: Its row of the leaderboard.
        key: Unique on the page.
        sheet: Where the figures go.
        level: Of the headings.
    """
    shown = []
    for number, found in enumerate(stored(run)):
        figure = None
        if any(one.ways for one in found.classes):
            about = f"How far the answers of {row.name} move when images are written anew; {in_words(found)}"
            figure = sheet.place(shifts(found), f"{run.id}-{found.folder.name}", f"{key}-bias-{number}", about)
        shown.append(_Shown(found, figure))
    if not shown:
        return None
    return Markup(environment().get_template("bias.html").render(asked=shown, row=row, level=level))
