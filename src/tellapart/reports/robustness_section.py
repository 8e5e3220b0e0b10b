"""The robustness part of a run's page: what the stored sweeps found. No number is made here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tellapart import formatting
from tellapart.leaderboards.row import Row
from tellapart.perturbations.scores import Robustness, in_words
from tellapart.reports.robustness_figures import curves
from tellapart.reports.svg import FigureSheet
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
        return part_title(self.found.part, self.found.data, self.found.n, self.found.of)

    @property
    def words(self) -> str:
        return in_words(self.found)

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
        about = f"Accuracy of {row.name} on damaged images, a panel a damage; {in_words(found)}"
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
