"""95 % intervals for `tellapart.metrics.roc`: by what each image adds to the score, nothing drawn at random.

A score θ of a ROC curve is nearly a sum over images: if image i weighed a little more, θ would move by its influence. The
variance of the sum of influences within strata (`intervals.variance_within`), summed by group where there are groups, is
the variance of θ; for AUROC the influences are DeLong's placements, exactly. The interval is on the logit scale.

Where a score is 0 or 1 the variance is zero and says nothing; then the interval is Wilson's with the units of the smaller
class as n. A class of a single unit leaves it undefined.

Sources:
    DeLong, DeLong & Clarke-Pearson (1988), "Comparing the areas under two or more correlated ROC curves".
    Sun & Xu (2014), "Fast implementation of DeLong's algorithm" (one sort instead of all pairs).
    Obuchowski (1997), "Nonparametric analysis of clustered ROC curve data" (sums by group).
    Jaeckel (1972), "The infinitesimal jackknife" (influences as a variance).
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
    strata_of,
    units_of_classes,
    variance_within,
    wilson,
)
from tellapart.metrics.roc import RocCurve, placements

_NOTHING = 1e-18  # a variance below this is rounding
_TAIL = 0.025


def auroc_interval(sweep: RocCurve, units: np.ndarray) -> Interval:
    """DeLong's variance, summed by unit as Obuchowski does, turned into an interval on the logit scale.

    A constant score has 0.5, whatever the images.

    Args:
        sweep: Both kinds must occur.
        units: (N,) int64, the unit of each image, 0 … U−1.
    """
    return _interval(roc.area(sweep), auroc_influences(sweep), sweep, units)


def average_precision_interval(sweep: RocCurve, units: np.ndarray) -> Interval:
    """From the influences of the images on average precision. Arguments as of `auroc_interval`."""
    return _interval(roc.precision_area(sweep), precision_influences(sweep), sweep, units)


def partial_auroc_interval(sweep: RocCurve, units: np.ndarray, highest: float = roc.PARTIAL) -> Interval:
    """From the influences on the partial area, the error of the threshold at FPR = α among them.

    With V the share of positive images above a negative one and V(α) the TPR at the threshold, a negative image adds
    [in] (V − V(α)) + α V(α), a positive one α less the FPR above it, but at least 0. Arguments as of `auroc_interval`.
    """
    part = roc.partial_area(sweep, highest)
    value, scale = roc.standardized(part, highest), 0.5 / (highest - highest**2 / 2)
    at = float(np.interp(highest, sweep.fpr, sweep.tpr))
    inside = sweep.fpr[1:][sweep.place] <= highest
    of_negatives = np.where(inside, sweep.reached - at, 0.0) + highest * at
    of_positives = np.maximum(0.0, highest - sweep.reached)
    parts = _per_image(sweep, of_positives - part, of_negatives - part) * scale
    return _interval(value, parts, sweep, units)


def equal_error_interval(sweep: RocCurve, units: np.ndarray) -> Interval:
    """From the errors of FPR and FNR at the threshold, in the proportion in which the two curves' slopes let them count.

    Near the crossing FPR falls by f and FNR rises by g from one threshold to the next: the crossing moves by
    (g δFPR + f δFNR) / (f + g). The slopes are taken over the thresholds at which FPR − FNR is within two standard errors
    of 0. Arguments as of `auroc_interval`.
    """
    value, after = roc.eer_point(sweep)
    error = math.sqrt(value * (1 - value) * (1 / sweep.positives + 1 / sweep.negatives))
    excess = sweep.fpr + sweep.tpr - 1
    first = min(int(np.searchsorted(excess, -2 * error)), after - 1)
    last = max(int(np.searchsorted(excess, 2 * error, side="right")) - 1, after)
    fall, rise = sweep.fpr[last] - sweep.fpr[first], sweep.tpr[last] - sweep.tpr[first]
    share = rise / (fall + rise)
    caught = sweep.place < after
    parts = _per_image(sweep, (1 - share) * (~caught - (1 - sweep.tpr[after])), share * (caught - sweep.fpr[after]))
    return _interval(value, parts, sweep, units)


def tpr_interval(sweep: RocCurve, units: np.ndarray, fpr: float) -> Interval:
    """Two errors in one interval: of the TPR at its threshold, and of the threshold itself.

    The threshold that fpr of all negative images pass is passed by k of these n with k binomial; so between its 2.5 and 97.5 %
    points lies the true threshold, and the TPR there is how far a wrong threshold can move it. With few negative images
    (fewer than 368 at 1 %, 72 at 5 %) it may lie above all of them: then nothing holds the TPR up, and the interval says so.
    The two errors are joined as Zou & Donner do, root of the sum of squares on each side. Groups lower the n of both.

    Args:
        sweep: Both kinds must occur.
        units: (N,) int64, the unit of each image, 0 … U−1.
        fpr: The rate that is allowed.
    """
    at = roc.tpr_at(sweep, fpr)
    value, caught = float(sweep.tpr[at]), sweep.place < at
    low, high = _share_interval(caught[sweep.positive], units[sweep.positive])
    if math.isnan(low):
        return UNDEFINED
    least, most = _passing(sweep, fpr, _effective(caught[~sweep.positive], units[~sweep.positive], fpr))
    down, up = max(0.0, value - least), max(0.0, most - value)
    return max(0.0, value - math.hypot(value - low, down)), min(1.0, value + math.hypot(high - value, up))


# --- several classes --------------------------------------------------------------------------------------------------


def macro_interval(
    sweeps: dict[int, RocCurve],
    influences: Callable[[RocCurve], np.ndarray],
    value: float,
    labels: np.ndarray,
    units: np.ndarray,
) -> Interval:
    """For the mean over classes of a one-against-the-rest score: influences are averaged, then taken within classes.

    A class of one unit cannot show how it varies; it is taken to vary as much as a share can, p(1−p).

    Args:
        sweeps: Of each class that occurs, against all others.
        influences: `auroc_influences` or `precision_influences`.
        value: The mean.
        labels: (N,) int64 in 0 … C−1.
        units: (N,) int64, the unit of each image, 0 … U−1.
    """
    parts = np.zeros(len(labels))
    for sweep in sweeps.values():
        parts += influences(sweep)
    strata = strata_of(labels, units)
    seen_in = units_of_classes(labels, units, int(labels.max()) + 1)
    if not 0 < value < 1:
        fewest = int(seen_in[seen_in > 0].min())
        return wilson(value * fewest, fewest)
    alone = float(np.sum(seen_in == 1)) / len(sweeps) ** 2 * value * (1 - value)
    variance = variance_within(np.bincount(units, weights=parts / len(sweeps)), strata) + alone
    return (value, value) if variance < _NOTHING else fraction_interval(value, variance, strata)


# --- influences -------------------------------------------------------------------------------------------------------


def auroc_influences(sweep: RocCurve) -> np.ndarray:
    """(placement − AUROC) / m for a positive image, / n for a negative one: (N,) float64.

    >>> from tellapart.metrics._roc_curve import rank
    >>> auroc_influences(rank(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.4, 0.1])))
    array([ 0.0625, -0.0625, -0.0625,  0.0625])
    """
    parts = placements(sweep) - roc.area(sweep)
    return _per_image(sweep, parts, parts)


def precision_influences(sweep: RocCurve) -> np.ndarray:
    """How average precision (1/m) Σⱼ pⱼ/aⱼ moves with the weight of an image: (N,) float64, of sum 0.

    With pⱼ positive images and aⱼ images at or above positive image j: every image adds −(1/m) Σ pⱼ/aⱼ² over the j at or
    below it, a positive one (1/m) (its precision − AP + Σ 1/aⱼ over the same j) besides.

    >>> from tellapart.metrics._roc_curve import rank
    >>> precision_influences(rank(np.array([True, False]), np.array([0.1, 0.9])))
    array([ 0.25, -0.25])
    """
    above, m = sweep.true + sweep.false, sweep.positives
    own = np.diff(sweep.true, prepend=0)
    gained, lost = (np.cumsum((own / of)[::-1])[::-1] for of in (above, above**2 / np.maximum(sweep.true, 1)))
    precision = sweep.true / above
    for_positive = (precision - roc.precision_area(sweep) + gained)[sweep.place]
    return (np.where(sweep.positive, for_positive, 0.0) - lost[sweep.place]) / m


def _per_image(sweep: RocCurve, of_positives: np.ndarray, of_negatives: np.ndarray) -> np.ndarray:
    return np.where(sweep.positive, of_positives / sweep.positives, of_negatives / sweep.negatives)


def _interval(value: float, parts: np.ndarray, sweep: RocCurve, units: np.ndarray) -> Interval:
    smaller = min(len(np.unique(units[sweep.positive])), len(np.unique(units[~sweep.positive])))
    if not 1e-12 < value < 1 - 1e-12:
        return wilson(round(value) * smaller, smaller)
    if smaller < 2:
        return UNDEFINED
    strata = strata_of(sweep.positive.astype(np.int64), units)
    variance = variance_within(np.bincount(units, weights=parts), strata)
    return (value, value) if variance < _NOTHING else fraction_interval(value, variance, strata)


# --- a rate at a threshold that was itself estimated ------------------------------------------------------------------


def _share_interval(hit: np.ndarray, units: np.ndarray) -> Interval:
    """Of the share of hits among images of one kind: Wilson's, or over groups. `hit`: (n,) bool, `units`: (n,) int64."""
    _, own = np.unique(units, return_inverse=True)
    groups, n = int(own.max()) + 1, len(hit)
    if groups == n:
        return wilson(int(hit.sum()), n) if n > 1 else UNDEFINED
    value, one = float(hit.mean()), np.zeros(groups, dtype=np.int64)
    return fraction_interval(value, variance_within(np.bincount(own, weights=(hit - value) / n), one), one)


