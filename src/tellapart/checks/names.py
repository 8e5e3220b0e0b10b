"""File names, folders and ids that give the label away.

No classifier of tellapart sees a name, so scores are not too good for it. But whoever gets the files sees them: a person who
labels, a competitor, another program that reads paths. Names are looked at without their ending, and without the folders that
are the class or the split. Names that tell surely are a leak, names that tell a
little a notice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tellapart.checks._associations import Feature
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks._shortcut import find_shortcuts, independent_groups, rows_explained, shortcut_details, summarize
from tellapart.checks.base import CheckResult, HealthCheck, passed
from tellapart.data.layouts._aliases import parse_split
from tellapart.data.reader import parse_locator
from tellapart.types import ImageTable

_SUBJECT = "names"
_TELLING = 0.75  # AUROC: names of turned or numbered copies differ by class a little without saying it


class Names(HealthCheck):
    """Whether names tell the classes apart, and by what."""

    def _run(self, view: DatasetView) -> CheckResult:
        table, labels = view.table, view.table.labels
        classes = np.unique(labels[labels >= 0])
        if len(classes) < 2:
            return passed(len(table), "fewer than two classes have images: nothing to tell apart", "skipped")
        if _are_positions(table):
            return passed(len(table), "the images have no names but their positions", "skipped")
        columns = name_features(*_names_and_folders(table))
        verdict = find_shortcuts(
            columns,
            labels,
            independent_groups(table, view.duplicates.cluster),
            {int(c): repr(table.classes[c]) for c in classes},
            view.seed,
        )
        text = summarize(verdict, _SUBJECT)
        if not verdict.found:
            return passed(len(table), f"names do not give the classes away ({text})", **shortcut_details(verdict))
        best = max([c.effect for c in verdict.associations] + [verdict.score.auroc.value if verdict.score else 0.5])
        leak = best >= _TELLING
        rows = rows_explained(verdict, _SUBJECT)
        return CheckResult("leak" if leak else "notice", text, _ADVICE, *rows, details=shortcut_details(verdict))


_ADVICE = (
    "give the files names that say nothing (numbers drawn by lot) before anybody, or any program that reads names, is judged "
    "on them; the classifiers of tellapart see no name"
)


def _are_positions(table: ImageTable) -> bool:
    """Whether ids only count: rows of a container, which are as often as not sorted by class."""
    numbers = np.char.rpartition(table.ids.astype(str), "#")[:, 2] if len(table) else np.zeros(0, str)
    if not len(numbers) or not np.char.isdigit(numbers).all() or parse_locator(str(table.paths[0])).row is None:
        return False
    return bool((np.diff(numbers.astype(np.float64)) > 0).all())


def _names_and_folders(table: ImageTable) -> tuple[list[str], list[list[str]]]:
    """Of each image its name without ending, and its folders less those that are a class or a split.

    A folder called like any class is left out, whatever the label: one that is left out only where it agrees would tell.
    """
    classes, names, folders = {name.casefold() for name in table.classes}, [], []
    for name, path in zip(table.ids.tolist(), table.paths.tolist(), strict=True):
        where = parse_locator(path)
        text = name if where.row is not None else where.file
        *parts, last = text.replace("\\", "/").split("/")
        names.append(re.sub(r"\.\w{1,5}\Z", "", last))
        folders.append([p for p in parts if not parse_split(p) and re.sub(r"\A[01]_", "", p).casefold() not in classes])
    return names, folders


# --- what file names say, as columns: how they begin and end, their words, numbers, length, and the folders t ---------


_SEPARATORS = re.compile(r"[\s_\-.()\[\]]+")
_LETTERS_FIRST = re.compile(r"\A[^\W\d_]+")
_LETTERS_LAST = re.compile(r"[^\W\d_]+\Z")
_DIGITS = re.compile(r"\d+")
_LONGEST = 15  # digits: more do not fit into a float64 exactly


def name_features(names: Sequence[str], folders: Sequence[Sequence[str]]) -> list[Feature]:
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
        Feature("parity", number % 2, {0.0: "an even number", 1.0: "an odd number"}, explained_by=("number in the name",)),
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
    return Feature(name, codes.astype(np.float64), words, explained_by=behind)


def _counts(name: str, values: np.ndarray, phrase: str, behind: tuple[str, ...]) -> Feature:
    known = np.unique(values[np.isfinite(values)])
    return Feature(name, values, {float(v): phrase.format(v) for v in known}, ordered=True, explained_by=behind)


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
