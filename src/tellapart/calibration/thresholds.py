"""Decision rules: thresholds, correction for class frequencies, and rejection of uncertain images.

All rules are chosen on the validation split. Thresholds are for two classes; an image is classified as positive if its score is
at or above the threshold.

Sources:
    Elkan (2001), "The foundations of cost-sensitive learning".
    Saerens, Latinne & Decaestecker (2002), "Adjusting the outputs of a classifier to new a priori probabilities".
    El-Yaniv & Wiener (2010), "On the foundations of noise-free selective classification" (risk and coverage).
    Geifman & El-Yaniv (2017), "Selective classification for deep neural networks".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tellapart.errors import DataError
from tellapart.metrics.intervals import wilson
from tellapart.metrics.roc import RocCurve, roc_curve, tpr_at
from tellapart.types import Score

UNSURE = -1


@dataclass(frozen=True)
class Threshold:
    """A threshold, with its rates on the images that it was chosen on.

    Attributes:
        threshold: Images at or above it are classified as positive; infinite if none are.
        tpr: True-positive rate.
        fpr: False-positive rate.
        reason: Criterion by which it was chosen.
    """

    threshold: float
    tpr: Score
    fpr: Score
    reason: str

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Classify images as positive: (N,) float → (N,) bool."""
        return scores >= self.threshold

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; an infinite threshold is None."""
        threshold = self.threshold if math.isfinite(self.threshold) else None
        return {"threshold": threshold, "tpr": self.tpr.to_dict(), "fpr": self.fpr.to_dict(), "reason": self.reason}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Threshold:
        """Read what `to_dict` wrote."""
        at = math.inf if data["threshold"] is None else float(data["threshold"])
        return cls(at, Score.from_dict(data["tpr"]), Score.from_dict(data["fpr"]), str(data["reason"]))


def threshold_for_fpr(positive: np.ndarray, scores: np.ndarray, fpr: float) -> Threshold:
    """Choose the lowest threshold with a false-positive rate of at most `fpr`.

    Intervals are Wilson's at that threshold. As the threshold is chosen on the same images, the FPR on other images is slightly
    higher on average; `fpr.high` is its upper limit.

    Args:
        positive: (N,) bool; both values must occur.
        scores: (N,) float, for example the probability of the positive class.
        fpr: Maximum false-positive rate, in [0, 1].

    Raises:
        DataError: There are no positive or no negative images, or `fpr` is not in [0, 1].

    >>> threshold = threshold_for_fpr(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.6, 0.1]), 0.05)
    >>> threshold.threshold, threshold.tpr.value, threshold.fpr.value
    (0.9, 0.5, 0.0)
    """
    if not 0 <= fpr <= 1:
        raise DataError(f"expected a false-positive rate between 0 and 1, got {fpr}")
    curve = _sweep(positive, scores)
    return _threshold(curve, scores, tpr_at(curve, fpr), f"FPR at most {100 * fpr:g} %")


def threshold_for_cost(
    positive: np.ndarray, scores: np.ndarray, false_positive: float, false_negative: float, prior: float | None = None
) -> Threshold:
    """Choose the threshold with the lowest expected cost: prior · cost(miss) · (1 − TPR) + (1 − prior) · cost(false alarm) ·
    FPR.

    Of thresholds with equal cost, the highest is chosen.

    Args:
        positive: (N,) bool; both values must occur.
        scores: (N,) float.
        false_positive: Cost of a false alarm, > 0.
        false_negative: Cost of a miss, > 0, in the same unit.
        prior: Share of positive images in the intended use; None for the share among these images.

    Raises:
        DataError: There are no positive or no negative images, a cost is not positive, or `prior` is not in [0, 1].

    >>> y, s = np.array([True, True, False, False]), np.array([0.9, 0.4, 0.6, 0.1])
    >>> threshold_for_cost(y, s, 1, 5).threshold, threshold_for_cost(y, s, 5, 1).threshold
    (0.4, 0.9)
    """
    curve = _sweep(positive, scores)
    prior = curve.positives / len(scores) if prior is None else prior
    if false_positive <= 0 or false_negative <= 0 or not 0 <= prior <= 1:
        raise DataError("expected costs above 0 and a prior between 0 and 1")
    cost = prior * false_negative * (1 - curve.tpr) + (1 - prior) * false_positive * curve.fpr
    reason = f"lowest cost: false alarm {false_positive:g}, miss {false_negative:g}, {100 * prior:g} % positive"
    return _threshold(curve, scores, int(np.argmin(np.round(cost, 12))), reason)


def _sweep(positive: np.ndarray, scores: np.ndarray) -> RocCurve:
    if not (positive.any() and (~positive).any()):
        raise DataError("choosing a threshold needs positive and negative images; all images are of one kind")
    return roc_curve(positive, scores)


def _threshold(curve: RocCurve, scores: np.ndarray, point: int, reason: str) -> Threshold:
    """Threshold of one point of the curve, 0 … T."""
    at = float(scores[curve.place == point - 1][0]) if point else math.inf
    true, false = (int(counts[point - 1]) if point else 0 for counts in (curve.true, curve.false))
    m, n = curve.positives, curve.negatives
    fpr = Score(false / n, n, *wilson(false, n), higher_is_better=False)
    return Threshold(at, Score(true / m, m, *wilson(true, m)), fpr, reason)


# --- correction for class frequencies ---------------------------------------------------------------------------------


def full_prior(prior: Mapping[str, float], classes: Sequence[str], seen: np.ndarray) -> np.ndarray:
    """Complete the class frequencies: classes that are not named share the rest in proportion to `seen`.

    Args:
        prior: Class name → frequency, for example {"fake": 0.02}.
        classes: Names of the C classes.
        seen: (C,) float, class frequencies of the training or validation images.

    Returns:
        (C,) float64 with sum 1.

    Raises:
        DataError: A class is unknown, a frequency is not in [0, 1], the sum is above 1, or the rest cannot be divided.

    >>> full_prior({"fake": 0.02}, ("real", "fake"), np.array([0.5, 0.5])).tolist()
    [0.98, 0.02]
    """
    unknown = sorted(set(prior) - set(classes))
    if unknown:
        raise DataError(f"the prior names {unknown[0]!r}, which is not one of {', '.join(classes)}")
    given, total = [name in prior for name in classes], sum(prior.values())
    if any(not 0 <= share <= 1 for share in prior.values()) or total > 1 + 1e-9 or (all(given) and total < 1 - 1e-9):
        raise DataError(f"expected prior frequencies between 0 and 1 with a sum of at most 1 (all classes: 1), got {total:g}")
    rest = np.where(given, 0.0, seen)
    if total < 1 - 1e-9 and not rest.sum():
        raise DataError("no class that the prior does not name occurs in the data, so the rest cannot be divided")
    named = np.array([prior.get(name, 0.0) for name in classes])
    return named + (1 - total) * rest / rest.sum() if rest.sum() else named


def correct_prior(proba: np.ndarray, seen: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Correct probabilities for other class frequencies: p′_c ∝ p_c · prior_c / seen_c.

    Valid if p is calibrated for the frequencies `seen`, and if the images of a class have the same distribution in both cases.

    Args:
        proba: (N, C) float in [0, 1].
        seen: (C,) float > 0 with sum 1, class frequencies for which p is valid (those of the training split).
        prior: (C,) float with sum 1, class frequencies in the intended use.

    Returns:
        (N, C) float32; rows that become zero for all classes are replaced by the prior.

    >>> correct_prior(np.array([[.1, .9]]), np.array([.5, .5]), np.array([.98, .02])).round(3)
    array([[0.845, 0.155]], dtype=float32)
    """
    if (np.asarray(seen) <= 0).any():
        raise DataError("the frequency of a class in the training data is 0, so its probability cannot be corrected")
    found = proba.astype(np.float64) * (prior / seen)
    whole = found.sum(axis=1, keepdims=True)
    return np.where(whole > 0, found / np.where(whole > 0, whole, 1), prior).astype(np.float32)


