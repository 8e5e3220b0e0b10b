"""Groups that lie in several splits: images of one group (a person, a video, a scene) are not independent."""

from __future__ import annotations

from typing import final

import numpy as np

from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.base import CheckResult, HealthCheck, passed
from tellapart.types import SPLITS


@final
class Groups(HealthCheck):
    """Compare the group column with the splits."""

    def _run(self, view: DatasetView) -> CheckResult:
        table, splits = view.table, view.splits
        if "group" not in table.frame:
            return passed(len(table), "no group column; name one with --group COLUMN", "skipped")
        names = table.frame["group"].astype(str).to_numpy(dtype=object)
        if splits is None:
            count = f"{len(set(names) - {''}):,} groups"
            return passed(len(table), f"{count}; the data have no split yet, and tellapart will keep groups together")
        parts = _parts(names, splits)
        torn = {name: _words(of) for name, of in parts.items() if len(of) > 1}
        if not torn:
            return passed(len(table), f"each of {len(parts):,} groups lies in one split", groups=len(parts))
        return _torn(names, splits, torn, len(parts))


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
