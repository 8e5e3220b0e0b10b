"""Reliability diagram and expected calibration error: of the predictions with a confidence of 80 %, 80 % should be correct.

The confidence of a prediction is the highest probability of its row. Predictions are sorted into 15 bins of equal width,
(0, 1/15], …, (14/15, 1]. The expected calibration error (ECE) is the plain estimate of Guo et al., without bias correction:
even for a perfectly calibrated classifier it is above 0, and the fewer images a bin has, the larger it is. The interval takes
this into account.

Sources:
    DeGroot & Fienberg (1983), "The comparison and evaluation of forecasters" (reliability diagrams).
    Guo, Pleiss, Sun & Weinberger (2017), "On calibration of modern neural networks" (ECE).
    Leone, Nelson & Nottingham (1961), "The folded normal distribution" (distribution of the absolute value of a noisy gap).
    Nguyen & O'Connor (2015), "Posterior calibration and exploratory analysis for natural language processing models"
    (bins of equal mass).
    Agresti & Coull (1998), "Approximate is better than exact" (two correct and two wrong images added to small samples).
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
_EDGE = 1e-6  # a confidence of 0.6 is in the bin that ends at 0.6, although it is 0.60000002 in float32


@dataclass(frozen=True, eq=False)
class Reliability:
    """Points of a reliability diagram, one per non-empty bin.

    Attributes:
        low, high: (B,) float64, edges of the bin; a confidence is in (low, high].
        n: (B,) int64, number of predictions.
        confidence: (B,) float64, mean confidence.
        accuracy: (B,) float64, accuracy.
        accuracy_low, accuracy_high: (B,) float64, Wilson's 95 % interval of the accuracy for independent images.
    """

    low: np.ndarray
    high: np.ndarray
    n: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    accuracy_low: np.ndarray
    accuracy_high: np.ndarray

    def to_frame(self) -> pd.DataFrame:
        """Table with one row per bin."""
        return pd.DataFrame({name: getattr(self, name) for name in self.__dataclass_fields__})


def reliability(labels: np.ndarray, proba: np.ndarray, bins: int = BINS) -> Reliability:
    """Compute a reliability diagram with bins of equal width.

    Args:
        labels: (N,) int64 in 0 … C−1.
        proba: (N, C) float in [0, 1].
        bins: Number of bins over (0, 1].

    >>> diagram = reliability(np.array([0, 0, 1]), np.array([[.9, .1], [.88, .12], [.45, .55]]))
    >>> diagram.n.tolist(), diagram.confidence.round(2).tolist(), diagram.accuracy.tolist()
    ([1, 2], [0.55, 0.89], [1.0, 1.0])
    """
    confidence, right, where = _binned(labels, proba, bins)
    n = np.bincount(where, minlength=bins)
    used = np.flatnonzero(n)
    return Reliability(used / bins, (used + 1) / bins, *_points(confidence, right, where, bins))


def reliability_by_mass(labels: np.ndarray, proba: np.ndarray, bins: int = 10) -> Reliability:
    """Compute a reliability diagram with about equally many predictions per bin.

    Bins of equal width are mostly empty if most predictions are confident. Predictions of equal confidence share a bin, so bins
    may differ in size, and there may be fewer of them than requested.

    Args:
        labels: (N,) int64 in 0 … C−1.
        proba: (N, C) float in [0, 1].
        bins: Maximum number of bins.

    >>> diagram = reliability_by_mass(np.array([0, 0, 1, 1]), np.array([[.9, .1], [.8, .2], [.4, .6], [.3, .7]]), bins=2)
    >>> diagram.n.tolist(), diagram.low.tolist(), diagram.high.round(2).tolist(), diagram.confidence.round(2).tolist()
    ([2, 2], [0.0, 0.7], [0.7, 0.9], [0.65, 0.85])
    """
    confidence, right = proba.max(axis=1).astype(np.float64), proba.argmax(axis=1) == labels
    values, place, count = np.unique(confidence, return_inverse=True, return_counts=True)
    middle = (np.cumsum(count) - count / 2) / len(labels)
    kept, of_value = np.unique(np.minimum((middle * bins).astype(np.int64), bins - 1), return_inverse=True)
    high = np.array([values[of_value == k].max() for k in range(len(kept))])
    return Reliability(np.append(0.0, high[:-1]), high, *_points(confidence, right, of_value[place], len(kept)))


def expected_calibration_error(labels: np.ndarray, proba: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error: Σ_bins (n_bin / N) |accuracy − mean confidence|, bins of equal width, no bias correction.

    Args:
        labels: (N,) int64 in 0 … C−1.
        proba: (N, C) float in [0, 1].
        bins: Number of bins over (0, 1].

    >>> round(expected_calibration_error(np.array([0, 0, 1]), np.array([[.9, .1], [.88, .12], [.45, .55]])), 4)
    0.2233
    """
    confidence, right, where = _binned(labels, proba, bins)
    return float(np.abs(np.bincount(where, weights=right - confidence)).sum() / len(labels))


