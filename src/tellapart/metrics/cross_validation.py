"""Cross-validation: summary of a score over folds, assignment of images to folds, and cross-fitting.

The k folds are not k independent experiments. Any two fold models share most of their training images, so the variance of their
scores underestimates the variance over training sets. There is no unbiased estimate of that variance (Bengio & Grandvalet
2004); the usual correction increases it:

    mean ± t · √((1/J + n_held/n_train) · s²),  J scores, s² their variance (divisor J − 1), t with J − 1 degrees of freedom

Cross-fitting applies to each image a map that was fitted on the other folds, so that the same labels can be used for fitting
and for evaluation.

Sources:
    Nadeau & Bengio (2003), "Inference for the generalization error", Machine Learning 52: the corrected variance.
    Bouckaert & Frank (2004), "Evaluating the replicability of significance tests for comparing learning algorithms": the same
    for repeated k-fold, J = folds × repeats.
    Bengio & Grandvalet (2004), "No unbiased estimator of the variance of k-fold cross-validation", JMLR 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from tellapart.errors import DataError
from tellapart.metrics.intervals import group_codes


@dataclass(frozen=True)
class FoldSummary:
    """Summary of one score over folds.

    Attributes:
        mean: Mean over the folds.
        sd: Standard deviation over the folds, divisor J − 1.
        folds: J, folds × repeats.
        low, high: Limits of the corrected 95 % t interval of the mean; NaN if all folds have the same score, which gives no
            information about the variance.
    """

    mean: float
    sd: float
    folds: int
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.sd:.3f} over {self.folds} folds"

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible values; NaN becomes None."""
        ends = {name: end if math.isfinite(end) else None for name, end in (("low", self.low), ("high", self.high))}
        return {"mean": self.mean, "sd": self.sd, "folds": self.folds, **ends}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> FoldSummary:
        """Read what `to_dict` wrote."""
        ends = {name: math.nan if content[name] is None else float(content[name]) for name in ("low", "high")}
        return cls(float(content["mean"]), float(content["sd"]), int(content["folds"]), **ends)


def summarize_folds(values: np.ndarray, share: float, least: float = -math.inf, most: float = math.inf) -> FoldSummary:
    """Compute mean, standard deviation and corrected interval.

    Args:
        values: (J,) float64, J ≥ 2, one score per fold.
        share: Ratio of held-out to training images, n_held / n_train; 0 gives the interval for independent folds.
        least: Lower bound of the score, at which the interval is clipped.
        most: Upper bound of the score.

    >>> summary = summarize_folds(np.array([0.80, 0.84, 0.78, 0.82, 0.81]), 0.25)
    >>> print(summary), [round(end, 4) for end in (summary.low, summary.high)]
    0.810 ± 0.022 over 5 folds
    (None, [0.7684, 0.8516])
    """
    count, mean, sd = len(values), float(np.mean(values)), float(np.std(values, ddof=1))
    if sd < 1e-12:
        return FoldSummary(mean, 0.0, count, math.nan, math.nan)
    half = float(stdtrit(count - 1, 0.975)) * math.sqrt((1 / count + share) * sd**2)
    return FoldSummary(mean, sd, count, max(least, mean - half), min(most, mean + half))


def over_repetitions(values: np.ndarray) -> dict[str, Any]:
    """Summarize the variation of a mean over folds when the cross-validation is repeated with other seeds.

    Args:
        values: (J, S) float64, J folds, S repetitions of each.

    Returns:
        `means`: (S,) mean over folds of each repetition; `sd`: their standard deviation; `within_folds`: the root of the
        variance within a fold, averaged over folds. `sd` and `within_folds` use the divisor S − 1 and are None if S is 1.

    >>> found = over_repetitions(np.array([[0.80, 0.82], [0.70, 0.74]]))
    >>> [round(mean, 2) for mean in found["means"]], round(found["sd"], 4), round(found["within_folds"], 4)
    ([0.75, 0.78], 0.0212, 0.0224)
    """
    means = values.mean(axis=0)
    if len(means) < 2:
        return {"means": means.tolist(), "sd": None, "within_folds": None}
    within = math.sqrt(float(values.var(axis=1, ddof=1).mean()))
    return {"means": means.tolist(), "sd": float(means.std(ddof=1)), "within_folds": within}


# --- cross-fitting ----------------------------------------------------------------------------------------------------


FOLDS = 5

Fit = Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]


def deal_folds(labels: np.ndarray, groups: np.ndarray | None, seed: int, folds: int = FOLDS) -> np.ndarray:
    """Assign images to folds of equal size, stratified by class, without splitting groups.

    Args:
        labels: (N,) int64.
        groups: (N,) object (str), or None. A group with several classes is stratified by one of them.
        seed: Random seed of the shuffle.
        folds: Number of folds.

    Returns:
        (N,) int64 in 0 … folds−1.

    >>> np.bincount(deal_folds(np.array([0, 0, 0, 0, 1, 1, 1, 1]), None, seed=0, folds=4)).tolist()
    [2, 2, 2, 2]
    """
    if not len(labels):
        return np.zeros(0, dtype=np.int64)
    codes = group_codes(groups)
    units = np.arange(len(labels)) if codes is None else codes
    order = np.random.default_rng(seed).permutation(units.max() + 1)
    label = np.zeros(len(order), dtype=np.int64)
    label[units] = labels
    dealt = np.empty(len(order), dtype=np.int64)
    dealt[order[np.argsort(label[order], kind="stable")]] = np.arange(len(order)) % folds
    return dealt[units]


def cross_fit(proba: np.ndarray, labels: np.ndarray, fold: np.ndarray, fit: Fit) -> np.ndarray:
    """Map the probabilities of each image with a map that is fitted on the other folds.

    Args:
        proba: (N, C) float in [0, 1].
        labels: (N,) int64 in 0 … C−1.
        fold: (N,) int64, as returned by `deal_folds`.
        fit: Fits a map of probabilities to probabilities and labels.

    Returns:
        (N, C) float32.

    Raises:
        DataError: All images outside of one fold are of the same class.
    """
    mapped = np.empty(proba.shape, dtype=np.float32)
    for one in np.unique(fold):
        train, held_out = fold != one, fold == one
        if len(np.unique(labels[train])) < 2:
            raise DataError(
                f"{len(labels)} images are too few for cross-fitting: without fold {int(one) + 1}, only one class is left",
                hint="use a larger validation split",
            )
        mapped[held_out] = fit(proba[train], labels[train])(proba[held_out])
    return mapped
