"""Trials on the disk: exact, and safe against being killed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tellapart.errors import RunError
from tellapart.search.study import Trial, TrialFile, ranked, tabulate
from tellapart.types import Score


def trial(key: str, right: str = "1101", log_loss: float = 0.5, **facts: float) -> Trial:
    """One with four validation images or more; `right`: one digit an image."""
    correct = np.array([digit == "1" for digit in right])
    valid = Score(float(correct.mean()), len(correct), 0.2, 0.9)
    return Trial(key, {"a": key}, {"a": key}, Score(1.0, 9, 0.7, float("nan")), valid, log_loss, correct, 1.5, facts)


def test_a_trial_comes_back_as_it_went(tmp_path: Path) -> None:
    first, second = trial("k", "1101011011", explained_variance=0.25), trial("é")
    file = TrialFile(tmp_path / "trials.jsonl")
    file.add(first)
    file.add(second)
    again = TrialFile(tmp_path / "trials.jsonl").found
    assert list(again) == ["k", "é"]
    assert again["k"].to_line() == first.to_line() and again["k"].facts == {"explained_variance": 0.25}
    assert again["k"].right.tolist() == first.right.tolist() and again["k"].gap == pytest.approx(0.3)


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_a_torn_last_line_is_ignored_and_written_over(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "trials.jsonl"
    for key in ("a", "b"):
        TrialFile(path).add(trial(key))
    path.write_bytes(path.read_bytes()[:-cut])
    file = TrialFile(path)
    assert list(file.found) == ["a"]
    file.add(trial("c"))
    assert list(TrialFile(path).found) == ["a", "c"]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    path.write_text("{}\n" + trial("a").to_line() + "\n")
    with pytest.raises(RunError, match=r"trials.jsonl:1: not a valid trial"):
        TrialFile(path)


def test_the_table_is_ranked_and_tested_against_the_best() -> None:
    best, other = trial("best", "1" * 12 + "0"), trial("other", "0" * 9 + "1" * 3 + "1", explained_variance=0.5)
    equal = trial("equal", "1" * 12 + "0", log_loss=0.9)
    table = tabulate(ranked([other, equal, best]), None)
    assert table["a"].tolist() == ["best", "equal", "other"]
    assert table["p"].tolist() == pytest.approx([1, 1, 2 * (1 + 10) / 2**10])  # 9 against 1: two tails of Bin(10, ½)
    assert list(table)[:3] == ["a", "explained_variance", "train"]
    grouped = tabulate(ranked([other, best]), np.array(list("abcdefghijklm"), dtype=object))
    assert grouped["p"].iloc[1] == pytest.approx(table["p"].iloc[2])
