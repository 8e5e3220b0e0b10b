"""The templates of the report, and what they may call: numbers and times as `runs.wording` writes them."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tellapart import formatting

TEMPLATES = Path(__file__).parent / "templates"


def environment() -> Environment:
    """Everything is escaped unless it is marked; an unknown name is an error."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES, encoding="utf-8"),
        autoescape=True,
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
    }  # fmt: skip
    made.tests["late"] = lambda note: str(note).startswith(formatting.LATE)
    return made
