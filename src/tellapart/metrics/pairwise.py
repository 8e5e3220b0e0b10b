"""Many classifiers on the same images: each against one of them, or every pair, with Holm's correction.

Two things can be compared. Accuracy, by the exact McNemar test (over groups: the exact sign-flip test); and, with two
classes, AUROC by DeLong's. What is kept of a classifier is which images it got right and one probability an image, so that
100 of them fit anywhere.

Sources: those of `compare`, `paired` and `multiple`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import bdtr, ndtri

from tellapart.errors import DataError
from tellapart.metrics.delong import ScoreDifference, difference_of_areas
from tellapart.metrics.intervals import Z95, group_codes
from tellapart.metrics.mcnemar import LEVEL, McNemar, align, paired_difference, paired_test, sign_flip
from tellapart.metrics.roc import area, roc_curve
from tellapart.metrics.roc_intervals import auroc_influences
from tellapart.types import Predictions, Score

MCNEMAR, SIGN_FLIP, DELONG = "exact McNemar", "exact sign-flip test over groups", "DeLong"


@dataclass(frozen=True, eq=False)
class StackedPredictions:
    """What is kept of R classifiers that answered the same N images.

    Attributes:
        labels: (N,) int64.
        correct: (R, N) bool, whether it is right.
        groups: (N,) object (str), or None where images are independent.
        scores: (R, N) float32, the probability of the positive class; None with more than two classes.
        positive: (N,) bool, whether an image is of that class; None with more than two classes.
    """

    labels: np.ndarray
    correct: np.ndarray
    groups: np.ndarray | None
    scores: np.ndarray | None
    positive: np.ndarray | None

    @cached_property
    def areas(self) -> tuple[np.ndarray, np.ndarray]:
        """AUROC of each classifier (R,), and the influences of the images on it (R, N): float64."""
        if self.scores is None or self.positive is None or len(np.unique(self.positive)) < 2:
            raise DataError("AUROCs were to be compared, which needs two classes that both occur in the images")
        sweeps = [roc_curve(self.positive, scores) for scores in self.scores]
        return np.array([area(sweep) for sweep in sweeps]), np.stack([auroc_influences(sweep) for sweep in sweeps])


@dataclass(frozen=True)
class PairedTest:
    """Two of many classifiers.

    Attributes:
        a, b: Their places in what was given.
        of: "accuracy" or "auroc".
        difference: Of A less that of B, with its 95 % interval (of this pair alone).
        test: The name of the test.
        p_alone: As if nothing else had been compared.
        p_value: Corrected for all that were compared at once (Holm).
        counts: Of accuracy: images that only A, only B gets right.
    """

    a: int
    b: int
    metric: str
    difference: Score
    test: str
    p_alone: float
    p_value: float
    counts: McNemar | None = None

    @property
    def significant(self) -> bool:
        """Whether the corrected p < 0.05."""
        return self.p_value < LEVEL

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the places."""
        p_values = {k: None if math.isnan(p) else p for k, p in (("p_alone", self.p_alone), ("p_value", self.p_value))}
        counts = {"only_a": self.counts.only_a, "only_b": self.counts.only_b} if self.counts else {}
        said = {"of": self.metric, "test": self.test, "difference": self.difference.to_dict()}
        return {**said, **p_values, **counts, "significant": self.significant}


def stack(predictions: Iterable[Predictions], positive: str | None = None) -> StackedPredictions:
    """What many classifiers answered; of each, little is kept, so they may come one by one.

    Args:
        predictions: Labeled predictions for the same ids, in any order; at least one.
        positive: Of two classes the one whose probability ranks; the second when None.

    Raises:
        DataError: They do not cover the same ids with the same labels and classes, or an image has no label.
    """
    first, correct, scores, groups, target = None, [], [], None, None
    for given in predictions:
        if first is None:
            first = given
            target = None if len(given.classes) != 2 else 1 if positive is None else given.classes.index(positive)
        aligned = align(first, given)
        groups = aligned.groups if groups is None else groups
        correct.append(aligned.predicted == first.labels)
        if target is not None:
            scores.append(np.asarray(aligned.proba[:, target], dtype=np.float32))
    if first is None:
        raise DataError("there are no predictions to compare")
    groups = None if group_codes(groups) is None else groups
    if target is None:
        return StackedPredictions(first.labels, np.stack(correct), groups, None, None)
    return StackedPredictions(first.labels, np.stack(correct), groups, np.stack(scores), first.labels == target)


