"""ROC curve and threshold-free scores of one class against the others: AUROC, average precision, equal error rate, TPR at FPR.

Notation: m positive and n negative images. At a threshold, TPR is the share of positive images at or above it, and FPR the
share of negative images. Functions of data take `positive`, (N,) bool, in which both values must occur, and `scores`, (N,)
float, for example the probability of the positive class. Intervals are in `tellapart.metrics.roc_intervals`.

Sources:
    Hanley & McNeil (1982), "The meaning and use of the area under a receiver operating characteristic (ROC) curve".
    McClish (1989), "Analyzing a portion of the ROC curve" (partial areas, standardized).
    Davis & Goadrich (2006), "The relationship between precision-recall and ROC curves" (steps instead of lines for precision).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

#: Highest false-positive rate of the partial area.
PARTIAL = 0.1


@dataclass(frozen=True, eq=False)
class RocCurve:
    """Counts of positive and negative images at or above each of T thresholds, the highest first.

    Attributes:
        positive: (N,) bool, whether an image is positive.
        place: (N,) int64 in 0 … T−1, index of the threshold that equals the score of each image.
        true: (T,) int64, positive images at or above each threshold.
        false: (T,) int64, negative images at or above each threshold.
    """

    positive: np.ndarray
    place: np.ndarray
    true: np.ndarray
    false: np.ndarray

    @property
    def positives(self) -> int:
        """Number of positive images."""
        return int(self.true[-1])

    @property
    def negatives(self) -> int:
        """Number of negative images."""
        return int(self.false[-1])

    @cached_property
    def tpr(self) -> np.ndarray:
        """True-positive rates, starting at (0, 0): (T+1,) float64."""
        return np.concatenate([[0], self.true]) / self.positives

    @cached_property
    def fpr(self) -> np.ndarray:
        """False-positive rates, starting at (0, 0): (T+1,) float64."""
        return np.concatenate([[0], self.false]) / self.negatives

    @cached_property
    def reached(self) -> np.ndarray:
        """Share of the images of the other kind that score above each image, ties counting ½: (N,) float64.

        For a positive image, the share of negative images above it; for a negative image, the share of positive images.
        """
        shares = _middles(self.tpr)[self.place]
        shares[self.positive] = _middles(self.fpr)[self.place[self.positive]]
        return shares


def roc_curve(positive: np.ndarray, scores: np.ndarray) -> RocCurve:
    """Compute the ROC curve over all distinct scores.

    Args:
        positive: (N,) bool, whether an image is positive.
        scores: (N,) float.

    >>> curve = roc_curve(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.4, 0.1]))
    >>> curve.true.tolist(), curve.false.tolist(), curve.place.tolist()
    ([1, 2, 2], [0, 1, 2], [0, 1, 1, 2])
    """
    order = np.argsort(-scores)
    ordered = scores[order]
    steps = np.flatnonzero(np.diff(ordered, append=-np.inf))
    place = np.empty(len(scores), dtype=np.int64)
    place[order] = np.repeat(np.arange(len(steps)), np.diff(steps, prepend=-1))
    true = np.cumsum(positive[order])[steps]
    return RocCurve(positive, place, true, steps + 1 - true)


def roc_curve_small(positive: np.ndarray, scores: np.ndarray) -> RocCurve:
    """Compute a coarser ROC curve with the same areas: negative images between two positive scores share a threshold.

    Three times as fast as `roc_curve` if positive images are few, as in one class against 99: 0.5 ms for 10,000 images.

    Args:
        positive: (N,) bool, whether an image is positive.
        scores: (N,) float.

    >>> curve = roc_curve_small(np.array([True, False, False, False]), np.array([0.5, 0.4, 0.9, 0.1]))
    >>> curve.true.tolist(), curve.false.tolist(), curve.place.tolist()
    ([0, 1, 1], [1, 1, 3], [1, 2, 0, 2])
    """
    known = np.unique(scores[positive])
    below = np.searchsorted(known, scores)
    equal = known[np.minimum(below, len(known) - 1)] == scores
    place = 2 * (len(known) - below) - equal
    count = np.bincount(place, minlength=2 * len(known) + 1)
    used = count > 0
    place = (np.cumsum(used) - 1)[place]
    true = np.cumsum(np.bincount(place[positive], minlength=int(used.sum())))
    return RocCurve(positive, place, true, np.cumsum(count[used]) - true)


def placements(curve: RocCurve) -> np.ndarray:
    """DeLong's placements: for a positive image the share of negatives below it, for a negative one that of positives above it.

    Ties count ½. The mean over the positive images is the AUROC, and so is the mean over the negative images. Both kinds must
    occur.

    Returns:
        (N,) float64 in [0, 1].

    >>> placements(roc_curve(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.4, 0.1])))
    array([1.  , 0.75, 0.75, 1.  ])
    """
    return np.where(curve.positive, 1 - curve.reached, curve.reached)


# --- scores of labels and scores --------------------------------------------------------------------------------------


def auroc(positive: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve: the probability that a positive image scores higher than a negative one; ties count ½.

    AUROC = (1/mn) Σ₊ Σ₋ [s₊ > s₋] + ½ [s₊ = s₋].

    >>> auroc(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.4, 0.1]))
    0.875
    """
    return area(roc_curve(positive, scores))


