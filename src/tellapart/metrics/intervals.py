"""95 % confidence intervals: Wilson for proportions, the stratified jackknife for most other scores.

Intervals of AUROC and other scores of a ROC curve are in `tellapart.metrics.roc_intervals`.

The estimand is the score on the population from which the images were drawn, with the class frequencies of that population.
The sampling unit is an image, or a group of images (the tiles of a photograph, a scene, a person) if the images of a group are
not independent. The number of images of each class is random, as the class of a unit is known only after the unit is drawn. A
variance is therefore the sum of two: that of units within strata of the same class (so that no replicate loses a class that has
two images), and that of the number of units in each stratum. Groups never make an interval narrower than independent images
would: if they do by the data at hand, as when each group has one image of each class, the images are taken to be independent.
Nothing is drawn at random: the same predictions always give the same interval.

Sources:
    Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    Jones (1974), "Jackknife estimation of functions of stratum means" (bias and variance).
    Kish (1965), "Survey sampling" (design effect, effective sample size).
    Korn & Graubard (1998), "Confidence intervals for proportions with small expected number of positive counts estimated from
    survey data" (degrees of freedom in the effective sample size).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.special import expit, stdtrit

Interval = tuple[float, float]

Z95 = 1.959963984540054  # the 0.975 quantile of the normal distribution
UNDEFINED: Interval = (math.nan, math.nan)
POOL = -1  # the stratum of units that belong to no class stratum
_NEGLIGIBLE = 1e-18  # a variance below this is rounding error
_CHUNK = 1_000_000  # numbers held at a time, 8 MB: fits the cache, and memory does not grow with N


def wilson(k: float, n: float) -> Interval:
    """Wilson's score interval for k successes among n: (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n), p = k/n.

    k and n need not be integers, as n may be an effective number of images. `scipy.stats.binomtest(k,
    n).proportion_ci(method="wilson")` accepts integers only and takes 300 µs per call instead of 0.3 µs (best of 5, one Intel
    Xeon core, SciPy 1.17.1), as it computes a p-value first.

    >>> low, high = wilson(80, 100)
    >>> round(low, 4), round(high, 4)
    (0.7112, 0.8666)
    >>> wilson(10, 10)[1]
    1.0
    """
    if n == 0:
        return UNDEFINED
    p, z2 = k / n, Z95**2 / n
    middle = p + z2 / 2
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n))
    return (0.0 if k == 0 else (middle - half) / (1 + z2), 1.0 if k == n else (middle + half) / (1 + z2))


def share_interval(each: np.ndarray, units: np.ndarray | None) -> Interval:
    """Wilson's interval of the mean of values in [0, 1], with the effective number of images in place of n.

    With the mean p, the variance v of p over units (a ratio estimate, as groups may differ in size) and the variance v₀ over
    images, n* = n p(1−p)/(n−1) / max(v, v₀) · (t(n−1)/t(G−1))², where t(f) is the 0.975 quantile of Student's distribution with
    f degrees of freedom and G the number of units. For n independent hits and misses n* is n, and groups never increase it. If
    the values do not vary, n* is G.

    Args:
        each: (N,) bool or float64 in [0, 1], N ≥ 1.
        units: (N,) int64, the unit of each image, 0 … G−1, each of which occurs; None if the images are independent.

    >>> right = np.array([True, True, True, False] * 25)
    >>> [round(end, 3) for end in share_interval(right, None)]  # Wilson's for 75 of 100
    [0.657, 0.825]
    >>> [round(end, 3) for end in share_interval(right, np.arange(100) % 20)]  # five images of a group are equal
    [0.514, 0.895]
    """
    n, value = len(each), float(np.mean(each))
    groups = n if units is None else int(units.max()) + 1
    if groups == n and np.asarray(each).dtype == bool:
        return wilson(int(np.sum(each)), n)
    if groups == 1:
        return UNDEFINED
    deviations = np.asarray(each, dtype=np.float64) - value
    variance = float(deviations @ deviations) / (n * (n - 1))
    if units is not None and groups < n:
        sums = np.bincount(units, weights=deviations) / n
        variance = max(variance, variance_within(sums, np.zeros(groups, dtype=np.int64)))
    if variance < _NEGLIGIBLE:
        effective = float(groups)
    else:
        fewer = 1.0 if groups == n else float(stdtrit(n - 1, 0.975) / stdtrit(groups - 1, 0.975)) ** 2
        effective = n * value * (1 - value) / (n - 1) / variance * fewer
    return wilson(value * effective, effective)


# --- units and strata -------------------------------------------------------------------------------------------------


def group_codes(groups: np.ndarray | None) -> np.ndarray | None:
    """Number the groups 0 … G−1 in order of appearance; None if there are no groups or each has a single image.

    Args:
        groups: (N,) object (str), or None.

    Returns:
        (N,) int64, or None if images are independent.

    >>> group_codes(np.array(["b", "a", "b"], dtype=object))
    array([0, 1, 0])
    >>> group_codes(np.array(["a", "b", "c"], dtype=object)) is None
    True
    """
    if groups is None:
        return None
    codes, names = pd.factorize(np.asarray(groups, dtype=object), use_na_sentinel=False)
    return None if len(names) == len(codes) else codes.astype(np.int64)


def strata_of(labels: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Return the stratum of each unit: the class of its images.

    Units with several classes and units that are the only one of their class form a common pool. If the pool has a single
    unit, it joins the largest class, since a stratum of one unit has no variance.

    Args:
        labels: (N,) int64 in 0 … C−1.
        units: (N,) int64, the unit of each image, 0 … U−1, each of which occurs.

    Returns:
        (U,) int64, a class or `POOL`.

    >>> strata_of(np.array([0, 0, 1, 1, 2, 0, 2]), np.array([0, 1, 2, 3, 4, 5, 5]))
    array([ 0,  0,  1,  1, -1, -1])
    """
    order = np.argsort(units, kind="stable")
    starts = np.flatnonzero(np.diff(units[order], prepend=-1))
    least, most = (f.reduceat(labels[order], starts) for f in (np.minimum, np.maximum))
    alone = np.bincount(least[least == most], minlength=int(labels.max()) + 1) == 1
    strata = np.where((least == most) & ~alone[least], least, POOL)
    if np.sum(strata == POOL) == 1 and len(strata) > 1:
        strata[strata == POOL] = np.bincount(strata[strata != POOL]).argmax()
    return strata