def _effective(hit: np.ndarray, units: np.ndarray, fpr: float) -> int:
    """How many independent negative images the groups are worth: n over the design effect, at least the groups, at most n.

    The design effect is the variance over groups by that of as many independent images.
    """
    _, own = np.unique(units, return_inverse=True)
    groups, n = int(own.max()) + 1, len(hit)
    if groups in (1, n):
        return groups
    share = float(hit.mean())
    variance = variance_within(np.bincount(own, weights=(hit - share) / n), np.zeros(groups, dtype=np.int64))
    expected = max(share, fpr / 2) * (1 - share) / n
    return int(np.clip(n * expected / max(variance, expected), groups, n))


def _passing(sweep: RocCurve, fpr: float, n: int) -> Interval:
    """The TPR at the lowest and highest threshold that `fpr` of all negative images may pass, given n independent ones."""
    k = np.arange(n + 1)
    chances = bdtr(k, n, fpr)
    least, most = int(np.searchsorted(chances, _TAIL)), int(np.searchsorted(chances, 1 - _TAIL))
    fewer = int(np.floor(least * sweep.negatives / n + 1e-9))
    # at least `fewer` negatives pass: the true threshold is no higher than the one at which the last of them does
    low = 0.0 if fewer == 0 else float(sweep.tpr[1:][np.searchsorted(sweep.false, fewer)])
    more = int(np.ceil(most * sweep.negatives / n - 1e-9))
    # at most `more` pass: it is above the threshold of the next negative
    high = float(sweep.tpr[np.searchsorted(sweep.false, more, side="right")])
    return low, high
