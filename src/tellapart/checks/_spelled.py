"""What file names say, as columns: how they begin and end, their words, numbers, length, and the folders they lie in."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tellapart.checks._associations import Feature

_SEPARATORS = re.compile(r"[\s_\-.()\[\]]+")
_LETTERS_FIRST = re.compile(r"\A[^\W\d_]+")
_LETTERS_LAST = re.compile(r"[^\W\d_]+\Z")
_DIGITS = re.compile(r"\d+")
_LONGEST = 15  # digits: more do not fit into a float64 exactly


def name_columns(names: Sequence[str], folders: Sequence[Sequence[str]]) -> list[Feature]:
    """What is looked at.

    Args:
        names: N file names, without folder and ending.
        folders: Of each image the folders that it lies in, the outermost first; those that name class or split left out.
    """
    words = [[word for word in _SEPARATORS.split(name) if word] or [""] for name in names]
    depth = max(map(len, folders), default=0)
    number, digits = _numbers(names)
    return [
        _kinds("prefix", [_found(_LETTERS_FIRST, name) for name in names], "a name that begins with {}"),
        _kinds("first word", [of[0] for of in words], "a name whose first word is {}", ("prefix",)),
        _kinds("first character", [name[:1] for name in names], "a name whose first character is {}", ("prefix", "first word")),
        _kinds("suffix", [_found(_LETTERS_LAST, name) for name in names], "a name that ends in {}", ("prefix",)),
        _kinds("last word", [of[-1] for of in words], "a name whose last word is {}", ("prefix", "suffix", "first word")),
        _kinds("last character", [name[-1:] for name in names], "a name whose last character is {}", ("prefix", "suffix")),
        *(_kinds(f"folder {d + 1}", [of[d] if d < len(of) else "" for of in folders], "folder {}") for d in range(depth)),
        Feature("number in the name", number, ordered=True),
        Feature("parity", number % 2, {0.0: "an even number", 1.0: "an odd number"}, behind=("number in the name",)),
        _counts("digits", digits, "a name with {:.0f} digits", ("prefix", "number in the name")),
        _counts("length", np.array([len(name) for name in names], np.float64), "a name of {:.0f} characters",
                ("prefix", "first word", "suffix", "last word", "digits", "number in the name")),
    ]  # fmt: skip


def _found(pattern: re.Pattern[str], name: str) -> str:
    found = pattern.search(name)
    return found.group() if found else ""


def _kinds(name: str, values: Sequence[str], phrase: str, behind: tuple[str, ...] = ()) -> Feature:
    """A column of texts; "" is a value like others.

    Texts are numbered in their own order: in that of the rows, which are often sorted by class, the number would be the label.
    """
    codes, texts = pd.factorize(np.array(values, dtype=object), sort=True)
    words = {float(i): phrase.format(repr(text) if text else "nothing of the kind") for i, text in enumerate(texts)}
    return Feature(name, codes.astype(np.float64), words, behind=behind)


def _counts(name: str, values: np.ndarray, phrase: str, behind: tuple[str, ...]) -> Feature:
    known = np.unique(values[np.isfinite(values)])
    return Feature(name, values, {float(v): phrase.format(v) for v in known}, ordered=True, behind=behind)


def _numbers(names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The longest run of digits of each name as a number, the last of equals, NaN without one; and all its digits' count."""
    number, digits = np.full(len(names), np.nan), np.zeros(len(names))
    for row, name in enumerate(names):
        runs = _DIGITS.findall(name)
        if runs:
            longest = max(reversed(runs), key=len)
            number[row] = float(longest) if len(longest) <= _LONGEST else np.nan
            digits[row] = sum(map(len, runs))
    return number, digits
