"""Paired comparison of two classifiers by AUROC (DeLong's test) or by any other score (bootstrap).

Sources:
    DeLong, DeLong & Clarke-Pearson (1988), "Comparing the areas under two or more correlated ROC curves".
    Obuchowski (1997), "Nonparametric analysis of clustered ROC curve data" (sums by group).
    Efron & Tibshirani (1993), "An introduction to the bootstrap", chapters 13 and 16 (percentile interval; p-value from the
    share of bootstrap samples beyond 0).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtr

from tellapart.errors import DataError
from tellapart.metrics.intervals import (
    UNDEFINED,
    degrees_of_freedom,
    difference_interval,
    group_codes,
    strata_of,
    variance_within,
)
from tellapart.metrics.mcnemar import LEVEL, align
from tellapart.metrics.roc import area, roc_curve
from tellapart.metrics.roc_intervals import auroc_influences
from tellapart.types import Predictions, Score


@dataclass(frozen=True)
class ScoreDifference:
    """Difference between the scores of A and B on the same images.

    Attributes:
        score: The difference A − B with n and 95 % interval.
        p_value: Two-sided p-value; NaN if undefined.
    """

    score: Score
    p_value: float

    @property
    def significant(self) -> bool:
        """Whether p < 0.05."""
        return self.p_value < LEVEL


def delong_test(a: Predictions, b: Predictions, positive: str | None = None) -> ScoreDifference:
    """DeLong's test for the difference of two AUROCs: z = (A − B) / √variance, from the placements of all images.

    With groups, placements are summed by group, and z has a t distribution with groups − strata degrees of freedom. The
    interval always uses the t distribution. If both classifiers rank all images identically, p is 1.

    Args:
        a: Labeled predictions of two classes, both of which occur.
        b: Predictions for the same ids, in any order.
        positive: The class whose probability is the score; the second class if None.

    Raises:
        DataError: The predictions are not for the same images, or the AUROC is undefined on these images.

    >>> ids, labels = np.arange(6).astype(str).astype(object), np.array([0, 0, 0, 1, 1, 1])
    >>> a, b = (np.stack([1 - p, p], axis=1) for p in np.array([[.1, .2, .6, .5, .8, .9], [.3, .7, .1, .6, .2, .9]]))
    >>> test = delong_test(Predictions(ids, a, labels, ("real", "fake")), Predictions(ids, b, labels, ("real", "fake")))
    >>> round(test.score.value, 4), round(test.p_value, 4)
    (0.2222, 0.5465)
    """
    b = align(a, b)
    if len(a.classes) != 2 or len(np.unique(a.labels)) != 2:
        raise DataError("comparing AUROCs requires exactly two classes that both occur in the images")
    target = 1 if positive is None else a.classes.index(positive)
    curves = [roc_curve(a.labels == target, predictions.proba[:, target]) for predictions in (a, b)]
    influences = auroc_influences(curves[0]) - auroc_influences(curves[1])
    groups = a.groups if a.groups is not None else b.groups
    return difference_of_areas(area(curves[0]) - area(curves[1]), influences, a.labels, groups)


def difference_of_areas(value: float, influences: np.ndarray, labels: np.ndarray, groups: np.ndarray | None) -> ScoreDifference:
    """DeLong's test from the influence of each image on the difference of two AUROCs; see `delong_test`.

    Args:
        value: The difference of the AUROCs.
        influences: (N,) float64, influence of each image on the first AUROC minus that on the second.
        labels: (N,) int64.
        groups: (N,) object (str), or None.
    """
    units, strata, grouped = _units(labels, groups)
    variance = variance_within(np.bincount(units, weights=influences), strata)
    score = Score(value, len(labels), *difference_interval(value, variance, strata))
    return ScoreDifference(score, _p_value(value, variance, degrees_of_freedom(strata), grouped))


def describe_areas(name_a: str, name_b: str, area_a: float, area_b: float, found: ScoreDifference) -> str:
    """Describe a comparison of two AUROCs in one sentence.

    >>> print(describe_areas("cnn", "svm", 0.912, 0.904, ScoreDifference(Score(0.008, 800, -0.004, 0.02), 0.19)))
    The AUROC is 0.912 for cnn and 0.904 for svm on the same 800 images: no evidence of a difference (DeLong \
p = 0.19; +0.8 points, 95 % CI −0.4 … +2.0).
    """
    score, p = found.score, found.p_value
    favor = "" if score.value > 0 else f", in favor of {name_b}"
    conclusion = f"a significant difference{favor}" if found.significant else "no evidence of a difference"
    p_text = "p undefined" if math.isnan(p) else "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"
    value, low, high = (
        "undefined" if math.isnan(x) else f"{100 * x:+.1f}".replace("-", "−") for x in (score.value, score.low, score.high)
    )
    return (
        f"The AUROC is {area_a:.3f} for {name_a} and {area_b:.3f} for {name_b} on the same {score.n:,} images: "
        f"{conclusion} (DeLong {p_text}; {value} points, 95 % CI {low} … {high})."
    )


def paired_bootstrap(
    a: Predictions, b: Predictions, score: Callable[[np.ndarray, np.ndarray], float], draws: int = 2000, seed: int = 0
) -> ScoreDifference:
    """Bootstrap the difference of any score between A and B.

    Images (or groups, if there are any) are resampled within classes, with the same sample for A and B. The interval is the
    percentile interval. p is twice the smaller share of samples at or beyond 0, (k+1) / (draws+1). Samples with a score of
    NaN are excluded.

    Args:
        a: Labeled predictions.
        b: Predictions for the same ids, in any order.
        score: Function of labels (N,) int64 and probabilities (N, C), for example `probabilistic.log_loss`.
        draws: Number of bootstrap samples.
        seed: Random seed of the samples.

    Raises:
        DataError: The predictions do not have the same ids, labels and classes, or an image has no label.

    >>> from tellapart.metrics.probabilistic import log_loss
    >>> labels = np.arange(40) % 2
    >>> sure, unsure = (Predictions(labels.astype(str).astype(object) + np.arange(40).astype(str).astype(object),
    ...     np.where(labels[:, None] == np.arange(2), p, 1 - p), labels, ("real", "fake")) for p in (0.9, 0.6))
    >>> difference = paired_bootstrap(sure, unsure, log_loss, draws=99)
    >>> round(difference.score.value, 4), difference.p_value
    (-0.4055, 0.02)
    """
    b = align(a, b)
    units, strata, _ = _units(a.labels, a.groups if a.groups is not None else b.groups)
    value = score(a.labels, a.proba) - score(b.labels, b.proba)
    if not degrees_of_freedom(strata):
        return ScoreDifference(Score(value, len(a), *UNDEFINED), math.nan)
    rng, order = np.random.default_rng(seed), np.argsort(units, kind="stable")
    images = np.split(order, np.flatnonzero(np.diff(units[order])) + 1)
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    found = np.empty(draws)
    for i in range(draws):
        drawn = np.concatenate([rng.choice(own, len(own)) for own in members])
        rows = drawn if len(images) == len(a) else np.concatenate([images[unit] for unit in drawn])
        labels = a.labels[rows]
        found[i] = score(labels, a.proba[rows]) - score(labels, b.proba[rows])
    found = found[~np.isnan(found)]
    low, high = np.quantile(found, [LEVEL / 2, 1 - LEVEL / 2]) if len(found) else UNDEFINED
    beyond = 1 + min(np.sum(found <= 0), np.sum(found >= 0))
    p_value = min(1.0, 2 * float(beyond) / (len(found) + 1)) if len(found) else math.nan
    return ScoreDifference(Score(value, len(a), float(low), float(high)), p_value)


def _units(labels: np.ndarray, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return the unit of each image, the stratum of each unit, and whether units are groups."""
    codes = group_codes(groups)
    units = np.arange(len(labels)) if codes is None else codes
    return units, strata_of(labels, units), codes is not None


def _p_value(value: float, variance: float, degrees: int, grouped: bool) -> float:
    if not degrees:
        return math.nan
    if variance < 1e-18:
        return 1.0 if abs(value) < 1e-12 else 0.0
    z = -abs(value) / math.sqrt(variance)
    return 2 * float(stdtr(degrees, z) if grouped else ndtr(z))