def paired_tests(stacked: StackedPredictions, pairs: Sequence[tuple[int, int]], metric: str = "accuracy") -> list[PairedTest]:
    """Test some pairs, with Holm's correction for their number.

    Args:
        answered: What the classifiers answered.
        pairs: (A, B), places in `answered`.
        of: "accuracy" (exact McNemar, or sign-flip over groups) or "auroc" (DeLong; two classes).

    Raises:
        DataError: AUROC is not defined on these images.

    >>> ids, labels = np.arange(9).astype(str).astype(object), np.array([0] * 8 + [1])
    >>> sure = Predictions(ids, np.eye(2, dtype=np.float32)[labels], labels, ("real", "fake"))
    >>> wrong = Predictions(ids, np.eye(2, dtype=np.float32)[1 - labels], labels, ("real", "fake"))
    >>> [found] = contrasts(gather([sure, wrong]), [(0, 1)])
    >>> found.test, found.p_value, found.difference.value
    ('exact McNemar', 0.00390625, 1.0)
    """
    found = [_compare_auroc(stacked, a, b) if metric == "auroc" else _compare_accuracy(stacked, a, b) for a, b in pairs]
    alone = np.array([one.p_value if isinstance(one, ScoreDifference) else one[0].p_value for one in found])
    defined = ~np.isnan(alone)
    corrected = np.full(len(alone), math.nan)
    corrected[defined] = holm(alone[defined])
    grouped = stacked.groups is not None
    made = []
    for (a, b), one, p_alone, p_value in zip(pairs, found, alone.tolist(), corrected.tolist(), strict=True):
        if isinstance(one, ScoreDifference):
            made.append(PairedTest(a, b, metric, one.score, f"{DELONG} over groups" if grouped else DELONG, p_alone, p_value))
        else:
            made.append(PairedTest(a, b, metric, one[1], SIGN_FLIP if grouped else MCNEMAR, p_alone, p_value, one[0]))
    return made


def detectable_difference(stacked: StackedPredictions, a: int, b: int, metric: str = "accuracy", power: float = 0.8) -> float:
    """The smallest true difference between two classifiers that these images show, four times in five.

    Of the accuracy on independent images: `minimum_detectable_difference` with the disagreement of the two. Of AUROC, and
    over groups: (z₀.₉₇₅ + z_power) standard errors of the difference found, the error being its interval's half width by
    1.96. NaN where the two do not differ, or where n is too small for any.
    """
    [found] = paired_tests(stacked, [(a, b)], metric)
    if found.counts is not None and stacked.groups is None:
        differ = found.counts.only_a + found.counts.only_b
        return minimum_detectable_difference(found.counts.n, differ / max(1, found.counts.n), power)
    half = (found.difference.high - found.difference.low) / 2
    reached = half * (1 + float(ndtri(power)) / Z95)
    return reached if 0 < reached < 1 else math.nan


def _compare_accuracy(answered: StackedPredictions, a: int, b: int) -> tuple[McNemar, Score]:
    correct_a, correct_b, groups = answered.correct[a], answered.correct[b], answered.groups
    return paired_test(correct_a, correct_b, groups), paired_difference(correct_a, correct_b, groups)


def _compare_auroc(answered: StackedPredictions, a: int, b: int) -> ScoreDifference:
    areas, influences = answered.areas
    return difference_of_areas(float(areas[a] - areas[b]), influences[a] - influences[b], answered.labels, answered.groups)


# --- many classifiers at once: every pair tested, with a correction for having looked at all of them; and wha ---------


