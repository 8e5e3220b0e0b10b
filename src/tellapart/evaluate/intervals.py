"""95 % intervals: Wilson for a share, DeLong for AUROC, the bootstrap for everything else.

What is resampled is called a unit: an image, or a group of images (a photograph cut into tiles, a scene, a person) when
images of one group are not independent. Everything is seeded: the same predictions always give the same interval.

Sources:
    Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    Efron & Tibshirani (1993), "An introduction to the bootstrap", chapter 13 (percentile interval).
    Hesterberg (2015), "What teachers should know about the bootstrap", section 5.2 (expanded percentile interval).
    DeLong, DeLong & Clarke-Pearson (1988), "Comparing the areas under two or more correlated ROC curves".
    Sun & Xu (2014), "Fast implementation of DeLong's algorithm" (midranks: O(N log N) instead of O(N²)).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.special import ndtr, stdtrit

Interval = tuple[float, float]

Z95 = 1.959963984540054  # the 0.975 quantile of the normal distribution
RESAMPLES = 1_000
UNDEFINED: Interval = (math.nan, math.nan)
_CHUNK = 1_000_000  # counts held at a time, 8 MB: stays near the cache, and memory does not grow with N


def wilson(k: float, n: int) -> Interval:
    """Wilson's score interval for k successes among n: (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n), p = k/n.

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


def group_codes(groups: np.ndarray | None) -> np.ndarray | None:
    """Number the groups 0 … G−1 in order of appearance; None when there are none or every image is its own group.

    Args:
        groups: (N,) object (str), or None.

    Returns:
        (N,) int64, or None when images are independent.

    >>> group_codes(np.array(["b", "a", "b"], dtype=object))
    array([0, 1, 0])
    >>> group_codes(np.array(["a", "b", "c"], dtype=object)) is None
    True
    """
    if groups is None:
        return None
    codes, names = pd.factorize(np.asarray(groups, dtype=object), use_na_sentinel=False)
    return None if len(names) == len(codes) else codes.astype(np.int64)


