"""Promises of a health check, tested on small tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.base import SEVERITIES, CheckResult, HealthCheck
from tellapart.data.memory import from_bytes
from tellapart.plugins._promises import Promises, expect, expect_equal, expect_table_untouched
from tellapart.plugins._samples import mixed_table, png, textured
from tellapart.recipe.load import check_options
from tellapart.recipe.schema import OptionsModel
from tellapart.types import ImageTable

PROMISES = Promises("health check", options=True)
_COUNT = 24
_SPLIT = (["train"] * 4 + ["valid", "test"]) * (_COUNT // 6)


@dataclass(frozen=True)
class _Tested:
    """A health check class and its options."""

    cls: type[HealthCheck]
    options: OptionsModel

    def look(self, table: ImageTable) -> CheckResult:
        """Run a new health check on a table."""
        return self.cls(self.options)(DatasetView(table, seed=4))

    @property
    def tables(self) -> dict[str, ImageTable]:
        """Return new tables of the kinds a check may get, by description; they are new because a check might modify them."""
        return {
            "two classes": mixed_table([0, 1] * (_COUNT // 2)),
            "two classes, split": mixed_table([0, 1] * (_COUNT // 2), split=_SPLIT),
            "unknown labels": mixed_table([0, 1, -1] * (_COUNT // 3)),
            "faults": _faulty(),
        }


def check_health_check(cls: type[HealthCheck], options: Mapping[str, Any] | None = None, *, only: str | None = None) -> None:
    """Test a health check.

    Args:
        cls: The class.
        options: Values of its `Options`.
        only: Name of the promise to test; None: all of `promises("health check")`.

    Raises:
        PluginError: A promise is broken; the message names it, the expected and the actual result.
        RecipeError: The options are not valid for this class.
    """
    PROMISES.check(cls, _Tested(cls, check_options(cls.Options, options or {}, cls.__name__)), only)


@PROMISES.promise("a complete result")
def _whole(tested: _Tested) -> None:
    """Scores are (N,) float32 in [0, 1], faults (N,) bool, positions are rows of the table, and an issue has a summary."""
    for what, table in tested.tables.items():
        _check_found(tested.look(table), len(table), what)


@PROMISES.promise("deterministic")
def _deterministic(tested: _Tested) -> None:
    """Two runs on the same images with the same seed give the same result."""
    table = tested.tables["faults"]
    first, second = tested.look(table), tested.look(table)
    expect_equal(second.scores, first.scores, "the same scores")
    expect_equal(second.is_issue, first.is_issue, "the same flagged rows")
    for said in ("severity", "summary", "advice", "reasons", "drops"):
        one, other = getattr(first, said), getattr(second, said)
        expect(one == other, f"the same {said}: {one!r}", repr(other))


@PROMISES.promise("the table is not modified")
def _untouched(tested: _Tested) -> None:
    """The table that is passed in is not modified."""
    for table in tested.tables.values():
        before = table.frame.copy()
        tested.look(table)
        expect_table_untouched(before, table.frame)


@PROMISES.promise("unlabeled images")
def _unlabeled(tested: _Tested) -> None:
    """A table without labels is checked or skipped."""
    _check_found(tested.look(mixed_table([-1] * 6)), 6, "a table without labels")


@PROMISES.promise("one class")
def _one_class(tested: _Tested) -> None:
    """A table with images of a single class is checked or skipped."""
    _check_found(tested.look(mixed_table([0] * 6, ["cat"])), 6, "a table of one class")
    _check_found(tested.look(mixed_table([0] * 6)), 6, "a table with an empty class")


@PROMISES.promise("few images")
def _few(tested: _Tested) -> None:
    """Tables of no, one and two images are checked or skipped."""
    for count in (0, 1, 2):
        table = mixed_table([0, 1], split=["train", "test"])
        _check_found(tested.look(table.take(np.arange(count))), count, f"{count} images")


@PROMISES.promise("files that cannot be decoded")
def _corrupt(tested: _Tested) -> None:
    """A file that is not an image may be reported, but never raises an error."""
    blobs = [png(p) for p in textured(6, 24, 24)]
    blobs[2] = b"this is not an image"
    _check_found(tested.look(from_bytes(blobs, [0, 1] * 3, ["cat", "dog"])), 6, "a table with a corrupt file")


def _faulty() -> ImageTable:
    """Duplicates across classes and splits, and one class that is brighter and larger than the other."""
    pictures = list(textured(_COUNT, 24, 24, 2))
    for row in range(0, _COUNT, 2):
        pictures[row] = np.full((32, 30, 3), 200 + row, np.uint8)
    pictures[5] = pictures[1]
    pictures[8] = pictures[6]
    groups = [f"scene {row // 3}" for row in range(_COUNT)]
    ids = [f"{'ab'[row % 2]}/{row}" for row in range(_COUNT)]
    return from_bytes([png(p) for p in pictures], [0, 1] * (_COUNT // 2), ["cat", "dog"], ids, groups, _SPLIT)


def _check_found(found: CheckResult, count: int, what: str) -> None:
    """Check that a `CheckResult` is consistent with its documentation."""
    expect(isinstance(found, CheckResult), f"a CheckResult for {what}", type(found).__name__)
    _check_rows(found, count, what)
    expect(found.severity in SEVERITIES, f"a severity of {', '.join(SEVERITIES)}", found.severity)
    expect(bool(found.summary), f"a summary for {what}", "none")
    bad = found.severity in ("leak", "problem") or bool(found.is_issue.any())
    expect(bool(found.advice) or not bad, f"advice with severity {found.severity!r} for {what}", "none")
    rows = set(range(count))
    expect(set(found.reasons) <= rows, f"reasons for rows 0 … {count - 1}", sorted(set(found.reasons) - rows))
    expect(set(found.drops) <= set(np.flatnonzero(found.is_issue).tolist()), "drops that are flagged rows", sorted(found.drops))
    if found.pairs is not None:
        expect(found.pairs.ndim == 2 and found.pairs.shape[1] == 2, "pairs (P, 2)", found.pairs.shape)
        expect(
            not found.pairs.size or 0 <= found.pairs.min() <= found.pairs.max() < count, "pairs of rows", found.pairs.tolist()
        )
    json.dumps(found.details, allow_nan=True)  # raises TypeError if a value is not JSON-compatible


def _check_rows(found: CheckResult, count: int, what: str) -> None:
    scores, faults = found.scores, found.is_issue
    expect(
        scores.shape == (count,) and scores.dtype == np.float32,
        f"scores ({count},) float32 for {what}",
        f"{scores.shape} {scores.dtype}",
    )
    inside = bool(np.isfinite(scores).all()) and bool(((scores >= 0) & (scores <= 1)).all())
    expect(inside, f"scores in [0, 1] for {what}", scores.tolist())
    expect(
        faults.shape == (count,) and faults.dtype == bool,
        f"is_issue ({count},) bool for {what}",
        f"{faults.shape} {faults.dtype}",
    )
