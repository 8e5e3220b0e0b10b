"""Scores of one class against the others, by how probable the images are said to be of it; no threshold is chosen yet.

Notation: m positive and n negative images; at a threshold, TPR is the share of positive images at or above it and FPR that
of negative ones. Every function takes `positive`, (N,) bool, in which both values must occur, and `scores`, (N,) float, for
example the probability of the positive class. `tellapart.metrics.roc_intervals` has their intervals.

Sources:
    Hanley & McNeil (1982), "The meaning and use of the area under a receiver operating characteristic (ROC) curve".
    McClish (1989), "Analyzing a portion of the ROC curve" (partial areas, standardized).
    Davis & Goadrich (2006), "The relationship between precision-recall and ROC curves" (why steps, not lines, for precision).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

#: The highest false-positive rate of the partial area.
PARTIAL = 0.1


def auroc(positive: np.ndarray, scores: np.ndarray) -> float:
    """The chance that a positive image scores above a negative one, ties counting ½: the area under the ROC curve.

    AUROC = (1/mn) Σ₊ Σ₋ [s₊ > s₋] + ½ [s₊ = s₋].

    >>> auroc(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.4, 0.1]))
    0.875
    """
    return area(roc_curve(positive, scores))


def average_precision(positive: np.ndarray, scores: np.ndarray) -> float:
    """The mean over positive images of the precision at their own threshold: Σ (Rₖ − Rₖ₋₁) Pₖ, steps, no trapezoids.

    A constant score has the share of positive images, not ½.

    >>> round(average_precision(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1])), 4)
    0.8333
    """
    return precision_area(roc_curve(positive, scores))


def partial_auroc(positive: np.ndarray, scores: np.ndarray, highest: float = PARTIAL) -> float:
    """The area where FPR ≤ α, standardized: ½ (1 + (A − α²/2) / (α − α²/2)), so that chance has ½ and perfection 1.

    The curve is taken as straight between its points, and cut at α (`highest`).

    >>> round(partial_auroc(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.6, 0.1]), 0.5), 4)
    0.6667
    """
    return standardized(partial_area(roc_curve(positive, scores), highest), highest)


def equal_error_rate(positive: np.ndarray, scores: np.ndarray) -> float:
    """The error rate at which FPR = 1 − TPR, where the ROC curve, straight between its points, meets the falling diagonal.

    >>> round(equal_error_rate(np.array([True] * 3 + [False] * 2), np.array([0.9, 0.8, 0.3, 0.4, 0.1])), 4)
    0.3333
    """
    return eer_point(roc_curve(positive, scores))[0]


def tpr_at_fpr(positive: np.ndarray, scores: np.ndarray, fpr: float) -> float:
    """The highest TPR of a threshold whose FPR is at most `fpr`; 0 where only calling nothing positive keeps to it.

    A real threshold, nothing between two points of the curve.

    >>> tpr_at_fpr(np.array([True] * 4 + [False] * 2), np.array([0.9, 0.8, 0.6, 0.3, 0.7, 0.1]), 0.01)
    0.5
    """
    sweep = roc_curve(positive, scores)
    return float(sweep.tpr[tpr_at(sweep, fpr)])


# --- the same of a sweep ----------------------------------------------------------------------------------------------


def area(sweep: RocCurve) -> float:
    """`auroc` of a sweep.

    >>> area(rank(np.array([True, False]), np.array([0.9, 0.1])))
    1.0
    """
    return float(placements(sweep)[sweep.positive].mean())


def precision_area(sweep: RocCurve) -> float:
    """`average_precision` of a sweep.

    >>> precision_area(rank(np.array([True, False]), np.array([0.1, 0.9])))
    0.5
    """
    return float(np.sum(np.diff(sweep.tpr) * sweep.true / (sweep.true + sweep.false)))


def partial_area(sweep: RocCurve, highest: float) -> float:
    """The area under the curve left of FPR = `highest`, not standardized: in [0, `highest`].

    >>> partial_area(rank(np.array([True, False]), np.array([0.9, 0.1])), 0.25)
    0.25
    """
    inside = np.searchsorted(sweep.fpr, highest, side="right")
    fpr = np.append(sweep.fpr[:inside], highest)
    tpr = np.append(sweep.tpr[:inside], np.interp(highest, sweep.fpr, sweep.tpr))
    return float(np.sum(np.diff(fpr) * (tpr[:-1] + tpr[1:])) / 2)


def standardized(part: float, highest: float) -> float:
    """McClish's scale for a partial area.

    >>> standardized(0.1**2 / 2, 0.1), standardized(0.1, 0.1)
    (0.5, 1.0)
    """
    least = highest**2 / 2
    return 0.5 * (1 + (part - least) / (highest - least))


def eer_point(sweep: RocCurve) -> tuple[float, int]:
    """The equal error rate, and the point of the curve, 1 … T, at which FPR first is at least 1 − TPR.

    >>> crossing(rank(np.array([True, False]), np.array([0.9, 0.1])))
    (0.0, 1)
    """
    excess = sweep.fpr + sweep.tpr - 1  # from −1 to 1, never falling
    after = max(1, int(np.searchsorted(excess, 0.0)))
    share = -excess[after - 1] / (excess[after] - excess[after - 1])
    return float(sweep.fpr[after - 1] + share * (sweep.fpr[after] - sweep.fpr[after - 1])), after


def tpr_at(sweep: RocCurve, fpr: float) -> int:
    """The last point of the curve, 0 … T, whose FPR is at most `fpr`.

    >>> last_within(rank(np.array([True, False]), np.array([0.9, 0.1])), 0.05)
    1
    """
    allowed = int(np.floor(fpr * sweep.negatives + 1e-9))  # 0.05 × 20 is 1, not 1.0000000000000002 or 0.99…
    return int(np.searchsorted(sweep.false, allowed, side="right"))


# --- how images of one class rank against the others: one sweep over thresholds, from which all ROC and preci ---------


@dataclass(frozen=True, eq=False)
class RocCurve:
    """What lies at or above each of T thresholds, the highest first.

    Attributes:
        positive: (N,) bool.
        place: (N,) int64 in 0 … T−1, the threshold at which each image passes.
        true: (T,) int64, positive images at or above each threshold.
        false: (T,) int64, negative ones.
    """

    positive: np.ndarray
    place: np.ndarray
    true: np.ndarray
    false: np.ndarray

    @property
    def positives(self) -> int:
        """Positive images."""
        return int(self.true[-1])

    @property
    def negatives(self) -> int:
        """Negative images."""
        return int(self.false[-1])

    @cached_property
    def tpr(self) -> np.ndarray:
        """True-positive rates from (0, 0) on: (T+1,) float64."""
        return np.concatenate([[0], self.true]) / self.positives

    @cached_property
    def fpr(self) -> np.ndarray:
        """False-positive rates from (0, 0) on: (T+1,) float64."""
        return np.concatenate([[0], self.false]) / self.negatives

    @cached_property
    def reached(self) -> np.ndarray:
        """The mean of the rates just before and at each image's own threshold, of the other kind: (N,) float64.

        For a positive image the share of negatives above it, for a negative one that of positives; ties count ½.
        """
        found = _middles(self.tpr)[self.place]
        found[self.positive] = _middles(self.fpr)[self.place[self.positive]]
        return found


def roc_curve(positive: np.ndarray, scores: np.ndarray) -> RocCurve:
    """Sweep a threshold down over all different scores.

    Args:
        positive: (N,) bool.
        scores: (N,) float.

    >>> sweep = rank(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.4, 0.1]))
    >>> sweep.true.tolist(), sweep.false.tolist(), sweep.place.tolist()
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
    """The same, but negative images between the scores of two positive ones pass together: enough for areas.

    A third of the time where positive images are few, as in one class against 99: 0.5 ms for 10,000 images.

    Args:
        positive: (N,) bool.
        scores: (N,) float.

    >>> sweep = rank_few(np.array([True, False, False, False]), np.array([0.5, 0.4, 0.9, 0.1]))
    >>> sweep.true.tolist(), sweep.false.tolist(), sweep.place.tolist()
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


def placements(ranking: RocCurve) -> np.ndarray:
    """Of each positive image the share of negatives below it, of each negative that of positives above it; ties count ½.

    The mean over the positive images is AUROC, and so is the mean over the negative ones. Both kinds must occur.

    Returns:
        (N,) float64 in [0, 1].

    >>> placements(rank(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.4, 0.1])))
    array([1.  , 0.75, 0.75, 1.  ])
    """
    return np.where(ranking.positive, 1 - ranking.reached, ranking.reached)


def _middles(rates: np.ndarray) -> np.ndarray:
    return (rates[:-1] + rates[1:]) / 2
