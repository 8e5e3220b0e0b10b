"""95 % confidence intervals for the scores in `tellapart.metrics.roc`, computed from influence values, without resampling.

The influence of an image is the derivative of the score θ with respect to the weight of the image. The variance of θ is the
variance of the sum of influences within strata (`intervals.variance_within`), with influences summed by group if there are
groups. For AUROC the influences are exactly DeLong's placements. Intervals are computed on the logit scale.

If a score is 0 or 1, the variance is zero and not informative; then the interval is Wilson's with the number of units of the
smaller class as n. If a class has a single unit, the interval is undefined.

Sources:
    DeLong, DeLong & Clarke-Pearson (1988), "Comparing the areas under two or more correlated ROC curves".
    Sun & Xu (2014), "Fast implementation of DeLong's algorithm" (one sort instead of all pairs).
    Obuchowski (1997), "Nonparametric analysis of clustered ROC curve data" (sums by group).
    Jaeckel (1972), "The infinitesimal jackknife" (variance from influences).
    Zou & Donner (2008), "Construction of confidence limits about effect measures" (two sources of error, one interval).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import bdtr

from tellapart.metrics import roc
from tellapart.metrics.intervals import (
    UNDEFINED,
    Interval,
    fraction_interval,
    share_interval,
    strata_of,
    units_of_classes,
    variance_within,
    wilson,
)
from tellapart.metrics.roc import RocCurve, placements

_NEGLIGIBLE = 1e-18  # a variance below this is rounding error
_TAIL = 0.025


def auroc_interval(curve: RocCurve, units: np.ndarray) -> Interval:
    """Interval of the AUROC from DeLong's variance, summed by unit as in Obuchowski, on the logit scale.

    Args:
        curve: ROC curve with positive and negative images.
        units: (N,) int64, the unit of each image, 0 … U−1.
    """
    return _interval(roc.area(curve), auroc_influences(curve), curve, units)


def average_precision_interval(curve: RocCurve, units: np.ndarray) -> Interval:
    """Interval of the average precision from the influences of the images. Arguments as for `auroc_interval`."""
    return _interval(roc.precision_area(curve), precision_influences(curve), curve, units)


def partial_auroc_interval(curve: RocCurve, units: np.ndarray, highest: float = roc.PARTIAL) -> Interval:
    """Interval of the partial AUROC from influences that include the error of the threshold at FPR = α.

    With V the share of positive images above a negative image and V(α) the TPR at the threshold, a negative image contributes
    [FPR ≤ α] (V − V(α)) + α V(α), and a positive image α minus the FPR above it, but at least 0. Arguments as for
    `auroc_interval`.
    """
    part = roc.partial_area(curve, highest)
    value, scale = roc.standardized(part, highest), 0.5 / (highest - highest**2 / 2)
    at = float(np.interp(highest, curve.fpr, curve.tpr))
    inside = curve.fpr[1:][curve.place] <= highest
    of_negatives = np.where(inside, curve.reached - at, 0.0) + highest * at
    of_positives = np.maximum(0.0, highest - curve.reached)
    parts = _per_image(curve, of_positives - part, of_negatives - part) * scale
    return _interval(value, parts, curve, units)


def equal_error_interval(curve: RocCurve, units: np.ndarray) -> Interval:
    """Interval of the equal error rate from the errors of FPR and FNR at the threshold, weighted by the slopes of both.

    If FPR decreases by f and FNR increases by g from one threshold to the next, errors δFPR and δFNR move the crossing by
    (g δFPR + f δFNR) / (f + g). The slopes are computed over the thresholds at which FPR − FNR is within two standard errors
    of 0. Arguments as for `auroc_interval`.
    """
    value, after = roc.eer_point(curve)
    error = math.sqrt(value * (1 - value) * (1 / curve.positives + 1 / curve.negatives))
    excess = curve.fpr + curve.tpr - 1
    first = min(int(np.searchsorted(excess, -2 * error)), after - 1)
    last = max(int(np.searchsorted(excess, 2 * error, side="right")) - 1, after)
    fall, rise = curve.fpr[last] - curve.fpr[first], curve.tpr[last] - curve.tpr[first]
    share = rise / (fall + rise)
    caught = curve.place < after
    parts = _per_image(curve, (1 - share) * (~caught - (1 - curve.tpr[after])), share * (caught - curve.fpr[after]))
    return _interval(value, parts, curve, units)


def tpr_interval(curve: RocCurve, units: np.ndarray, fpr: float) -> Interval:
    """Interval of the TPR at a given FPR, which combines the error of the TPR and the error of the threshold.

    The number k of the n negative images above the true threshold is binomial. The true threshold is therefore between the 2.5
    % and 97.5 % quantiles of k, and the TPRs there give the effect of the error of the threshold. With few negative images
    (fewer than 368 at 1 %, 72 at 5 %) the true threshold may be above all of them, and the lower limit is 0. The two errors are
    combined as in Zou & Donner: root of the sum of squares on each side. Groups reduce the n of both.

    Args:
        curve: ROC curve with positive and negative images.
        units: (N,) int64, the unit of each image, 0 … U−1.
        fpr: Highest false-positive rate.
    """
    at = roc.tpr_at(curve, fpr)
    value, caught = float(curve.tpr[at]), curve.place < at
    own = np.unique(units[curve.positive], return_inverse=True)[1]
    low, high = share_interval(caught[curve.positive], own) if curve.positives > 1 else UNDEFINED
    if math.isnan(low):
        return UNDEFINED
    least, most = _passing(curve, fpr, _effective(caught[~curve.positive], units[~curve.positive], fpr))
    down, up = max(0.0, value - least), max(0.0, most - value)
    return max(0.0, value - math.hypot(value - low, down)), min(1.0, value + math.hypot(high - value, up))


# --- several classes --------------------------------------------------------------------------------------------------


def macro_interval(
    curves: dict[int, RocCurve],
    influences: Callable[[RocCurve], np.ndarray],
    value: float,
    labels: np.ndarray,
    units: np.ndarray,
) -> Interval:
    """Interval of the mean of one-vs-rest scores over classes: influences are averaged over classes.

    The variance of a class with one unit cannot be estimated; its upper bound p(1−p) for a proportion is used.

    Args:
        curves: ROC curve of each class that occurs, against all others.
        influences: `auroc_influences` or `precision_influences`.
        value: The mean score.
        labels: (N,) int64 in 0 … C−1.
        units: (N,) int64, the unit of each image, 0 … U−1.
    """
    parts = np.zeros(len(labels))
    for curve in curves.values():
        parts += influences(curve)
    strata = strata_of(labels, units)
    seen_in = units_of_classes(labels, units, int(labels.max()) + 1)
    if not 0 < value < 1:
        fewest = int(seen_in[seen_in > 0].min())
        return wilson(value * fewest, fewest)
    alone = float(np.sum(seen_in == 1)) / len(curves) ** 2 * value * (1 - value)
    variance = variance_within(np.bincount(units, weights=parts / len(curves)), strata) + alone
    return (value, value) if variance < _NEGLIGIBLE else fraction_interval(value, variance, strata)


# --- influences -------------------------------------------------------------------------------------------------------


def auroc_influences(curve: RocCurve) -> np.ndarray:
    """Influences on the AUROC: (placement − AUROC) / m for a positive image, / n for a negative image: (N,) float64.

    >>> from tellapart.metrics.roc import roc_curve
    >>> auroc_influences(roc_curve(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.4, 0.1])))
    array([ 0.0625, -0.0625, -0.0625,  0.0625])
    """
    parts = placements(curve) - roc.area(curve)
    return _per_image(curve, parts, parts)


def precision_influences(curve: RocCurve) -> np.ndarray:
    """Influences on the average precision (1/m) Σⱼ pⱼ/aⱼ: (N,) float64 with sum 0.

    With pⱼ positive images and aⱼ images at or above positive image j: every image contributes −(1/m) Σ pⱼ/aⱼ² over all j at or
    below it, and a positive image also (1/m) (its precision − AP + Σ 1/aⱼ over the same j).

    >>> from tellapart.metrics.roc import roc_curve
    >>> precision_influences(roc_curve(np.array([True, False]), np.array([0.1, 0.9])))
    array([ 0.25, -0.25])
    """
    above, m = curve.true + curve.false, curve.positives
    own = np.diff(curve.true, prepend=0)
    gained, lost = (np.cumsum((own / by)[::-1])[::-1] for by in (above, above**2 / np.maximum(curve.true, 1)))
    precision = curve.true / above
    for_positive = (precision - roc.precision_area(curve) + gained)[curve.place]
    return (np.where(curve.positive, for_positive, 0.0) - lost[curve.place]) / m


def _per_image(curve: RocCurve, of_positives: np.ndarray, of_negatives: np.ndarray) -> np.ndarray:
    return np.where(curve.positive, of_positives / curve.positives, of_negatives / curve.negatives)


def _interval(value: float, parts: np.ndarray, curve: RocCurve, units: np.ndarray) -> Interval:
    smaller = min(len(np.unique(units[curve.positive])), len(np.unique(units[~curve.positive])))
    if not 1e-12 < value < 1 - 1e-12:
        return wilson(round(value) * smaller, smaller)
    if smaller < 2:
        return UNDEFINED
    strata = strata_of(curve.positive.astype(np.int64), units)
    variance = variance_within(np.bincount(units, weights=parts), strata)
    return (value, value) if variance < _NEGLIGIBLE else fraction_interval(value, variance, strata)


# --- rate at an estimated threshold -----------------------------------------------------------------------------------


def _effective(hit: np.ndarray, units: np.ndarray, fpr: float) -> int:
    """Effective number of negative images: n divided by the design effect, at least the number of groups and at most n.

    The design effect is the variance over groups divided by the variance for the same number of independent images.
    """
    _, own = np.unique(units, return_inverse=True)
    groups, n = int(own.max()) + 1, len(hit)
    if groups in (1, n):
        return groups
    share = float(hit.mean())
    variance = variance_within(np.bincount(own, weights=(hit - share) / n), np.zeros(groups, dtype=np.int64))
    expected = max(share, fpr / 2) * (1 - share) / n
    return int(np.clip(n * expected / max(variance, expected), groups, n))


def _passing(curve: RocCurve, fpr: float, n: int) -> Interval:
    """Return the TPRs at the highest and lowest plausible true threshold for `fpr`, given n independent negative images."""
    k = np.arange(n + 1)
    chances = bdtr(k, n, fpr)
    least, most = int(np.searchsorted(chances, _TAIL)), int(np.searchsorted(chances, 1 - _TAIL))
    fewer = int(np.floor(least * curve.negatives / n + 1e-9))
    # at least `fewer` negatives are above: the true threshold is at most the score of the last of them
    low = 0.0 if fewer == 0 else float(curve.tpr[1:][np.searchsorted(curve.false, fewer)])
    more = int(np.ceil(most * curve.negatives / n - 1e-9))
    # at most `more` are above: the true threshold is above the score of the next negative
    high = float(curve.tpr[np.searchsorted(curve.false, more, side="right")])
    return low, high