def resample(units: int, *, width: int = 0, seed: int = 0, resamples: int = RESAMPLES) -> Iterator[np.ndarray]:
    """Draw `units` of `units` with replacement, `resamples` times; yields how often each was drawn.

    A resampled sum is then a matrix product, `counts @ sums_per_unit`, and needs no loop over resamples.

    Args:
        units: U, how many images or groups there are.
        width: Numbers a resample that the caller makes of it, if more than U: keeps the chunks small in memory.
        seed: Of the generator.
        resamples: How many to draw.

    Yields:
        (b, U) float64, whole numbers whose rows sum to U; the b of all chunks sum to `resamples`.
    """
    generator = np.random.default_rng(seed)
    rows = max(1, min(resamples, _CHUNK // max(units, width)))
    for start in range(0, resamples, rows):
        b = min(rows, resamples - start)
        drawn = generator.integers(units, size=(b, units), dtype=np.int32)
        cells = drawn + np.arange(b, dtype=np.int64)[:, None] * units
        yield np.bincount(cells.ravel(), minlength=b * units).reshape(b, units).astype(np.float64)


def percentile_interval(samples: np.ndarray, value: float, units: int) -> Interval:
    """The percentile interval of bootstrap samples, expanded for few units and rid of bias.

    Expanded: the 2.5 % and 97.5 % points are too narrow by √((U−1)/U) and by normal against t quantiles; Hesterberg
    takes tail = Φ(√(U/(U−1)) · t₀.₀₂₅,U₋₁), which tends to 2.5 % as U grows. Rid of bias: samples lie around value +
    bias where the truth lies around value − bias, so the interval moves by 2 (value − mean of the samples). Macro-F1
    needs it: with 40 classes of five images the plain interval held the truth in 58 % of 300 simulations, the moved one
    in 95 %.

    Args:
        samples: (B,) float64, one value a resample; not finite where it is undefined (left out).
        value: The estimate from all units.
        units: U, how many images or groups were resampled.

    >>> [round(end) for end in percentile_interval(np.arange(1001.0), 500, units=100_000)]
    [25, 975]
    >>> [round(end) for end in percentile_interval(np.arange(1001.0), 500, units=5)]
    [1, 999]
    >>> [round(end) for end in percentile_interval(np.arange(1001.0), 510, units=100_000)]
    [45, 995]
    """
    samples = samples[np.isfinite(samples)]
    if units < 2 or not len(samples):
        return UNDEFINED
    tail = float(ndtr(math.sqrt(units / (units - 1)) * stdtrit(units - 1, 0.025)))
    low, high = np.quantile(samples, [tail, 1 - tail]) + 2 * (value - samples.mean())
    return float(low), float(high)


def midranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of their ranks. `values`: (N,) → (N,) float64.

    >>> midranks(np.array([0.3, 0.1, 0.3]))
    array([2.5, 1. , 2.5])
    """
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def delong(positives: np.ndarray, negatives: np.ndarray) -> tuple[float, float]:
    """AUROC and DeLong's variance of it.

    With m positives and n negatives, V₁(i) is the share of negatives below positive i (ties count ½) and V₀(j) the
    share of positives above negative j. AUROC = mean V₁; variance = var(V₁)/m + var(V₀)/n. Both V come from midranks.

    Args:
        positives: (m,) float, scores of the positive images.
        negatives: (n,) float, scores of the negative images.

    Returns:
        AUROC in [0, 1], and its variance (NaN with fewer than two images on a side).

    >>> auroc, variance = delong(np.array([0.9, 0.8, 0.4]), np.array([0.1, 0.4, 0.6]))
    >>> round(auroc, 4), round(variance, 4)
    (0.8333, 0.037)
    """
    m, n = len(positives), len(negatives)
    pooled = midranks(np.concatenate([positives, negatives]))
    above = (pooled[:m] - midranks(positives)) / n
    below = 1 - (pooled[m:] - midranks(negatives)) / m
    variance = above.var(ddof=1) / m + below.var(ddof=1) / n if min(m, n) > 1 else math.nan
    return float(above.mean()), float(variance)


def delong_interval(positives: np.ndarray, negatives: np.ndarray) -> Interval:
    """DeLong's interval on the logit scale: logit A ± z · √variance / (A(1−A)), turned back; it never leaves [0, 1].

    On the plain scale the interval runs past 1 for good classifiers. When the classes are perfectly apart the variance
    is zero and says nothing; then the interval is Wilson's with the smaller class as n. A constant
    score has 0.5, whatever the images.

    Args:
        positives: (m,) float, scores of the positive images.
        negatives: (n,) float, scores of the negative images.
    """
    area, variance = delong(positives, negatives)
    if area in (0.0, 1.0):
        smaller = min(len(positives), len(negatives))
        return wilson(area * smaller, smaller)
    if not math.isfinite(variance):
        return UNDEFINED
    centre, half = math.log(area / (1 - area)), Z95 * math.sqrt(variance) / (area * (1 - area))
    return _expit(centre - half), _expit(centre + half)


def resampled_auroc(positive: np.ndarray, scores: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The AUROC of every resample of groups: (B,) float64; NaN where a resample lacks one of the two classes.

    The scores are sorted once; a resample only changes how much each image weighs.

    Args:
        positive: (N,) bool.
        scores: (N,) float.
        codes: (N,) int64, the group of each image, 0 … G−1.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # of each run of equal scores
    codes, positive = codes[order], positive[order]
    areas = []
    for counts in resample(int(codes.max()) + 1, width=len(codes)):
        weights = counts[:, codes]
        above = np.add.reduceat(weights * positive, starts, axis=1)
        below = np.add.reduceat(weights * ~positive, starts, axis=1)
        pairs = above.sum(axis=1) * below.sum(axis=1)
        won = np.sum(above * (np.cumsum(below, axis=1) - below / 2), axis=1)
        areas.append(won / np.where(pairs == 0, np.nan, pairs))
    return np.concatenate(areas)


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0
