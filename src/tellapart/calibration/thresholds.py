"""From probabilities to a verdict: where to draw the line, for which mix of classes, and when to say "unsure".

All that is chosen here is chosen on the validation part. Thresholds are for two classes; an image is called positive when its
score is at or above the threshold.

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
    """Where the line is drawn, and what that gave on the images that it was chosen on.

    Attributes:
        threshold: Images with this score or more are called positive; infinite when none may be.
        tpr: The share of positive images that are.
        fpr: The share of negative images that are.
        reason: What it was chosen for.
    """

    threshold: float
    tpr: Score
    fpr: Score
    reason: str

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Whether each image is called positive: (N,) float → (N,) bool."""
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
    """The lowest threshold that at most `fpr` of the negative images reach.

    The intervals are Wilson's at that threshold. As the threshold was chosen on these very images, FPR elsewhere is a little
    higher on average; `fpr.high` says how high it may be.

    Args:
        positive: (N,) bool; both values must occur.
        scores: (N,) float, for example the probability of the positive class.
        fpr: In [0, 1].

    Raises:
        DataError: One of the two kinds is missing, or `fpr` is no share.

    >>> found = threshold_for_fpr(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.6, 0.1]), 0.05)
    >>> found.threshold, found.tpr.value, found.fpr.value
    (0.9, 0.5, 0.0)
    """
    if not 0 <= fpr <= 1:
        raise DataError(f"a false-positive rate lies between 0 and 1, got {fpr}")
    curve = _sweep(positive, scores)
    return _threshold(curve, scores, tpr_at(curve, fpr), f"at most {100 * fpr:g} % of negative images called positive")


def threshold_for_cost(
    positive: np.ndarray, scores: np.ndarray, false_positive: float, false_negative: float, prior: float | None = None
) -> Threshold:
    """The threshold of least expected cost: prior · cost(miss) · (1 − TPR) + (1 − prior) · cost(false alarm) · FPR.

    Of equally dear thresholds the highest.

    Args:
        positive: (N,) bool; both values must occur.
        scores: (N,) float.
        false_positive: What a false alarm costs, > 0.
        false_negative: What a miss costs, > 0, in the same unit.
        prior: The share of positive images where it will be used; None for that among these images.

    Raises:
        DataError: One of the two kinds is missing, a cost is not positive, or `prior` is no share.

    >>> y, s = np.array([True, True, False, False]), np.array([0.9, 0.4, 0.6, 0.1])
    >>> threshold_for_cost(y, s, 1, 5).threshold, threshold_for_cost(y, s, 5, 1).threshold
    (0.4, 0.9)
    """
    curve = _sweep(positive, scores)
    prior = curve.positives / len(scores) if prior is None else prior
    if false_positive <= 0 or false_negative <= 0 or not 0 <= prior <= 1:
        raise DataError("costs must be above 0 and the prior a share from 0 to 1")
    cost = prior * false_negative * (1 - curve.tpr) + (1 - prior) * false_positive * curve.fpr
    reason = f"least cost, a false alarm {false_positive:g}, a miss {false_negative:g}, {100 * prior:g} % positive"
    return _threshold(curve, scores, int(np.argmin(np.round(cost, 12))), reason)


def _sweep(positive: np.ndarray, scores: np.ndarray) -> RocCurve:
    if not (positive.any() and (~positive).any()):
        raise DataError("a threshold is chosen between images of both kinds; all of these are of one")
    return roc_curve(positive, scores)


def _threshold(curve: RocCurve, scores: np.ndarray, point: int, reason: str) -> Threshold:
    """The threshold of one point of the curve, 0 … T."""
    at = float(scores[curve.place == point - 1][0]) if point else math.inf
    true, false = (int(of[point - 1]) if point else 0 for of in (curve.true, curve.false))
    m, n = curve.positives, curve.negatives
    fpr = Score(false / n, n, *wilson(false, n), higher_is_better=False)
    return Threshold(at, Score(true / m, m, *wilson(true, m)), fpr, reason)


# --- another mix of classes -------------------------------------------------------------------------------------------


def full_prior(prior: Mapping[str, float], classes: Sequence[str], seen: np.ndarray) -> np.ndarray:
    """The shares of all classes from those of some: the others divide the rest as they did among the images `seen`.

    Args:
        prior: Class name → share, for example {"fake": 0.02}.
        classes: C names.
        seen: (C,) float, shares of the classes where the classifier learnt.

    Returns:
        (C,) float64 of sum 1.

    Raises:
        DataError: An unknown class, shares outside [0, 1] or of sum above 1, or nothing left to divide the rest by.

    >>> full_prior({"fake": 0.02}, ("real", "fake"), np.array([0.5, 0.5])).tolist()
    [0.98, 0.02]
    """
    unknown = sorted(set(prior) - set(classes))
    if unknown:
        raise DataError(f"the prior names {unknown[0]!r}, which is not one of {', '.join(classes)}")
    given, total = [name in prior for name in classes], sum(prior.values())
    if any(not 0 <= share <= 1 for share in prior.values()) or total > 1 + 1e-9 or (all(given) and total < 1 - 1e-9):
        raise DataError(f"the shares of a prior lie between 0 and 1 and sum to 1 at most (all classes: 1), got {total:g}")
    rest = np.where(given, 0.0, seen)
    if total < 1 - 1e-9 and not rest.sum():
        raise DataError("the classes that the prior does not name did not occur, so the rest cannot be divided")
    named = np.array([prior.get(name, 0.0) for name in classes])
    return named + (1 - total) * rest / rest.sum() if rest.sum() else named