def estimate_prior(proba: np.ndarray, seen: np.ndarray, steps: int = 10_000, tolerance: float = 1e-9) -> np.ndarray:
    """Estimate the class frequencies of unlabeled images by maximum likelihood: (C,) float64 with sum 1.

    EM algorithm of Saerens et al.: correct the probabilities for the frequencies, take their mean as the new frequencies, and
    repeat until convergence.

    Args:
        proba: (N, C) float, calibrated for the frequencies `seen`.
        seen: (C,) float > 0 with sum 1.
        steps: Maximum number of steps.
        tolerance: Stop if no frequency changes by more than this.

    >>> proba = np.array([[.9, .1]] * 9 + [[.2, .8]])
    >>> estimate_prior(proba, np.array([.5, .5])).round(3).tolist()
    [1.0, 0.0]
    """
    if not len(proba):
        raise DataError("estimating class frequencies needs at least one image")
    odds, mix = proba.astype(np.float64) / seen, np.asarray(seen, dtype=np.float64)
    for _ in range(steps):
        joint = odds * mix
        before, mix = mix, np.mean(joint / joint.sum(axis=1, keepdims=True), axis=0)
        if np.abs(mix - before).max() < tolerance:
            break
    return mix


# --- rejection --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RejectBand:
    """Reject band for two classes: positive at or above `high`, negative below `low`, unsure between.

    >>> RejectBand(0.3, 0.8)(np.array([0.1, 0.5, 0.9])).tolist()
    [0, -1, 1]
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise DataError(f"expected a band with 0 ≤ low ≤ high ≤ 1, got {self.low:g} … {self.high:g}")

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Decide by the probability of the positive class: (N,) float → (N,) int64: 1 positive, 0 negative, −1 unsure."""
        return np.where(scores >= self.high, 1, np.where(scores < self.low, 0, UNSURE))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """Risk-coverage curve: error rate of the most confident predictions as a function of their share.

    Attributes:
        coverage: (K,) float64 in (0, 1], increasing: share of images with a prediction.
        risk: (K,) float64 in [0, 1], error rate of these predictions.
        area: Mean risk over all coverages 1/N, 2/N, … 1 (AURC), lower is better.
    """

    coverage: np.ndarray
    risk: np.ndarray
    area: float


def risk_coverage(labels: np.ndarray, proba: np.ndarray) -> RiskCoverage:
    """Compute the risk-coverage curve by confidence, the highest probability; ties in confidence are averaged.

    Args:
        labels: (N,) int64 in 0 … C−1.
        proba: (N, C) float.

    >>> curve = risk_coverage(np.array([0, 0, 1]), np.array([[.9, .1], [.2, .8], [.3, .7]]))
    >>> curve.coverage.round(2).tolist(), curve.risk.round(2).tolist(), round(curve.area, 3)
    ([0.33, 0.67, 1.0], [0.0, 0.5, 0.33], 0.278)
    """
    if not len(labels):
        raise DataError("the risk-coverage curve needs at least one image")
    wrong = proba.argmax(axis=1) != labels
    curve = roc_curve(wrong, proba.max(axis=1))
    kept = curve.true + curve.false
    k = np.arange(1, len(labels) + 1)
    expected = np.interp(k, np.append(0, kept), np.append(0, curve.true))  # errors are spread evenly within ties
    return RiskCoverage(kept / len(labels), curve.true / kept, float(np.mean(expected / k)))
