"""Scores that are functions of sums over images, with intervals of the stratified jackknife.

Each unit (an image or a group) contributes to 3C sums: hits, support and predictions of each class. Omitting a unit is a
subtraction, so the scores of all replicates are computed at once from the sums. With groups, each variance is the larger one of
that over groups and that over images: no interval is narrower than that of independent images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from tellapart.metrics.classification import kappa_of, matthews_of, ratios
from tellapart.metrics.intervals import (
    Interval,
    fraction_interval,
    jackknife,
    positive_interval,
    share_interval,
    strata_of,
    units_of_classes,
)
from tellapart.types import Score

MACRO = ("macro-precision", "macro-recall", "macro-f1")
WEIGHTED = ("weighted-precision", "weighted-recall", "weighted-f1")
AGREEMENT = ("matthews", "kappa")
#: Columns of `_scores_from_sums`, before two columns that are used for the bias only.
_PREDICTION_SCORES = ("accuracy", *MACRO, "balanced-accuracy", *WEIGHTED, *AGREEMENT)


@dataclass(frozen=True)
class MeanScore:
    """A score that is the mean of one number per image.

    Attributes:
        each: (N,) float64 ≥ 0, value of each image.
        top: Upper bound of the values; None if unbounded.
        higher_is_better: Whether higher values are better.
        unit: Unit, as in `Score`.
    """

    each: np.ndarray
    top: float | None = 1.0
    higher_is_better: bool = True
    unit: str = ""


def count_scores(
    labels: np.ndarray, predicted: np.ndarray, classes: int, units: np.ndarray, means: Mapping[str, MeanScore]
) -> dict[str, Score]:
    """Compute accuracy, class averages, Matthews, kappa and the given means, by name; undefined scores are omitted.

    Args:
        labels: (N,) int64 in 0 … C−1.
        predicted: (N,) int64 in 0 … C−1.
        classes: C.
        units: (N,) int64, the unit of each image, 0 … U−1.
        means: Further scores that are means over images, by name.
    """
    strata, n = strata_of(labels, units), len(labels)
    spans = _Intervals(share_interval(labels == predicted, units), strata, _limits(labels, units, classes))
    values, bias, variance = _prediction_scores(labels, predicted, classes, units, strata)
    if len(strata) < n:
        alone = np.arange(n)
        of_images = _prediction_scores(labels, predicted, classes, alone, strata_of(labels, alone))
        variance = np.maximum(variance, of_images[2])
    scores = {
        name: Score(float(values[i]), n, *spans.interval(name, float(values[i]), float(variance[i]), float(bias[i])))
        for i, name in enumerate(_PREDICTION_SCORES)
        if not np.isnan(values[i])
    }
    return scores | _mean_scores(means, labels, units, strata)


def _prediction_scores(
    labels: np.ndarray, predicted: np.ndarray, classes: int, units: np.ndarray, strata: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values, biases and variances, in the order of `_PREDICTION_SCORES`.

    Independent images with the same class and prediction have the same replicate, which is computed once.
    """
    times = np.ones(len(strata), dtype=np.int64)
    if len(strata) == len(labels):
        _, first, times = np.unique(labels * classes + predicted, return_index=True, return_counts=True)
        labels, predicted, strata, units = labels[first], predicted[first], strata[units[first]], np.arange(len(first))
    sums = _sums_by_unit(labels, predicted, classes, units)
    whole = (sums.T @ times)[None]
    kept = _Fallback.from_sums(whole)
    bias, variance = jackknife(sums, strata, lambda some: _scores_from_sums(some, kept), times)
    for name, smooth in (("macro-precision", -2), ("weighted-precision", -1)):
        bias[_PREDICTION_SCORES.index(name)] = bias[smooth]
    return _scores_from_sums(whole, kept)[0], bias, variance


@dataclass(frozen=True, eq=False)
class _Intervals:
    """Intervals of scores of predicted classes, from value, variance and bias; `accuracy` is that of the accuracy."""

    accuracy: Interval
    strata: np.ndarray
    limits: tuple[float, float]

    def interval(self, name: str, value: float, variance: float, bias: float) -> Interval:
        """Interval of the score `name`."""
        if name in ("accuracy", "weighted-recall"):
            return self.accuracy
        if name in AGREEMENT:  # (1 + x) / 2 is in [0, 1], and the logit of that is twice Fisher's z
            low, high = fraction_interval((1 + value) / 2, variance / 4, self.strata, bias / 2)
            return 2 * low - 1, 2 * high - 1
        if name in WEIGHTED:
            return fraction_interval(value, variance, self.strata, bias)
        top, alone = self.limits
        if name == "balanced-accuracy":
            top, alone = 1.0, alone / top**2
        variance += alone * max(0.0, value / top * (1 - value / top))  # rounding may leave value > top
        return fraction_interval(value, variance, self.strata, bias, top)


