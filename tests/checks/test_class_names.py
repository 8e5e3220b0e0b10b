"""Classes whose names look alike."""

from __future__ import annotations

import numpy as np

import tellapart as ta
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.base import CheckResult
from tellapart.checks.class_names import ClassNames


def look(labels: list[str | None]) -> CheckResult:
    return ClassNames()(DatasetView(ta.from_arrays(np.zeros((len(labels), 2, 2), np.uint8), labels)))


def test_the_rarer_spelling_is_listed() -> None:
    found = look(["Cat", "cat", "Cat", "dog", "TRUE", "True"])
    assert found.severity == "problem" and "'Cat' (2) and 'cat' (1) in case" in found.summary
    assert found.reasons[1] == "its class 'cat' looks like 'Cat'" and np.flatnonzero(found.is_issue).tolist() == [1, 5]
    assert found.details["groups"] == [["Cat", "cat"], ["TRUE", "True"]]


def test_clear_names_and_no_names() -> None:
    assert look(["cat", "dog", "1", "2"]).severity == "fine"
    assert look([None, None]).severity == "skipped"


def test_many_pairs_are_counted() -> None:
    found = look([name for letter in "abcde" for name in (letter, letter.upper())])
    assert found.summary.endswith("; and 2 more") and found.is_issue.sum() == 5
