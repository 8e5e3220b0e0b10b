"""How well a model tells classes apart from a few columns alone: a forest of random trees, each image judged by trees that did
not learn from it, nor from any image of its unit.

Sources:
    Geurts, Ernst & Wehenkel (2006), "Extremely randomized trees".
    Lopez-Paz & Oquab (2017), "Revisiting classifier two-sample tests" (a classifier as a test of a difference).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

from tellapart.checks._associations import FLOOR, LEVEL, Feature, class_aurocs
from tellapart.metrics.cross_validation import deal_folds
from tellapart.metrics.roc import roc_curve
from tellapart.metrics.roc_intervals import auroc_influences, macro_interval
from tellapart.types import Score

FOLDS = 5
_TREES = 20
_SEEN: Any = 0.5  # of the columns, at each split
_MOST = 20_000  # images that are learnt from: more make the answer dearer, not surer


@dataclass(frozen=True, eq=False)
class ShortcutScore:
    """What a model makes of the columns.

    Attributes:
        auroc: Mean over classes of one against the others, out of fold.
        by_class: (C,) float64, of each class; NaN where it has no images.
        significant: Whether some class is told from the others better than chance and by enough to matter.
        surety: (N,) float32 in [0, 1]: how surely the columns give away each image's own label, 0 no better than the class
            shares, 1 for certain; 0 without a label.
    """

    auroc: Score
    by_class: np.ndarray
    significant: bool
    confidence: np.ndarray


def fit_shortcut_model(features: Sequence[Feature], labels: np.ndarray, groups: np.ndarray, seed: int) -> ShortcutScore | None:
    """Learn and judge in folds; None where fewer than two classes have a unit for every fold, or nothing varies.

    Args:
        columns: What to learn from.
        labels: (N,) int64; −1 is left out.
        units: (N,) int64: images with equal numbers stay in one fold.
        seed: Of folds and trees.
    """
    values = _matrix(features)
    known = enough_groups(labels, groups)
    if not values.shape[1] or len(np.unique(labels[known])) < 2:
        return None
    rows = np.flatnonzero(known)
    proba = _out_of_fold(values[rows], labels[rows], groups[rows], seed)
    return score_shortcut(proba, labels, groups, rows)


def _matrix(columns: Sequence[Feature]) -> np.ndarray:
    """Columns that vary, side by side: (N, D) float32. A value that does not apply lies below all others."""
    found = []
    for column in columns:
        values = column.values
        finite = np.isfinite(values)
        if finite.any():
            low = values[finite].min()
            filled = np.where(finite, values, low - 1 - abs(low))
            found += [filled] if np.ptp(filled) > 0 else []
    return np.stack(found, axis=1).astype(np.float32) if found else np.zeros((0, 0), np.float32)


def enough_groups(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Rows of classes that have at least one unit a fold: (N,) bool."""
    known = labels >= 0
    pairs = np.unique(np.stack([labels[known], groups[known]]), axis=1)
    enough = np.bincount(pairs[0], minlength=int(labels.max(initial=0)) + 1) >= FOLDS
    return known & enough[np.maximum(labels, 0)]


def _out_of_fold(values: np.ndarray, labels: np.ndarray, units: np.ndarray, seed: int) -> np.ndarray:
    """(N, C) float32, C columns for 0 … the highest label."""
    from sklearn.ensemble import ExtraTreesClassifier

    names = np.unique(units, return_inverse=True)[1].astype(object)
    fold = deal_folds(labels, names, seed, FOLDS)
    few = np.random.default_rng(seed).permutation(len(labels)) < _MOST
    proba = np.zeros((len(labels), int(labels.max()) + 1), np.float32)
    for one in range(FOLDS):
        learnt, asked = few & (fold != one), fold == one
        forest: Any = ExtraTreesClassifier(
            _TREES, min_samples_leaf=max(2, int(learnt.sum()) // 200), max_features=_SEEN, random_state=seed, n_jobs=1
        )
        forest.fit(values[learnt], labels[learnt])
        proba[np.ix_(asked, forest.classes_)] = forest.predict_proba(values[asked])
    return proba


def score_shortcut(proba: np.ndarray, labels: np.ndarray, groups: np.ndarray, rows: np.ndarray) -> ShortcutScore:
    """What answers out of fold are worth.

    Args:
        proba: (M, C) float, of the rows asked.
        labels: (N,) int64 in −1 … C−1, of all rows.
        units: (N,) int64: images with equal numbers are not independent.
        rows: (M,) int64, the rows asked; of at least two classes.
    """
    mine, present = labels[rows], np.unique(labels[rows])
    codes = np.unique(groups[rows], return_inverse=True)[1].astype(np.int64)
    by_class = np.full(int(labels.max()) + 1, np.nan)
    for label in present:
        by_class[label] = class_aurocs(proba[:, label].astype(np.float64), (mine == label).astype(np.int64), 2)[1]
    value = float(np.nanmean(by_class))
    sweeps = {int(label): roc_curve(mine == label, proba[:, label]) for label in present}
    low, high = macro_interval(sweeps, auroc_influences, value, mine, codes)
    share = np.bincount(mine, minlength=len(by_class))[mine] / len(mine)
    surety = np.zeros(len(labels), np.float32)
    surety[rows] = np.clip((proba[np.arange(len(mine)), mine] - share) / (1 - share), 0, 1)
    return ShortcutScore(Score(value, len(mine), low, high), by_class, _is_significant(by_class, mine, codes), surety)


def _is_significant(by_class: np.ndarray, labels: np.ndarray, units: np.ndarray) -> bool:
    """Whether the class told best is above chance, by the variance that an area has where there is nothing to tell."""
    pairs = np.unique(np.stack([labels, units]), axis=1)[0]
    size = np.bincount(pairs, minlength=len(by_class)).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (by_class - 0.5) / np.sqrt((len(pairs) + 1) / (12 * size * (len(pairs) - size)))
    best = int(np.nanargmax(z))
    return bool(ndtr(-z[best]) * np.isfinite(by_class).sum() < LEVEL and by_class[best] >= FLOOR)
