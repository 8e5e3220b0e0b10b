"""Paired comparisons of runs on the same images: with the best run, with the metadata baseline, and all pairs.

Stored predictions are read once per run and split. If all runs have been evaluated on test, they are compared on test;
otherwise on validation, which also determined the ranking, and the output states this. Accuracy is compared by exact tests; if
AUROC ranks, AUROC is compared by DeLong's test.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from tellapart.errors import RunError
from tellapart.metrics.delong import ScoreDifference, describe_areas
from tellapart.metrics.mcnemar import Comparison, McNemar, describe, paired_test
from tellapart.metrics.pairwise import PairedTest, StackedPredictions, detectable_difference, paired_tests, stack
from tellapart.recipe.groups import BASELINE
from tellapart.runs.store import Run
from tellapart.types import Predictions

ACCURACY, AUROC = "accuracy", "auroc"


@dataclass(frozen=True, eq=False)
class SplitPredictions:
    """Predictions for one split of all runs that have stored them."""

    split: str
    place: dict[Run, int]
    stacked: StackedPredictions


class StoredPredictions:
    """Stored predictions of several runs, read once."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs, self._parts = runs, dict[str, SplitPredictions | None]()

    def get(self, split: str) -> SplitPredictions | None:
        """Predictions for one split; None if no run has any."""
        if split not in self._parts:
            self._parts[split] = self._read(split)
        return self._parts[split]

    def shared(self, *runs: Run) -> SplitPredictions:
        """Predictions on the split that all given runs share: test if it was opened for all of them, else validation."""
        for split in ("test", "valid"):
            part = self.get(split)
            if part is not None and all(run in part.place for run in runs):
                return part
        names = " and ".join(run.id for run in runs[:2])
        raise RunError(f"{names} cannot be compared: one of them has no stored predictions for validation")

    def _read(self, split: str) -> SplitPredictions | None:
        place: dict[Run, int] = {}

        def found() -> Iterator[Predictions]:
            for run in self._runs:
                predictions = run.predictions(split)
                if predictions is not None and len(predictions):
                    place[run] = len(place)
                    yield predictions

        answers = found()
        first = next(answers, None)
        if first is None:
            return None
        return SplitPredictions(split, place, stack(_chain(first, answers), self._runs[0].positive))


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Paired comparisons of the runs of a leaderboard.

    Attributes:
        split: Split of the comparison: "test" if it was opened for all runs, else "valid".
        metric: Compared score: "accuracy", or "auroc" if AUROC ranks.
        stacked: Predictions of the runs.
        positions: Index of each row of the leaderboard in `stacked`.
        vs_best: Every other run (A) compared with the first (B), in the order of the leaderboard; p corrected for their number.
        detectable: Smallest true difference from the first run that is detected with 80 % power; NaN if undefined.
        rival: Row, from 0, on which `detectable` is based: the highest run that is not correct on exactly the same images as
            the first; None if there is none.
        disagreement: Share of images that exactly one of the first run and the rival predicts correctly; NaN without a rival.
    """

    split: str
    metric: str
    stacked: StackedPredictions
    positions: tuple[int, ...]
    vs_best: tuple[PairedTest, ...]
    detectable: float
    rival: int | None
    disagreement: float

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.stacked.labels)

    @cached_property
    def pairs(self) -> tuple[PairedTest, ...]:
        """Tests of all pairs of runs, by their indices in `stacked`; p corrected for the number of pairs."""
        count = len(self.positions)
        pairs = [(self.positions[a], self.positions[b]) for a in range(count) for b in range(a + 1, count)]
        return tuple(paired_tests(self.stacked, pairs, self.metric))


def compare_to_best(ranked: Sequence[Run], answers: StoredPredictions, rank_by: str) -> Comparisons:
    """Compare all runs with the first; `ranked`: best first."""
    part = answers.shared(*ranked)
    of = AUROC if rank_by == AUROC else ACCURACY
    places = tuple(part.place[run] for run in ranked)
    found = paired_tests(part.stacked, [(place, places[0]) for place in places[1:]], of)
    if not found:
        return Comparisons(part.split, of, part.stacked, places, (), math.nan, None, math.nan)
    correct = part.stacked.correct
    apart = [float((correct[place] != correct[places[0]]).mean()) for place in places]
    rival = next((row for row, share in enumerate(apart) if share), None)
    shown = math.nan if rival is None else detectable_difference(part.stacked, places[0], places[rival], of)
    return Comparisons(
        part.split, of, part.stacked, places, tuple(found), shown, rival, math.nan if rival is None else apart[rival]
    )


def compare_to_baseline(ranked: Sequence[Run], answers: StoredPredictions) -> dict[Run, tuple[str, McNemar]]:
    """Compare each run (A) with the best metadata baseline (B): split and paired test. Baseline runs are excluded."""
    baseline = next((run for run in ranked if run.family == BASELINE), None)
    if baseline is None:
        return {}
    found = {}
    for run in ranked:
        if run.family != BASELINE:
            part = answers.shared(run, baseline)
            correct = part.stacked.correct
            test = paired_test(correct[part.place[run]], correct[part.place[baseline]], part.stacked.groups)
            found[run] = part.split, test
    return found


def compare_top_two(first: Run, second: Run, names: dict[Run, str], answers: StoredPredictions, rank_by: str) -> str:
    """Describe the comparison of the two best runs by validation."""
    part = answers.shared(first, second)
    a, b, of = part.place[first], part.place[second], AUROC if rank_by == AUROC else ACCURACY
    [found] = paired_tests(part.stacked, [(a, b)], of)
    if found.counts is not None:
        sentence = describe(names[first], names[second], Comparison(found.counts, found.difference))
    else:
        areas = part.stacked.areas[0]
        both = ScoreDifference(found.difference, found.p_value)
        sentence = describe_areas(names[first], names[second], float(areas[a]), float(areas[b]), both)
    if part.split == "test":
        return f"The two best runs by validation, compared on test: {sentence}"
    return f"The two best runs, compared on the validation images that ranked them (test not opened): {sentence}"


def _chain(first: Predictions, rest: Iterator[Predictions]) -> Iterator[Predictions]:
    yield first
    yield from rest
