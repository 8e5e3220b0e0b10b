"""The templates of the report, and what they may call: numbers and times as `runs.wording` writes them."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tellapart.runs import wording

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
        "fraction": wording.fraction, "interval": wording.interval, "full": wording.full, "number": wording.count,
        "duration": wording.duration, "rate": wording.rate, "times": wording.times, "part": wording.PARTS.__getitem__,
        "p_value": wording.p_value, "tie": wording.tie, "points": wording.points, "after_opening": wording.after_opening,
    }  # fmt: skip
    made.tests["late"] = lambda note: str(note).startswith(wording.LATE)
    return made
