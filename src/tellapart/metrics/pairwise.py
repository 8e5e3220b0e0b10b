"""Paired tests of many classifiers on the same images, with Holm's correction, and the minimum detectable difference.

Accuracy is compared by the exact McNemar test (over groups: the exact sign-flip test), AUROC of two classes by DeLong's test.
Of each classifier, only the correctness and one probability per image are kept, so that 100 classifiers fit into memory.

Sources: those of `tellapart.metrics.mcnemar` and `tellapart.metrics.delong`, and
    Holm (1979), "A simple sequentially rejective multiple test procedure".
    Connor (1987), "Sample size for testing differences in proportions for the paired-sample design".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri

from tellapart.errors import DataError
from tellapart.metrics.delong import ScoreDifference, difference_of_areas
from tellapart.metrics.intervals import Z95, group_codes
from tellapart.metrics.mcnemar import LEVEL, McNemar, align, paired_difference, paired_test
from tellapart.metrics.roc import area, roc_curve
from tellapart.metrics.roc_intervals import auroc_influences
from tellapart.types import Predictions, Score

MCNEMAR, SIGN_FLIP, DELONG = "exact McNemar", "exact sign-flip test over groups", "DeLong"


@dataclass(frozen=True, eq=False)
class StackedPredictions:
    """Predictions of R classifiers for the same N images, reduced to what the paired tests need.

    Attributes:
        labels: (N,) int64.
        correct: (R, N) bool, whether the prediction is correct.
        groups: (N,) object (str), or None if images are independent.
        scores: (R, N) float32 in [0, 1], probability of the positive class; None for more than two classes.
        positive: (N,) bool, whether an image is of that class; None for more than two classes.
    """

    labels: np.ndarray
    correct: np.ndarray
    groups: np.ndarray | None
    scores: np.ndarray | None
    positive: np.ndarray | None

    @cached_property
    def areas(self) -> tuple[np.ndarray, np.ndarray]:
        """AUROC of each classifier, (R,) float64, and the influences of the images on it, (R, N) float64."""
        if self.scores is None or self.positive is None or len(np.unique(self.positive)) < 2:
            raise DataError("comparing AUROCs requires exactly two classes that both occur in the images")
        curves = [roc_curve(self.positive, scores) for scores in self.scores]
        return np.array([area(curve) for curve in curves]), np.stack([auroc_influences(curve) for curve in curves])


@dataclass(frozen=True)
class PairedTest:
    """Paired test of two of many classifiers.

    Attributes:
        a, b: Indices of the classifiers.
        metric: "accuracy" or "auroc".
        difference: Score of A − score of B, with 95 % interval (not corrected for the number of pairs).
        test: Name of the test.
        p_alone: p-value without correction.
        p_value: p-value with Holm's correction for all pairs that are tested together.
        counts: Counts of the McNemar test; None for AUROC.
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
        """JSON-compatible values, without the indices."""
        p_values = {k: None if math.isnan(p) else p for k, p in (("p_alone", self.p_alone), ("p_value", self.p_value))}
        counts = {"only_a": self.counts.only_a, "only_b": self.counts.only_b} if self.counts else {}
        test = {"of": self.metric, "test": self.test, "difference": self.difference.to_dict()}
        return {**test, **p_values, **counts, "significant": self.significant}


def stack(predictions: Iterable[Predictions], positive: str | None = None) -> StackedPredictions:
    """Stack the predictions of many classifiers. The predictions are read one by one and not kept.

    Args:
        predictions: Labeled predictions for the same ids, in any order; at least one.
        positive: With two classes, the class whose probability is the score; the second class if None.

    Raises:
        DataError: The predictions do not have the same ids, labels and classes, or an image has no label.
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
    """Test pairs of classifiers, with Holm's correction for the number of pairs.

    Args:
        stacked: Predictions of the classifiers.
        pairs: Pairs (A, B) of indices of classifiers.
        metric: "accuracy" (exact McNemar, or sign-flip over groups) or "auroc" (DeLong; two classes).

    Raises:
        DataError: The AUROC is undefined on these images.

    >>> ids, labels = np.arange(9).astype(str).astype(object), np.array([0] * 8 + [1])
    >>> sure = Predictions(ids, np.eye(2, dtype=np.float32)[labels], labels, ("real", "fake"))
    >>> wrong = Predictions(ids, np.eye(2, dtype=np.float32)[1 - labels], labels, ("real", "fake"))
    >>> [result] = paired_tests(stack([sure, wrong]), [(0, 1)])
    >>> result.test, result.p_value, result.difference.value
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
    """Smallest true difference between two classifiers that a test on these images detects with the given power.

    Accuracy on independent images: `minimum_detectable_difference` with the disagreement of the two classifiers. AUROC, and
    groups: (z₀.₉₇₅ + z_power) standard errors of the difference, where the standard error is the half width of its interval
    divided by 1.96. NaN if the two classifiers do not differ, or if n is too small for any difference.
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


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Correct p-values for their number: with p₍₁₎ ≤ … ≤ p₍ₘ₎, max over j ≤ i of min(1, (m − j + 1) p₍ⱼ₎).

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
    """Smallest true difference in accuracy that a paired test on n images detects with the given power, at p < 0.05.

    Solves n d² = (z₀.₉₇₅ √ψ + z_power √(ψ − d²))² for d, where ψ is the share of images that exactly one of the two classifiers
    predicts correctly. A difference cannot exceed ψ; NaN if the test would not detect even that, or if n is 0.

    Args:
        n: Number of images (with groups: the effective number, which is at least the number of groups).
        disagreement: ψ in [0, 1], for example the observed one.
        power: Power of the test, in (0, 1).

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
