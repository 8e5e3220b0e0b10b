"""A score over the folds of a cross-validation: mean, spread, and an interval that knows that folds share training images.

k folds are not k independent experiments: any two fold models learnt from mostly the same images, so the spread of their
scores understates how far another training set would move the mean. No unbiased estimate of that variance exists (Bengio &
Grandvalet 2004); the usual repair is to make the variance larger:

    mean ± t · √((1/J + n_held/n_learnt) · s²),  J scores, s² their variance (divisor J − 1), t of J − 1 degrees of freedom

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
    """One score over folds.

    Attributes:
        mean: Over folds.
        sd: Of the folds' scores, divisor J − 1.
        folds: J, folds × repeats.
        low, high: Ends of the corrected 95 % t interval of the mean; NaN where all folds score the same, since that says
            nothing about spread.
    """

    mean: float
    sd: float
    folds: int
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.sd:.3f} over {self.folds} folds"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; NaN becomes None."""
        ends = {name: end if math.isfinite(end) else None for name, end in (("low", self.low), ("high", self.high))}
        return {"mean": self.mean, "sd": self.sd, "folds": self.folds, **ends}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> FoldSummary:
        """Read what `to_dict` wrote."""
        ends = {name: math.nan if content[name] is None else float(content[name]) for name in ("low", "high")}
        return cls(float(content["mean"]), float(content["sd"]), int(content["folds"]), **ends)


def summarize_folds(values: np.ndarray, share: float, least: float = -math.inf, most: float = math.inf) -> FoldSummary:
    """Mean, standard deviation and the corrected interval.

    Args:
        values: (J,) float64, J ≥ 2, one score a fold.
        share: Images held out for each image learnt from, n_held / n_learnt; 0 would be the interval of independent folds.
        least: The lowest value that the score can have; the interval is cut to it.
        most: The highest.

    >>> found = over_folds(np.array([0.80, 0.84, 0.78, 0.82, 0.81]), 0.25)
    >>> print(found), [round(end, 4) for end in (found.low, found.high)]
    0.810 ± 0.022 over 5 folds
    (None, [0.7684, 0.8516])
    """
    count, mean, sd = len(values), float(np.mean(values)), float(np.std(values, ddof=1))
    if sd < 1e-12:
        return FoldSummary(mean, 0.0, count, math.nan, math.nan)
    half = float(stdtrit(count - 1, 0.975)) * math.sqrt((1 / count + share) * sd**2)
    return FoldSummary(mean, sd, count, max(least, mean - half), min(most, mean + half))


def over_repetitions(values: np.ndarray) -> dict[str, Any]:
    """How far a mean over folds moves when all of it is done again with other seeds.

    Args:
        values: (J, S) float64, J folds, S repetitions of each.

    Returns:
        `means`: (S) the mean over folds of each; `sd` of these; `within_folds`: of one fold, the variances averaged over
        folds, then the root. `sd` and `within_folds` have the divisor S − 1; None where S is 1.

    >>> found = over_repetitions(np.array([[0.80, 0.82], [0.70, 0.74]]))
    >>> [round(mean, 2) for mean in found["means"]], round(found["sd"], 4), round(found["within_folds"], 4)
    ([0.75, 0.78], 0.0212, 0.0224)
    """
    means = values.mean(axis=0)
    if len(means) < 2:
        return {"means": means.tolist(), "sd": None, "within_folds": None}
    within = math.sqrt(float(values.var(axis=1, ddof=1).mean()))
    return {"means": means.tolist(), "sd": float(means.std(ddof=1)), "within_folds": within}


# --- cross-fitting: each image judged by what was learnt from the others, so that few labels can both teach a ---------


FOLDS = 5

Fit = Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]


def deal_folds(labels: np.ndarray, groups: np.ndarray | None, seed: int, folds: int = FOLDS) -> np.ndarray:
    """Folds of equal size, stratified by class, groups whole: (N,) int64 in 0 … folds−1.

    Args:
        labels: (N,) int64.
        groups: (N,) object (str), or None. A group of several classes is dealt as one of them.
        seed: Of the shuffle.
        folds: How many.

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
    """Each image mapped by what `learn` made of the images in the other folds.

    Args:
        proba: (N, C) float.
        labels: (N,) int64.
        fold: (N,) int64, as `deal_folds` gives them.
        learn: From probabilities and labels to a map of probabilities.

    Returns:
        (N, C) float32.

    Raises:
        DataError: Without one fold there are no longer two classes.
    """
    found = np.empty(proba.shape, dtype=np.float32)
    for one in np.unique(fold):
        learnt, asked = fold != one, fold == one
        if len(np.unique(labels[learnt])) < 2:
            raise DataError(
                f"{len(labels)} images, groups kept whole, are too few to be judged in folds: one is without a second class",
                hint="a larger validation part is needed",
            )
        found[asked] = fit(proba[learnt], labels[learnt])(proba[asked])
    return found
