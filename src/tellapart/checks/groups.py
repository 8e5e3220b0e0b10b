"""Groups that lie in several splits: images of one group (a person, a video, a scene) are not independent.

Without a group column, the column that explains the pairs of duplicates and near-duplicates is offered, if there is one: where
nine of ten pairs agree in it, and two images of one class rarely do. Such a column is the person, the video or the scene.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import pandas as pd

from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.base import CheckResult, HealthCheck, passed
from tellapart.types import SPLITS, ImageTable

#: Columns of every table that say nothing about groups.
_NO_GROUPS = frozenset({"id", "path", "label", "size", "digest", "group", "split"})
#: A column explains the pairs if this share of them agree in it, and this share of random pairs of one class at most. Five
#: pairs agree by chance with a probability of 0.1⁵.
_AGREE, _BY_CHANCE, _FEWEST_PAIRS = 0.9, 0.1, 5


@final
class Groups(HealthCheck):
    """Compare the group column with the splits; without one, offer the column that explains the duplicates."""

    needs_pairs: ClassVar[bool] = True

    def _run(self, view: DatasetView) -> CheckResult:
        table, splits = view.table, view.splits
        if "group" not in table.frame:
            column = explaining_column(table, np.concatenate([*view.pairs, np.zeros((0, 2), np.int64)]))
            return _offered(column, len(table)) if column else passed(len(table), _NO_COLUMN, "skipped")
        names = table.frame["group"].astype(str).to_numpy(dtype=object)
        if splits is None:
            count = f"{len(set(names) - {''}):,} groups"
            return passed(len(table), f"{count}; the data have no split yet, and tellapart will keep groups together")
        parts = _parts(names, splits)
        torn = {name: _words(of) for name, of in parts.items() if len(of) > 1}
        if not torn:
            return passed(len(table), f"each of {len(parts):,} groups lies in one split", groups=len(parts))
        return _torn(names, splits, torn, len(parts))


_NO_COLUMN = "no group column; name one with --group COLUMN"


@dataclass(frozen=True)
class GroupColumn:
    """A column that explains pairs of duplicates.

    Attributes:
        name: The column, as `--group` takes it.
        agree: The number of pairs with equal values.
        pairs: The number of pairs.
        by_chance: The probability that two random images, of the whole table or of one class, have equal values.
    """

    name: str
    agree: int
    pairs: int
    by_chance: float


def explaining_column(table: ImageTable, pairs: np.ndarray) -> GroupColumn | None:
    """Find the column whose values explain pairs of duplicates; of several the one with the smallest groups.

    Args:
        table: N images.
        pairs: (P, 2) int64 positions.

    Returns:
        The column, or None: there are fewer than five pairs, or no column explains nine of ten.
    """
    found = []
    for name in table.frame.columns.difference(list(_NO_GROUPS), sort=False) if len(pairs) >= _FEWEST_PAIRS else ():
        values = pd.factorize(table.frame[name].fillna("").astype(str).replace("", None))[0]  # −1: not given
        first, second = values[pairs].T
        agree = int(((first == second) & (first >= 0)).sum())
        by_chance = max(_chance(values), _chance(values, table.labels))
        if agree >= _AGREE * len(pairs) and by_chance <= _BY_CHANCE:
            found.append(GroupColumn(str(name).removesuffix(" of the table"), agree, len(pairs), by_chance))
    return min(found, key=lambda column: column.by_chance, default=None)


def _chance(values: np.ndarray, labels: np.ndarray | None = None) -> float:
    """The probability that two random images (with `labels`: of one class) have one value ≥ 0. `values`: (N,) int64."""
    classes = np.zeros_like(values) if labels is None else labels
    pairs = same = 0
    for label in np.unique(classes):
        inside = values[classes == label]
        size = np.bincount(inside[inside >= 0])
        pairs += len(inside) * (len(inside) - 1)
        same += int((size * (size - 1)).sum())
    return same / max(pairs, 1)


def _offered(column: GroupColumn, count: int) -> CheckResult:
    """The result that offers a column. `count`: the number of images."""
    summary = (
        f"no group column; {column.agree:,} of {column.pairs:,} pairs of duplicates and near-duplicates have equal values in "
        f"the column {column.name!r} (random pairs: {column.by_chance:.1%})"
    )
    advice = f"Use that column as the group: `--group {shlex.quote(column.name)}` keeps equal values in one split."
    details = {"column": column.name, "agree": column.agree, "pairs": column.pairs, "by_chance": column.by_chance}
    return CheckResult("notice", summary, advice, np.zeros(count, np.float32), np.zeros(count, bool), details=details)


def _parts(names: np.ndarray, splits: np.ndarray) -> dict[str, set[str]]:
    """Map each group to the splits that it lies in. `names`, `splits`: (N,) object."""
    found: dict[str, set[str]] = {}
    for name, part in zip(names.tolist(), splits.tolist(), strict=True):
        if name and part in SPLITS:
            found.setdefault(name, set()).add(part)
    return found


def _torn(names: np.ndarray, splits: np.ndarray, torn: dict[str, str], groups: int) -> CheckResult:
    """Build the result. `torn`: group → its splits in words; `groups`: the number of groups."""
    is_issue = np.array([n in torn and s in SPLITS for n, s in zip(names.tolist(), splits.tolist(), strict=True)], bool)
    reasons = {row: f"its group {names[row]} lies in {torn[names[row]]}" for row in np.flatnonzero(is_issue).tolist()}
    first = min(torn)
    summary = (
        f"{len(torn):,} of {groups:,} groups lie in several splits ({int(is_issue.sum()):,} images), for example {first!r} "
        f"in {torn[first]}"
    )
    advice = "Move each group into one split, or split the data again: `tellapart split DATA --overwrite -o split.csv`."
    details = {"groups": groups, "torn": len(torn)}
    return CheckResult("leak", summary, advice, is_issue.astype(np.float32), is_issue, reasons, None, details)


def _words(parts: set[str]) -> str:
    return " and ".join(part for part in SPLITS if part in parts)
