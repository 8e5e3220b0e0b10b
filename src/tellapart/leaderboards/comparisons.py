"""How runs stand to each other on the same images: against the first, against the metadata baseline, every pair.

Stored answers are read once a run and part. Where all runs have been scored on test, test decides; else the validation part
does, which also chose the first, and that is said. Accuracy is compared by exact tests; where AUROC ranks, AUROC by DeLong's.
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
    """Of one part of the data, what the runs answered that have stored answers there."""

    split: str
    place: dict[Run, int]
    stacked: StackedPredictions


class StoredPredictions:
    """The stored answers of some runs, each read once."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs, self._parts = runs, dict[str, SplitPredictions | None]()

    def get(self, split: str) -> SplitPredictions | None:
        """One part; None where no run has answers."""
        if split not in self._parts:
            self._parts[split] = self._read(split)
        return self._parts[split]

    def shared(self, *runs: Run) -> SplitPredictions:
        """The part on which these runs meet: test when it was opened for all of them, else validation."""
        for split in ("test", "valid"):
            part = self.get(split)
            if part is not None and all(run in part.place for run in runs):
                return part
        names = " and ".join(run.id for run in runs[:2])
        raise RunError(f"{names} cannot be compared: one of them has no stored validation predictions")

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
    """The runs of a table against each other.

    Attributes:
        split: The part that decides: "test" when it was opened for all runs, else "valid".
        of: What is compared: "accuracy", or "auroc" where that ranks.
        answered: Of the runs in the order of the table.
        first: Every run but the first (A) against the first (B), in the order of the table; p corrected for their number.
        detectable: The smallest true difference from the first that n shows four times in five; NaN where none is.
        rival: The row, from 0, that `detectable` was found with: the highest that is not right on just the same images as
            the first; None where there is none.
        disagreement: Share of the images that exactly one of the first and the rival gets right; NaN without a rival.
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
        """Images."""
        return len(self.stacked.labels)

    @cached_property
    def pairs(self) -> tuple[PairedTest, ...]:
        """Every pair of runs by their places in the table, from 0; p corrected for the number of pairs."""
        count = len(self.positions)
        pairs = [(self.positions[a], self.positions[b]) for a in range(count) for b in range(a + 1, count)]
        return tuple(paired_tests(self.stacked, pairs, self.metric))


def compare_to_best(ranked: Sequence[Run], answers: StoredPredictions, rank_by: str) -> Comparisons:
    """The runs against the first; `ranked`: best first."""
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
    """Each run (A) against the best metadata baseline (B): where they meet, and the paired test. Runs of the baseline are left
    out.
    """
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
    """The two best by validation, compared in words."""
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
        return f"The two best by validation, on test: {sentence}"
    return f"The two best, on the validation part that chose them (test is not opened): {sentence}"


def _chain(first: Predictions, rest: Iterator[Predictions]) -> Iterator[Predictions]:
    yield first
    yield from rest
