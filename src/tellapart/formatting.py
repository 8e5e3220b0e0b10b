"""Numbers, scores and times as text: one format for each, in the terminal, the reports and the model card."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from tellapart.types import Score

UNKNOWN = "–"
#: Names of the splits in text.
PARTS = {"train": "training", "valid": "validation", "test": "test"}


def fraction(value: float | None, digits: int = 3) -> str:
    """Format with fixed decimals; a dash for undefined values.

    >>> fraction(0.91249), fraction(float("nan"))
    ('0.912', '–')
    """
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def interval(score: Score) -> str:
    """Format the 95 % interval.

    >>> interval(Score(0.912, 800, 0.891, 0.93))
    '0.891–0.930'
    """
    defined = math.isfinite(score.low) and math.isfinite(score.high)
    return f"{score.low:.3f}–{score.high:.3f}" if defined else "no interval"


def score_sentence(score: Score) -> str:
    """Format a score with its interval and n, for a sentence.

    >>> score_sentence(Score(0.9124, 800, 0.891, 0.93))
    '0.912 (95 % interval 0.891–0.930, n = 800)'
    """
    defined = math.isfinite(score.low) and math.isfinite(score.high)
    return f"{fraction(score.value)} ({'95 % interval ' if defined else ''}{interval(score)}, n = {count(score.n)})"


def count(value: int | None) -> str:
    """Format an integer with thousands separators.

    >>> count(1234567)
    '1,234,567'
    """
    return UNKNOWN if value is None else f"{value:,}"


def duration(seconds: float | None) -> str:
    """Format a duration with about two significant digits.

    >>> duration(0.042), duration(7.3), duration(62), duration(754), duration(7500)
    ('42 ms', '7.3 s', '62 s', '12.6 min', '2.1 h')
    """
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def rate(per_second: float | None) -> str:
    """Format a rate, in images per second.

    >>> rate(5301.2), rate(12.34)
    ('5,301', '12.3')
    """
    if per_second is None or not math.isfinite(per_second):
        return UNKNOWN
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.3g}"


def p_value(p: float) -> str:
    """Format a p-value, without false precision.

    >>> p_value(0.0004), p_value(0.0312), p_value(0.4)
    ('p < 0.001', 'p = 0.031', 'p = 0.40')
    """
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def no_break(sentence: str) -> str:
    """Replace spaces that must not break by no-break spaces: in "p < 0.001", "n = 800", "95 %".

    >>> no_break("p = 0.031, 95 % CI").count("\u00a0")
    3
    """
    return re.sub(r"(?<=\b[pn]) ([<=]) ", "\u00a0\\1\u00a0", sentence).replace(" %", "\u00a0%")


def times_in_words(number: int) -> str:
    """Format a number of times.

    >>> times_in_words(1), times_in_words(2), times_in_words(7)
    ('once', 'twice', '7 times')
    """
    return {0: "never", 1: "once", 2: "twice"}.get(number, f"{number} times")


#: Beginning of the notes on runs that were trained after the test split had been evaluated.
LATE = "made after the test "


def after_opening(number: int) -> str:
    """The note on a run that was made after the test split of its data had been evaluated.

    >>> after_opening(1), after_opening(3)
    ('made after the test was opened once', 'made after the test was opened 3 times')
    """
    return f"{LATE}was opened {times_in_words(number)}"


def points(fraction: float) -> str:
    """Format a difference in percentage points, with sign and a true minus.

    >>> points(0.0391), points(-0.002), points(float("nan"))
    ('+3.9', '−0.2', '–')
    """
    return f"{100 * fraction:+.1f}".replace("-", "−") if math.isfinite(fraction) else UNKNOWN


def flat(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Format plain values as rows of a table; a nested mapping or list becomes one row.

    >>> flat({"device": "cpu", "packages": {"numpy": "2.3", "scipy": "1.14"}, "gpu": None})
    [('device', 'cpu'), ('packages', 'numpy 2.3, scipy 1.14'), ('gpu', '–')]
    """
    return [(str(key), _in_one_line(value)) for key, value in content.items()]


def _in_one_line(value: Any) -> str:
    if isinstance(value, Mapping):
        value = [f"{name} {_in_one_line(inner)}" for name, inner in value.items()]
    if isinstance(value, list | tuple):
        return ", ".join(map(_in_one_line, value)) or UNKNOWN
    return UNKNOWN if value is None or value == "" else str(value)