def units_of_classes(labels: np.ndarray, units: np.ndarray, classes: int) -> np.ndarray:
    """Count the units in which each class occurs: (C,) int64. `labels`, `units`: (N,) int64.

    >>> units_of_classes(np.array([0, 0, 1]), np.array([0, 0, 0]), 3)
    array([1, 1, 0])
    """
    pairs = np.unique(labels * (int(units.max()) + 1) + units)
    return np.bincount(pairs // (int(units.max()) + 1), minlength=classes)


def degrees_of_freedom(strata: np.ndarray) -> int:
    """Degrees of freedom of a variance within strata: units minus strata. `strata`: (U,) int64."""
    return len(strata) - len(np.unique(strata))


def variance_within(shares: np.ndarray, strata: np.ndarray) -> float:
    """Variance of a sum over units sampled within strata of H units: Σ_strata H/(H−1) Σ (share − mean)².

    Args:
        shares: (U,) float64, contribution of each unit to the estimate.
        strata: (U,) int64.

    >>> variance_within(np.array([0.25, 0.25, 0.0, 0.25]), np.zeros(4, dtype=np.int64))  # 3 of 4: p(1−p)/(n−1)
    0.0625
    """
    return sum(
        len(own) / (len(own) - 1) * float(np.sum((own - own.mean()) ** 2))
        for own in (shares[rows] for rows in _members(strata))
    )


def jackknife(
    sums: csr_array, strata: np.ndarray, score: Callable[[np.ndarray], np.ndarray], times: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Stratified jackknife: bias and variance of scores that are functions of sums over units.

    When unit u is omitted, the other H−1 units of its stratum are weighted by H/(H−1). With θ the score of all units, θᵤ the
    score without u and θ̄ the mean of θᵤ over a stratum: bias = Σ_strata (H−1)(θ̄ − θ), variance within strata = Σ_strata
    (H−1)/H Σᵤ (θᵤ − θ̄)². For a mean of class proportions this equals p(1−p)/(n−1) for each class, without bias. The pool
    contributes to the variance only, since its replicates lose classes and are not informative about the bias.

    The numbers H are random, too. With θₛ the score if stratum s has one unit less (an average one), they add the variance
    Σ_strata H (θₛ − θ)², which is 0 for a mean of class proportions. For the accuracy the two parts sum to p(1−p)/n.

    Args:
        sums: (U, K) sparse float64, contribution of each unit to K sums.
        strata: (U,) int64.
        score: Maps (B, K) sums to (B, S) scores.
        times: (U,) int64, number of identical units that each row represents; None for one each.

    Returns:
        (S,) float64 biases and (S,) float64 variances; zero for a stratum of one unit.
    """
    times = np.ones(len(strata), dtype=np.int64) if times is None else times
    whole = (sums.T @ times)[None]
    value = score(whole)[0]
    bias, variance = np.zeros_like(value), np.zeros_like(value)
    step = max(1, _CHUNK // whole.shape[1])
    for rows in _members(strata, times):
        own, often = sums[rows], times[rows]
        h, total = int(often.sum()), own.T @ often
        chunks = (own[start : start + step].toarray() for start in range(0, len(rows), step))
        without = np.concatenate([score(whole + (total - h * chunk) / (h - 1)) for chunk in chunks])
        mean = often @ without / h
        if strata[rows[0]] != POOL:
            bias += (h - 1) * (mean - value)
        variance += (h - 1) / h * (often @ (without - mean) ** 2) + h * (score(whole - total / h)[0] - value) ** 2
    return bias, variance


def _members(strata: np.ndarray, times: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Yield the rows of each stratum that has at least two units. `strata`, `times`: (U,) int64."""
    order = np.argsort(strata, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(strata[order])) + 1):
        if len(rows) > 1 or (times is not None and times[rows].sum() > 1):
            yield rows


# --- from variance to interval ----------------------------------------------------------------------------------------


def fraction_interval(value: float, variance: float, strata: np.ndarray, bias: float = 0.0, top: float = 1.0) -> Interval:
    """t interval of a score in [0, top] on the logit scale, corrected for bias; contains the value and stays in [0, top].

    If the variance is zero (all predictions correct, or all wrong), it is Wilson's interval with units in place of images: 20
    images without an error do not prove that the error rate is zero.

    Args:
        value: The estimate.
        variance: Variance of the estimate.
        strata: (U,) int64, strata of the units from which the variance is computed.
        bias: Bias of the estimate, which is subtracted.
        top: Upper bound of the score.

    >>> [round(end, 3) for end in fraction_interval(0.9, 0.001, np.zeros(50))]
    [0.816, 0.948]
    """
    p, units = value / top, len(strata)
    if not degrees_of_freedom(strata):
        return UNDEFINED
    if variance < _NEGLIGIBLE or not 0 < p < 1:
        low, high = wilson(p * units, units)
    else:
        half = _t95(strata) * math.sqrt(variance) / top / (p * (1 - p))
        center = math.log(p / (1 - p))
        low, high = float(expit(center - half)), float(expit(center + half))
    low, high = low * top - bias, high * top - bias
    return max(0.0, min(low, value)), min(top, max(high, value))


def positive_interval(value: float, variance: float, strata: np.ndarray) -> Interval:
    """t interval of a positive score on the logarithmic scale: value ·÷ exp(t √variance / value).

    >>> [round(end, 3) for end in positive_interval(0.5, 0.01, np.zeros(50))]
    [0.335, 0.747]
    """
    if not degrees_of_freedom(strata):
        return UNDEFINED
    factor = math.exp(min(700.0, _t95(strata) * math.sqrt(variance) / value))
    return value / factor, value * factor


def difference_interval(value: float, variance: float, strata: np.ndarray) -> Interval:
    """t interval value ± t √variance of a difference of proportions, clipped to [−1, 1]."""
    if not degrees_of_freedom(strata):
        return UNDEFINED
    half = _t95(strata) * math.sqrt(variance)
    return max(-1.0, value - half), min(1.0, value + half)


def _t95(strata: np.ndarray) -> float:
    return float(stdtrit(degrees_of_freedom(strata), 0.975))
