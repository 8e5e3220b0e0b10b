"""Cross-fitting: each image judged by what was learnt from the others, so that few labels can both teach and judge.

Source: Stone (1974), "Cross-validatory choice and assessment of statistical predictions".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tellapart.errors import DataError
from tellapart.metrics.intervals import group_codes

FOLDS = 5

Learn = Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]


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


def cross_fit(proba: np.ndarray, labels: np.ndarray, fold: np.ndarray, learn: Learn) -> np.ndarray:
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
        found[asked] = learn(proba[learnt], labels[learnt])(proba[asked])
    return found