def calibration_interval(labels: np.ndarray, proba: np.ndarray, units: np.ndarray, bins: int = BINS) -> Interval:
    """95 % interval of the expected calibration error, by inverting a test on the scale of the gaps.

    The gap of a bin (accuracy − mean confidence) is normal around the true gap, with the variance within classes of the
    contributions of its images (at least that of Agresti & Coull). If the true gaps are λ times the observed ones, the ECE is a
    sum of folded normal variables with known mean and variance. The limits are λ·ECE such that this mean is 1.96 standard
    deviations below and above the observed ECE; the lower limit is 0 if perfect calibration can explain the observed ECE. A
    small ECE on few images therefore has 0 in its interval. The interval always contains the value.

    Args:
        labels: (N,) int64 in 0 … C−1.
        proba: (N, C) float in [0, 1].
        units: (N,) int64, the unit of each image, 0 … U−1.
        bins: Number of bins of equal width over (0, 1].
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
    value = expected_calibration_error(labels, proba, bins)  # summed in another order: may differ in the last bit
    return min(low, value), max(high, value)


def _binned(labels: np.ndarray, proba: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return confidence, correctness and bin of each prediction: (N,) float64, (N,) bool, (N,) int64."""
    confidence = proba.max(axis=1).astype(np.float64)
    where = np.clip(np.ceil(confidence * bins - _EDGE).astype(np.int64) - 1, 0, bins - 1)
    return confidence, proba.argmax(axis=1) == labels, where


def _points(confidence: np.ndarray, right: np.ndarray, where: np.ndarray, bins: int) -> list[np.ndarray]:
    """Return n, mean confidence, accuracy and its Wilson interval for each non-empty bin."""
    n = np.bincount(where, minlength=bins)
    used = np.flatnonzero(n)
    sums = [np.bincount(where, weights=values, minlength=bins)[used] for values in (confidence, right)]
    ends = np.array([wilson(k, count) for k, count in zip(sums[1], n[used], strict=True)]).reshape(-1, 2)
    return [n[used], *(total / n[used] for total in sums), *ends.T]


def _bin_variances(each: np.ndarray, where: np.ndarray, units: np.ndarray, strata: np.ndarray, bins: int) -> np.ndarray:
    """`variance_within` of the contributions to each bin, for all bins at once: (bins,) float64."""
    _, stratum, size = np.unique(strata, return_inverse=True, return_counts=True)
    sums = np.bincount(units * bins + where, weights=each, minlength=len(strata) * bins)
    cells = (stratum[:, None] * bins + np.arange(bins)).ravel()
    first, second = (np.bincount(cells, weights=w, minlength=len(size) * bins).reshape(-1, bins) for w in (sums, sums**2))
    size = size[:, None]
    return np.sum(np.where(size > 1, size / np.maximum(size - 1, 1) * (second - first**2 / size), 0.0), axis=0)


def _agresti(right: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Variance of the number of correct predictions, n p̃ (1 − p̃) with p̃ = (right + 2) / (n + 4)."""
    p = (right + 2) / (n + 4)
    return n * p * (1 - p)


def _along_a_ray(gaps: np.ndarray, variances: np.ndarray, together: float) -> Interval:
    """Return the limits λ·ECE. `gaps`, `variances`: (B,) float64; `together`: variance of the sum, as bins are not
    independent.
    """
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