def correct_prior(proba: np.ndarray, seen: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Probabilities for another mix of classes: p′_c ∝ p_c · prior_c / seen_c.

    Right as far as p is calibrated for the mix `seen`, and images of a class look alike in both mixes.

    Args:
        proba: (N, C) float.
        seen: (C,) float > 0 of sum 1, the mix that p is for (that of the training part).
        prior: (C,) float of sum 1, the mix where it will be used.

    Returns:
        (N, C) float32; a row to which the new mix leaves nothing becomes the new mix.

    >>> correct_prior(np.array([[.1, .9]]), np.array([.5, .5]), np.array([.98, .02])).round(3)
    array([[0.845, 0.155]], dtype=float32)
    """
    if (np.asarray(seen) <= 0).any():
        raise DataError("a class that the classifier never saw has no probability that could be corrected")
    found = proba.astype(np.float64) * (prior / seen)
    whole = found.sum(axis=1, keepdims=True)
    return np.where(whole > 0, found / np.where(whole > 0, whole, 1), prior).astype(np.float32)


def estimate_prior(proba: np.ndarray, seen: np.ndarray, steps: int = 10_000, tolerance: float = 1e-9) -> np.ndarray:
    """The mix of classes among unlabeled images, most likely given their probabilities: (C,) float64 of sum 1.

    EM of Saerens et al.: correct the probabilities for the mix, take their mean as the mix, until it stands still.

    Args:
        proba: (N, C) float, calibrated for the mix `seen`.
        seen: (C,) float > 0 of sum 1.
        steps: At most as many.
        tolerance: A step that changes no share by more is the last.

    >>> proba = np.array([[.9, .1]] * 9 + [[.2, .8]])
    >>> estimate_prior(proba, np.array([.5, .5])).round(3).tolist()
    [1.0, 0.0]
    """
    if not len(proba):
        raise DataError("the mix of classes cannot be estimated from no image")
    odds, mix = proba.astype(np.float64) / seen, np.asarray(seen, dtype=np.float64)
    for _ in range(steps):
        joint = odds * mix
        before, mix = mix, np.mean(joint / joint.sum(axis=1, keepdims=True), axis=0)
        if np.abs(mix - before).max() < tolerance:
            break
    return mix


# --- unsure -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RejectBand:
    """Two classes: positive from `high` on, negative below `low`, unsure between.

    >>> UnsureBand(0.3, 0.8)(np.array([0.1, 0.5, 0.9])).tolist()
    [0, -1, 1]
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise DataError(f"a band goes up from low to high within 0 … 1, got {self.low:g} … {self.high:g}")

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """(N,) float probabilities of the positive class → (N,) int64: 1 positive, 0 negative, −1 unsure."""
        return np.where(scores >= self.high, 1, np.where(scores < self.low, 0, UNSURE))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """What is wrong among the answers that are surest, however many one keeps.

    Attributes:
        coverage: (K,) float64 in (0, 1], rising: the share of images that are answered.
        risk: (K,) float64 in [0, 1], the share of wrong ones among them.
        area: The mean risk over all coverages 1/N, 2/N, … 1 (AURC), lower is better.
    """

    coverage: np.ndarray
    risk: np.ndarray
    area: float


def risk_coverage(labels: np.ndarray, proba: np.ndarray) -> RiskCoverage:
    """The risk-coverage curve by confidence, the highest probability; images of equal confidence count in equal parts.

    Args:
        labels: (N,) int64 in 0 … C−1.
        proba: (N, C) float.

    >>> found = risk_coverage(np.array([0, 0, 1]), np.array([[.9, .1], [.2, .8], [.3, .7]]))
    >>> found.coverage.round(2).tolist(), found.risk.round(2).tolist(), round(found.area, 3)
    ([0.33, 0.67, 1.0], [0.0, 0.5, 0.33], 0.278)
    """
    if not len(labels):
        raise DataError("no image, no risk: the curve needs one at least")
    wrong = proba.argmax(axis=1) != labels
    curve = roc_curve(wrong, proba.max(axis=1))
    kept = curve.true + curve.false
    k = np.arange(1, len(labels) + 1)
    expected = np.interp(k, np.append(0, kept), np.append(0, curve.true))  # within ties mistakes come evenly
    return RiskCoverage(kept / len(labels), curve.true / kept, float(np.mean(expected / k)))
