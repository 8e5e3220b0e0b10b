"""Jinja environment of the report's templates, with filters for scores, intervals and times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tellapart import formatting
from tellapart.terminal import visible
from tellapart.types import Score

TEMPLATES = Path(__file__).parent / "templates"


def environment() -> Environment:
    """Create the environment: all values are escaped unless marked safe, and undefined names are errors.

    Control characters and overrides of the direction of writing are shown escaped, as on a terminal.
    """
    made = Environment(
        loader=FileSystemLoader(TEMPLATES, encoding="utf-8"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "fraction": formatting.fraction, "interval": formatting.interval, "full": formatting.score_sentence,
        "number": formatting.count,
        "duration": formatting.duration, "rate": formatting.rate, "times": formatting.times_in_words,
        "part": formatting.PARTS.__getitem__,
        "p_value": formatting.p_value, "tie": formatting.no_break, "points": formatting.points,
        "after_opening": formatting.after_opening,
        "percent": percent, "percent_interval": percent_interval, "points_interval": points_interval,
    }  # fmt: skip
    made.tests["late"] = lambda note: str(note).startswith(formatting.LATE)
    return made


def _shown(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def percent(score: Score) -> str:
    """Format a share in per cent.

    >>> percent(Score(0.123, 200, 0.08, 0.17))
    '12.3 %'
    """
    return f"{100 * score.value:.1f} %"


def percent_interval(score: Score) -> str:
    """Format the interval of a share in per cent.

    >>> percent_interval(Score(0.123, 200, 0.08, 0.17))
    '8.0–17.0 %'
    """
    return f"{100 * score.low:.1f}–{100 * score.high:.1f} %"


def points_interval(score: Score) -> str:
    """Format the interval of a difference in points.

    >>> points_interval(Score(-0.05, 200, -0.08, 0.01))
    '−8.0 … +1.0'
    """
    return f"{formatting.points(score.low)} … {formatting.points(score.high)}"
