"""Classes that one part has and another lacks."""

from __future__ import annotations

import numpy as np

import tellapart as ta
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.base import CheckResult
from tellapart.checks.missing_classes import MissingClasses


def look(labels: str, parts: str | None) -> CheckResult:
    """One letter an image: its class, "-" for none; its part: t, v, e (test), "-" for none."""
    names = {"t": "train", "v": "valid", "e": "test", "-": ""}
    split = None if parts is None else [names[p] for p in parts]
    table = ta.from_arrays(
        np.zeros((len(labels), 2, 2), np.uint8), [None if c == "-" else c for c in labels], split=split
    )  # fmt: skip
    return MissingClasses()(DatasetView(table))


def test_a_class_that_train_lacks_is_a_problem() -> None:
    found = look("ababcca", "tttteev")
    assert found.severity == "problem" and "'c' is in test (2 images) but not in train" in found.summary
    assert np.flatnonzero(found.is_issue).tolist() == [4, 5] and found.reasons[4] == "'c' is not in train"
    assert found.details["not_in_train"] == {"test": ["c"]} and found.scores.tolist() == [0, 0, 0, 0, 1, 1, 0]


def test_a_class_that_is_never_asked_for_is_a_notice() -> None:
    found = look("abcab", "tttee")
    assert found.severity == "notice" and "in train but not in test: c" in found.summary and not found.is_issue.any()


def test_nothing_is_missing() -> None:
    assert look("ababab", "ttvvee").severity == "fine"


def test_without_split_or_labels_it_cannot_look() -> None:
    assert look("abab", None).severity == "skipped"
    assert look("abab", "----").severity == "skipped"
    assert look("ab--", "ttee").severity == "skipped"
    assert look("abab", "eeee").severity == "skipped"
