"""File names, folders and ids that reveal the label.

The classifiers of tellapart never read names, so this does not inflate their scores: it is a notice. But everybody who gets the
files sees them: annotators, competitors, other programs that read paths. Names are examined without extension, and without
folders that are the class or the split.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tellapart.checks._associations import Feature
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks._shortcut import conclude, find_class_shortcuts
from tellapart.checks.base import CheckResult, HealthCheck, passed
from tellapart.data.layouts._aliases import parse_split
from tellapart.data.locator import parse_locator
from tellapart.types import ImageTable

_SEPARATORS = re.compile(r"[\s_\-.()\[\]]+")
_LETTERS_FIRST = re.compile(r"\A[^\W\d_]+")
_LETTERS_LAST = re.compile(r"[^\W\d_]+\Z")
_DIGITS = re.compile(r"\d+")
_LONGEST = 15  # digits: more do not fit into a float64 exactly


class Names(HealthCheck):
    """Whether names separate the classes, and which features of the names."""

    per_image = False

    def _run(self, view: DatasetView) -> CheckResult:
        table, labels = view.table, view.table.labels
        if len(np.unique(labels[labels >= 0])) < 2:
            return passed(len(table), "fewer than two classes have images", "skipped")
        if _are_positions(table):
            return passed(len(table), "the images have positions instead of names", "skipped")
        features = name_features(*_names_and_folders(table))
        result = find_class_shortcuts(features, labels, view.duplicates.cluster, table, view.seed)
        return conclude(result, "names", "notice", _ADVICE)


_ADVICE = (
    "the classifiers of tellapart do not read names, so their scores are not affected; rename the files to random numbers "
    "before people, or programs that read names, are evaluated on them"
)


def name_features(names: Sequence[str], folders: Sequence[Sequence[str]]) -> list[Feature]:
    """File names as features: how they begin and end, their words, numbers and length, and the folders.

    Args:
        names: N file names, without folder and extension.
        folders: N lists of folders, the outermost first, without those that name the class or the split.
    """
    words = [[word for word in _SEPARATORS.split(name) if word] or [""] for name in names]
    depth = max(map(len, folders), default=0)
    number, digits = _numbers(names)
    return [
        _texts("prefix", [_match(_LETTERS_FIRST, name) for name in names], "a name that begins with {}"),
        _texts("first word", [of[0] for of in words], "a name whose first word is {}", ("prefix",)),
        _texts("first character", [name[:1] for name in names], "a name whose first character is {}", ("prefix", "first word")),
        _texts("suffix", [_match(_LETTERS_LAST, name) for name in names], "a name that ends in {}", ("prefix",)),
        _texts("last word", [of[-1] for of in words], "a name whose last word is {}", ("prefix", "suffix", "first word")),
        _texts("last character", [name[-1:] for name in names], "a name whose last character is {}", ("prefix", "suffix")),
        *(
            _texts(f"folder {d + 1}", [of[d] if d < len(of) else "" for of in folders], "folder {}", empty="none")
            for d in range(depth)
        ),
        Feature("number in the name", number, ordered=True),
        Feature("parity", number % 2, {0.0: "an even number", 1.0: "an odd number"}, explained_by=("number in the name",)),
        _counts("digits", digits, "a name with {:.0f} digits", ("prefix", "number in the name")),
        _counts("length", np.array([len(name) for name in names], np.float64), "a name of {:.0f} characters",
                ("prefix", "first word", "suffix", "last word", "digits", "number in the name")),
    ]  # fmt: skip


def _are_positions(table: ImageTable) -> bool:
    """Whether ids are row numbers of a container, which are often sorted by class."""
    numbers = np.char.rpartition(table.ids.astype(str), "#")[:, 2] if len(table) else np.zeros(0, str)
    if not len(numbers) or not np.char.isdigit(numbers).all() or parse_locator(str(table.paths[0])).row is None:
        return False
    return bool((np.diff(numbers.astype(np.float64)) > 0).all())


def _names_and_folders(table: ImageTable) -> tuple[list[str], list[list[str]]]:
    """The name of each image without extension, and its folders without those that are a class or a split.

    A folder named like any class is excluded whatever the label: excluding it only where it agrees would reveal the label.
    """
    classes, names, folders = {name.casefold() for name in table.classes}, [], []
    for name, path in zip(table.ids.tolist(), table.paths.tolist(), strict=True):
        where = parse_locator(path)
        text = name if where.row is not None else where.file
        *parts, last = text.replace("\\", "/").split("/")
        names.append(re.sub(r"\.\w{1,5}\Z", "", last))
        folders.append([p for p in parts if not parse_split(p) and re.sub(r"\A[01]_", "", p).casefold() not in classes])
    return names, folders


def _match(pattern: re.Pattern[str], name: str) -> str:
    found = pattern.search(name)
    return found.group() if found else ""


def _texts(name: str, values: Sequence[str], phrase: str, behind: tuple[str, ...] = (), empty: str = "no letter") -> Feature:
    """A text feature; "" is a value like others, named `empty`.

    Texts are numbered in their own order: in the order of the rows, which are often sorted by class, the number would be the
    label.
    """
    codes, texts = pd.factorize(np.array(values, dtype=object), sort=True)
    words = {float(i): phrase.format(repr(text) if text else empty) for i, text in enumerate(texts)}
    return Feature(name, codes.astype(np.float64), words, explained_by=behind)


def _counts(name: str, values: np.ndarray, phrase: str, behind: tuple[str, ...]) -> Feature:
    known = np.unique(values[np.isfinite(values)])
    return Feature(name, values, {float(v): phrase.format(v) for v in known}, ordered=True, explained_by=behind)


def _numbers(names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The longest run of digits in each name as a number (the last of equal length, NaN without digits); the count of
    digits.
    """
    number, digits = np.full(len(names), np.nan), np.zeros(len(names))
    for row, name in enumerate(names):
        runs = _DIGITS.findall(name)
        if runs:
            longest = max(reversed(runs), key=len)
            number[row] = float(longest) if len(longest) <= _LONGEST else np.nan
            digits[row] = sum(map(len, runs))
    return number, digits