def average_precision(positive: np.ndarray, scores: np.ndarray) -> float:
    """Average precision: Σ (Rₖ − Rₖ₋₁) Pₖ with recall R and precision P at each threshold; steps, not trapezoids.

    For a constant score it is the share of positive images, not ½.

    >>> round(average_precision(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1])), 4)
    0.8333
    """
    return precision_area(roc_curve(positive, scores))


def partial_auroc(positive: np.ndarray, scores: np.ndarray, highest: float = PARTIAL) -> float:
    """Partial area A for FPR ≤ α, standardized to ½ (1 + (A − α²/2) / (α − α²/2)): chance has ½, a perfect classifier 1.

    The curve is interpolated linearly between its points, and cut at α (`highest`).

    >>> round(partial_auroc(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.6, 0.1]), 0.5), 4)
    0.6667
    """
    return standardized(partial_area(roc_curve(positive, scores), highest), highest)


def equal_error_rate(positive: np.ndarray, scores: np.ndarray) -> float:
    """Equal error rate: the rate at which FPR = 1 − TPR, with linear interpolation of the ROC curve.

    >>> round(equal_error_rate(np.array([True] * 3 + [False] * 2), np.array([0.9, 0.8, 0.3, 0.4, 0.1])), 4)
    0.3333
    """
    return eer_point(roc_curve(positive, scores))[0]


def tpr_at_fpr(positive: np.ndarray, scores: np.ndarray, fpr: float) -> float:
    """Highest TPR of a threshold whose FPR is at most `fpr`; 0 if no threshold below infinity satisfies it.

    The curve is not interpolated between its points.

    >>> tpr_at_fpr(np.array([True] * 4 + [False] * 2), np.array([0.9, 0.8, 0.6, 0.3, 0.7, 0.1]), 0.01)
    0.5
    """
    curve = roc_curve(positive, scores)
    return float(curve.tpr[tpr_at(curve, fpr)])


# --- scores of a ROC curve --------------------------------------------------------------------------------------------


def area(curve: RocCurve) -> float:
    """AUROC of a ROC curve.

    >>> area(roc_curve(np.array([True, False]), np.array([0.9, 0.1])))
    1.0
    """
    return float(placements(curve)[curve.positive].mean())


def precision_area(curve: RocCurve) -> float:
    """Average precision of a ROC curve.

    >>> precision_area(roc_curve(np.array([True, False]), np.array([0.1, 0.9])))
    0.5
    """
    return float(np.sum(np.diff(curve.tpr) * curve.true / (curve.true + curve.false)))


def partial_area(curve: RocCurve, highest: float) -> float:
    """Area under the curve for FPR ≤ `highest`, not standardized: in [0, `highest`].

    >>> partial_area(roc_curve(np.array([True, False]), np.array([0.9, 0.1])), 0.25)
    0.25
    """
    inside = np.searchsorted(curve.fpr, highest, side="right")
    fpr = np.append(curve.fpr[:inside], highest)
    tpr = np.append(curve.tpr[:inside], np.interp(highest, curve.fpr, curve.tpr))
    return float(np.sum(np.diff(fpr) * (tpr[:-1] + tpr[1:])) / 2)


def standardized(part: float, highest: float) -> float:
    """Standardize a partial area as McClish does.

    >>> standardized(0.1**2 / 2, 0.1), standardized(0.1, 0.1)
    (0.5, 1.0)
    """
    least = highest**2 / 2
    return 0.5 * (1 + (part - least) / (highest - least))


def eer_point(curve: RocCurve) -> tuple[float, int]:
    """Return the equal error rate, and the first point of the curve, 1 … T, at which FPR ≥ 1 − TPR.

    >>> eer_point(roc_curve(np.array([True, False]), np.array([0.9, 0.1])))
    (0.0, 1)
    """
    excess = curve.fpr + curve.tpr - 1  # from −1 to 1, non-decreasing
    after = max(1, int(np.searchsorted(excess, 0.0)))
    share = -excess[after - 1] / (excess[after] - excess[after - 1])
    return float(curve.fpr[after - 1] + share * (curve.fpr[after] - curve.fpr[after - 1])), after


def tpr_at(curve: RocCurve, fpr: float) -> int:
    """Return the last point of the curve, 0 … T, whose FPR is at most `fpr`.

    >>> tpr_at(roc_curve(np.array([True, False]), np.array([0.9, 0.1])), 0.05)
    1
    """
    allowed = int(np.floor(fpr * curve.negatives + 1e-9))  # 0.05 × 20 is 1, not 1.0000000000000002 or 0.99…
    return int(np.searchsorted(curve.false, allowed, side="right"))


def _middles(rates: np.ndarray) -> np.ndarray:
    return (rates[:-1] + rates[1:]) / 2
