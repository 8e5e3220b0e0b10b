"""Are the probabilities true? Of answers given with 80 % confidence, 80 % should be right.

The confidence of an answer is the highest probability of its row. Answers are sorted into 15 bins of equal width,
(0, 1/15], …, (14/15, 1]. The expected calibration error (ECE) is the plain one of Guo et al., not debiased: where the truth is
perfect calibration it is still above 0, the more so the fewer images a bin has. Its interval takes that into account.

Sources:
    DeGroot & Fienberg (1983), "The comparison and evaluation of forecasters" (reliability diagrams).
    Guo, Pleiss, Sun & Weinberger (2017), "On calibration of modern neural networks" (ECE).
    Leone, Nelson & Nottingham (1961), "The folded normal distribution" (what the absolute value of a noisy gap is).
    Nguyen & O'Connor (2015), "Posterior calibration and exploratory analysis for natural language processing models"
    (bins of equal mass).
    Agresti & Coull (1998), "Approximate is better than exact" (two right and two wrong images more, where few are seen).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import erf

from tellapart.metrics.intervals import UNDEFINED, Z95, Interval, degrees_of_freedom, strata_of, variance_within, wilson

BINS = 15
_EDGE = 1e-6  # a confidence of 0.6 lies in the bin that ends at 0.6 although float32 has 0.60000002


@dataclass(frozen=True, eq=False)
class Reliability:
    """The points of a reliability diagram, one a bin, empty bins left out.

    Attributes:
        low, high: (B,) float64, the edges of the bin; an answer lies in (low, high].
        n: (B,) int64, answers.
        confidence: (B,) float64, their mean confidence.
        accuracy: (B,) float64, the share of right ones.
        accuracy_low, accuracy_high: (B,) float64, Wilson's 95 % interval of that share, every image for itself.
    """

    low: np.ndarray
    high: np.ndarray
    n: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    accuracy_low: np.ndarray
    accuracy_high: np.ndarray

    def to_frame(self) -> pd.DataFrame:
        """One row a bin."""
        return pd.DataFrame({name: getattr(self, name) for name in self.__dataclass_fields__})


def reliability(labels: np.ndarray, proba: np.ndarray, bins: int = BINS) -> Reliability:
    """What a reliability diagram shows.

    Args:
        labels: (N,) int64 in 0 … C−1.
        proba: (N, C) float in [0, 1].
        bins: Of equal width over (0, 1].

    >>> found = reliability(np.array([0, 0, 1]), np.array([[.9, .1], [.88, .12], [.45, .55]]))
    >>> found.n.tolist(), found.confidence.round(2).tolist(), found.accuracy.tolist()
    ([1, 2], [0.55, 0.89], [1.0, 1.0])
    """
    confidence, right, where = _binned(labels, proba, bins)
    n = np.bincount(where, minlength=bins)
    used = np.flatnonzero(n)
    return Reliability(used / bins, (used + 1) / bins, *_points(confidence, right, where, bins))


def reliability_by_mass(labels: np.ndarray, proba: np.ndarray, bins: int = 10) -> Reliability:
    """The same with bins of about equally many answers: where most answers are sure, equal widths leave most bins empty.

    Answers of equal confidence share a bin, so a bin may hold more than its part, and there may be fewer of them.

    Args:
        labels: (N,) int64 in 0 … C−1.
        proba: (N, C) float in [0, 1].
        bins: At most as many.

    >>> found = reliability_by_mass(np.array([0, 0, 1, 1]), np.array([[.9, .1], [.8, .2], [.4, .6], [.3, .7]]), bins=2)
    >>> found.n.tolist(), found.low.tolist(), found.high.round(2).tolist(), found.confidence.round(2).tolist()
    ([2, 2], [0.0, 0.7], [0.7, 0.9], [0.65, 0.85])
    """
    confidence, right = proba.max(axis=1).astype(np.float64), proba.argmax(axis=1) == labels
    values, place, count = np.unique(confidence, return_inverse=True, return_counts=True)
    middle = (np.cumsum(count) - count / 2) / len(labels)
    kept, of_value = np.unique(np.minimum((middle * bins).astype(np.int64), bins - 1), return_inverse=True)
    high = np.array([values[of_value == k].max() for k in range(len(kept))])
    return Reliability(np.append(0.0, high[:-1]), high, *_points(confidence, right, of_value[place], len(kept)))


def expected_calibration_error(labels: np.ndarray, proba: np.ndarray, bins: int = BINS) -> float:
    """Σ_bins (images in it / N) |accuracy − mean confidence|, bins of equal width, not debiased.

    Args:
        labels: (N,) int64 in 0 … C−1.
        proba: (N, C) float in [0, 1].
        bins: Of equal width over (0, 1].

    >>> round(expected_calibration_error(np.array([0, 0, 1]), np.array([[.9, .1], [.88, .12], [.45, .55]])), 4)
    0.2233
    """
    confidence, right, where = _binned(labels, proba, bins)
    return float(np.abs(np.bincount(where, weights=right - confidence)).sum() / len(labels))


def calibration_interval(labels: np.ndarray, proba: np.ndarray, units: np.ndarray, bins: int = BINS) -> Interval:
    """The true errors under which an ECE as high, or as low, as the one found would not be a surprise.

    The gap of a bin is normal around the true gap γ, with the variance within classes of what its images add (at least that
    of Agresti & Coull). If the true gaps were λ times those found, ECE would be a sum of folded normal gaps of known
    mean and variance. The ends are λ·ECE where that mean lies 1.96 standard deviations below and above the ECE found,
    0 when perfect calibration could give it. So a small ECE of few images rightly has 0 in its interval. Kept so
    that it holds the value.

    Args:
        labels: (N,) int64 in 0 … C−1.
        proba: (N, C) float in [0, 1].
        units: (N,) int64, the unit of each image, 0 … U−1.
        bins: Of equal width over (0, 1].
    """
    strata = strata_of(labels, units)
    if not degrees_of_freedom(strata):
        return UNDEFINED
    confidence, right, where = _binned(labels, proba, bins)
    each, n = (right - confidence) / len(labels), np.bincount(where, minlength=bins)
    used = np.flatnonzero(n)
    gaps = np.abs(np.bincount(where, weights=each, minlength=bins)[used])
    variances = _bin_variances(each, where, units, strata, bins)[used]
    least = _agresti(np.bincount(where, weights=right, minlength=bins)[used], n[used]) / len(labels) ** 2
    signs = np.sign(np.bincount(where, weights=each, minlength=bins))
    together = variance_within(np.bincount(units, weights=each * signs[where]), strata)
    low, high = _along_a_ray(gaps, np.maximum(variances, least), together)
    value = expected_calibration_error(labels, proba, bins)  # the same sum in another order: it may differ in the last bit
    return min(low, value), max(high, value)


def _binned(labels: np.ndarray, proba: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidence, whether right and the bin of each answer: (N,) float64, (N,) bool, (N,) int64."""
    confidence = proba.max(axis=1).astype(np.float64)
    where = np.clip(np.ceil(confidence * bins - _EDGE).astype(np.int64) - 1, 0, bins - 1)
    return confidence, proba.argmax(axis=1) == labels, where