def _mean_scores(means: Mapping[str, MeanScore], labels: np.ndarray, units: np.ndarray, strata: np.ndarray) -> dict[str, Score]:
    each = np.stack([mean.each.astype(np.float64) for mean in means.values()], axis=1)
    variances = _mean_variances(each, units, strata)
    if len(strata) < len(each):
        alone = np.arange(len(each))
        variances = np.maximum(variances, _mean_variances(each, alone, strata_of(labels, alone)))
    return {name: _mean_score(mean, float(variances[i]), units, strata) for i, (name, mean) in enumerate(means.items())}


def _mean_variances(each: np.ndarray, units: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """Variances of the means of the columns: (S,) float64. `each`: (N, S) float64."""
    columns = [np.bincount(units, weights=values) for values in each.T]
    sums = csr_array(np.stack([*columns, np.bincount(units)], axis=1))
    return jackknife(sums, strata, lambda some: some[:, :-1] / some[:, -1:])[1]


def _mean_score(mean: MeanScore, variance: float, units: np.ndarray, strata: np.ndarray) -> Score:
    value, n = float(mean.each.mean()), len(mean.each)
    if mean.top is None:
        interval = positive_interval(value, variance, strata)
    elif mean.each.dtype == bool:
        interval = share_interval(mean.each, units)
    else:
        interval = fraction_interval(value, variance, strata, top=mean.top)
    return Score(value, n, *interval, higher_is_better=mean.higher_is_better, unit=mean.unit)


def _limits(labels: np.ndarray, units: np.ndarray, classes: int) -> tuple[float, float]:
    """Return the highest possible class mean (classes without images count as 0), and (1/C²) × the classes with one unit.

    The variance of a class with one unit cannot be estimated; its upper bound p(1−p) for a proportion with mean p is used.
    """
    seen_in = units_of_classes(labels, units, classes)
    return float(np.mean(seen_in > 0)), float(np.sum(seen_in == 1)) / classes**2


def _sums_by_unit(labels: np.ndarray, predicted: np.ndarray, classes: int, unit: np.ndarray) -> csr_array:
    """Hits, support and predictions of each class, summed by unit: (U, 3C) sparse float64."""
    right = labels == predicted
    columns = np.concatenate([labels[right], classes + labels, 2 * classes + predicted])
    rows = np.concatenate([unit[right], unit, unit])
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=(int(unit.max()) + 1, 3 * classes))


@dataclass(frozen=True, eq=False)
class _Fallback:
    """Values used where a replicate is undefined: ratios of all images (3, 1, C), Matthews and kappa (2,), classes that
    occur.
    """

    seen: np.ndarray
    ratios: np.ndarray
    agreement: np.ndarray

    @classmethod
    def from_sums(cls, whole: np.ndarray) -> _Fallback:
        counts = np.split(whole, 3, axis=1)
        agreement = np.array([matthews_of(*counts)[0], kappa_of(*counts)[0]])
        return cls(counts[1][0] > 0, np.stack(ratios(*counts)), agreement)


def _scores_from_sums(sums: np.ndarray, kept: _Fallback) -> np.ndarray:
    """Compute all scores from sums: (B, 3C) → (B, len(_PREDICTION_SCORES) + 2) float64.

    A class without images in a replicate keeps its ratios, as it has not become worse. Matthews and kappa keep their value if
    they are 0/0 in a replicate. The last two columns are macro and weighted precision in which a class without predictions
    keeps its precision, too. They are used for the bias only: the jump to 0/0 = 0 is part of the variance of precision, but
    the jackknife would turn it into a large spurious bias.
    """
    hits, support, n_predicted = counts = np.split(sums, 3, axis=1)
    n = support.sum(axis=1)
    each = np.where(support == 0, kept.ratios, np.stack(ratios(*counts)))
    smooth = np.where(n_predicted == 0, kept.ratios[0], each[0])
    weights = support / n[:, None]
    agreement = np.stack([matthews_of(*counts), kappa_of(*counts)])
    agreement = np.where(np.isnan(agreement), kept.agreement[:, None], agreement)
    columns = [
        hits.sum(axis=1) / n,
        *each.mean(axis=2),
        each[1][:, kept.seen].mean(axis=1),
        *np.einsum("kbc,bc->kb", each, weights),
        *agreement,
        smooth.mean(axis=1),
        np.einsum("bc,bc->b", smooth, weights),
    ]
    return np.stack(columns, axis=1)