@dataclass(frozen=True)
class Pair:
    """Two of many classifiers.

    Attributes:
        a, b: Their places in what was given, a < b.
        test: The paired test, as if there were no other pair.
        p_value: Corrected for all pairs (Holm).
    """

    a: int
    b: int
    test: McNemar
    p_value: float

    @property
    def significant(self) -> bool:
        """Whether the corrected p < 0.05."""
        return self.p_value < LEVEL


def all_pairs(predictions: Sequence[Predictions]) -> list[Pair]:
    """Every pair of classifiers by the images that exactly one of them gets right, with Holm's correction.

    Exact McNemar, all counts by one matrix product (100 classifiers, 10,000 images: under a second); with groups the exact
    sign-flip test of each pair.

    Args:
        predictions: Labeled predictions for the same ids, in any order.

    Raises:
        DataError: They do not cover the same ids with the same labels and classes, or an image has no label.
    """
    if len(predictions) < 2:
        return []
    first = predictions[0]
    aligned = [align(first, other) for other in predictions]
    correct = np.stack([of.predicted == first.labels for of in aligned])
    groups = next((of.groups for of in aligned if of.groups is not None), None)
    tests = _tests(correct, group_codes(groups))
    corrected = holm([test.p_value for test in tests.values()])
    return [Pair(a, b, test, float(p)) for ((a, b), test), p in zip(tests.items(), corrected, strict=True)]


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """p-values corrected for their number: with p₍₁₎ ≤ … ≤ p₍ₘ₎, max over j ≤ i of min(1, (m − j + 1) p₍ⱼ₎).

    Args:
        p_values: (M,) float in [0, 1].

    Returns:
        (M,) float64, in the order given.

    >>> holm([0.01, 0.04, 0.03, 0.005])
    array([0.03, 0.06, 0.06, 0.02])
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order]))
    return corrected


def minimum_detectable_difference(n: int, disagreement: float, power: float = 0.8) -> float:
    """The smallest true difference in accuracy that a paired test of n images finds with this power, at p < 0.05.

    Solves n d² = (z₀.₉₇₅ √ψ + z_power √(ψ − d²))² for d, with ψ the share of images that exactly one of the two gets right.
    A difference cannot exceed ψ; NaN where even that would not be found, or n is 0.

    Args:
        n: Images (with groups: about as many as there are groups of images that agree, not fewer than groups).
        disagreement: ψ in [0, 1], for example of the two runs at hand.
        power: The chance that the difference is found.

    >>> round(minimum_detectable_difference(800, 0.12), 4)
    0.0343
    >>> minimum_detectable_difference(20, 0.05)
    nan
    """

    def excess(d: float) -> float:
        return math.sqrt(n) * d - z * math.sqrt(disagreement) - z_power * math.sqrt(max(0.0, disagreement - d * d))

    z, z_power = float(ndtri(1 - LEVEL / 2)), float(ndtri(power))
    if n == 0 or disagreement <= 0 or excess(disagreement) < 0:
        return math.nan
    root: Any = brentq(excess, 0.0, disagreement, xtol=1e-12)
    return float(root)


def _tests(correct: np.ndarray, codes: np.ndarray | None) -> dict[tuple[int, int], McNemar]:
    """Of every pair. `correct`: (R, N) bool; `codes`: (N,) int64 or None."""
    pairs = list(itertools.combinations(range(len(correct)), 2))
    if codes is not None:
        return {(a, b): sign_flip(correct[a], correct[b], codes) for a, b in pairs}
    right = correct.astype(np.float32)  # whole numbers below 2²⁴ are exact
    only = np.rint(right @ (1 - right).T).astype(np.int64)
    a, b = np.array(pairs).T
    fewer, differ = np.minimum(only[a, b], only[b, a]), only[a, b] + only[b, a]
    p = np.where(differ > 0, np.minimum(1.0, 2 * bdtr(fewer, np.maximum(differ, 1), 0.5)), 1.0)
    n = correct.shape[1]
    return {(a, b): McNemar(int(only[a, b]), int(only[b, a]), n, float(p[i])) for i, (a, b) in enumerate(pairs)}