def _points(confidence: np.ndarray, right: np.ndarray, where: np.ndarray, bins: int) -> list[np.ndarray]:
    """n, mean confidence, accuracy and its Wilson interval of each bin that holds an answer."""
    n = np.bincount(where, minlength=bins)
    used = np.flatnonzero(n)
    sums = [np.bincount(where, weights=of, minlength=bins)[used] for of in (confidence, right)]
    ends = np.array([wilson(k, count) for k, count in zip(sums[1], n[used], strict=True)]).reshape(-1, 2)
    return [n[used], *(of / n[used] for of in sums), *ends.T]


def _bin_variances(each: np.ndarray, where: np.ndarray, units: np.ndarray, strata: np.ndarray, bins: int) -> np.ndarray:
    """`variance_within` of what each bin is the sum of, for all bins at once: (bins,) float64."""
    _, stratum, of = np.unique(strata, return_inverse=True, return_counts=True)
    sums = np.bincount(units * bins + where, weights=each, minlength=len(strata) * bins)
    cells = (stratum[:, None] * bins + np.arange(bins)).ravel()
    first, second = (np.bincount(cells, weights=w, minlength=len(of) * bins).reshape(-1, bins) for w in (sums, sums**2))
    of = of[:, None]
    return np.sum(np.where(of > 1, of / np.maximum(of - 1, 1) * (second - first**2 / of), 0.0), axis=0)


def _agresti(right: np.ndarray, n: np.ndarray) -> np.ndarray:
    """The variance of the number right, n p̃ (1 − p̃) with p̃ = (right + 2) / (n + 4)."""
    p = (right + 2) / (n + 4)
    return n * p * (1 - p)


def _along_a_ray(gaps: np.ndarray, variances: np.ndarray, together: float) -> Interval:
    """The ends λ·ECE. `gaps`, `variances`: (B,) float64; `together`: the variance of the sum, bins not independent."""
    sd, found = np.sqrt(variances), float(gaps.sum())

    def excess(scale: float, side: float) -> float:
        true = scale * shape
        mean = sd * math.sqrt(2 / math.pi) * np.exp(-((true / sd) ** 2) / 2) + true * erf(true / sd / math.sqrt(2))
        spread = max(float(np.sum(true**2 + sd**2 - mean**2)), together)
        return float(mean.sum()) + side * Z95 * math.sqrt(spread) - found

    shape = gaps / found if found > 0 else sd / sd.sum()
    most = 2 * found + 10 * float(sd.sum())
    low, high = (0.0 if excess(0.0, side) >= 0 else _root(excess, most, side) for side in (1, -1))
    return min(low, found), min(1.0, max(high, found))


def _root(excess: Callable[[float, float], float], most: float, side: float) -> float:
    root: Any = brentq(excess, 0.0, most, args=(side,))
    return float(root)
