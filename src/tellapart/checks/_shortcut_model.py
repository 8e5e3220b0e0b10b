"""How well a model separates the classes by a few features alone: extremely randomized trees, cross-validated.

Each image is predicted by trees that were fitted without it and without any image of its group.

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
#: From here down an AUROC is reversed, if its p-value is below the level. Out-of-fold predictions of classes that cannot be
#: told apart fell to 0.3 among 300 images, and to 0.19 among 80: a class that is rarer in a fold is more frequent in the images
#: that the model of this fold was fitted to.
FAR_BELOW, _BELOW_LEVEL = 0.2, 1e-9
_TREES = 20
_MAX_FEATURES: Any = 0.5  # share of the features that is tried at each split
_MAX_FIT = 20_000  # images to fit on: more cost time and do not change the result


@dataclass(frozen=True, eq=False)
class ShortcutScore:
    """How well out-of-fold predictions separate the classes.

    Attributes:
        auroc: Mean one-vs-rest AUROC over classes, out of fold.
        by_class: (C,) float64, one-vs-rest AUROC of each class; NaN for a class without images.
        significant: Whether the AUROC of some class is significantly above chance and at least `FLOOR`.
        confidence: (N,) float32 in [0, 1]: confidence of the prediction of each image's own label; 0 is the share of the class,
            1 is certainty; 0 for images without a label.
        is_reversed: Whether the AUROC is at most `FAR_BELOW`, significantly: the model predicts the opposite of the classes.
    """

    auroc: Score
    by_class: np.ndarray
    significant: bool
    confidence: np.ndarray
    is_reversed: bool = False


def fit_shortcut_model(features: Sequence[Feature], labels: np.ndarray, groups: np.ndarray, seed: int) -> ShortcutScore | None:
    """Cross-validate; None if fewer than two classes have a group for every fold, or if no feature varies.

    Args:
        features: Features of N images.
        labels: (N,) int64; rows with −1 are ignored.
        groups: (N,) int64: images with equal numbers stay in one fold.
        seed: Random seed for folds and trees.
    """
    values = _matrix(features)
    known = enough_groups(labels, groups)
    if not values.shape[1] or len(np.unique(labels[known])) < 2:
        return None
    rows = np.flatnonzero(known)
    proba = _out_of_fold(values[rows], labels[rows], groups[rows], seed)
    return score_shortcut(proba, labels, groups, rows)


def _matrix(features: Sequence[Feature]) -> np.ndarray:
    """Stack the features that vary: (N, D) float32. Missing values are placed below all others."""
    found = []
    for feature in features:
        values = feature.values
        finite = np.isfinite(values)
        if finite.any():
            low = values[finite].min()
            filled = np.where(finite, values, low - 1 - abs(low))
            found += [filled] if np.ptp(filled) > 0 else []
    return np.stack(found, axis=1).astype(np.float32) if found else np.zeros((0, 0), np.float32)


def enough_groups(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Rows of classes that have at least one group per fold: (N,) bool."""
    known = labels >= 0
    pairs = np.unique(np.stack([labels[known], groups[known]]), axis=1)
    enough = np.bincount(pairs[0], minlength=int(labels.max(initial=0)) + 1) >= FOLDS
    return known & enough[np.maximum(labels, 0)]


def _out_of_fold(values: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """Out-of-fold probabilities: (N, C) float32, C columns for 0 … the highest label."""
    from sklearn.ensemble import ExtraTreesClassifier

    names = np.unique(groups, return_inverse=True)[1].astype(object)
    fold = deal_folds(labels, names, seed, FOLDS)
    few = np.random.default_rng(seed).permutation(len(labels)) < _MAX_FIT
    proba = np.zeros((len(labels), int(labels.max()) + 1), np.float32)
    for one in range(FOLDS):
        fit, held_out = few & (fold != one), fold == one
        forest: Any = ExtraTreesClassifier(
            _TREES, min_samples_leaf=max(2, int(fit.sum()) // 200), max_features=_MAX_FEATURES, random_state=seed, n_jobs=1
        )
        forest.fit(values[fit], labels[fit])
        proba[np.ix_(held_out, forest.classes_)] = forest.predict_proba(values[held_out])
    return proba


def score_shortcut(proba: np.ndarray, labels: np.ndarray, groups: np.ndarray, rows: np.ndarray) -> ShortcutScore:
    """Score out-of-fold predictions.

    Args:
        proba: (M, C) float in [0, 1], predictions of the rows `rows`.
        labels: (N,) int64 in −1 … C−1, of all rows.
        groups: (N,) int64: images with equal numbers are not independent.
        rows: (M,) int64, the predicted rows; of at least two classes.
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
    confidence = np.zeros(len(labels), np.float32)
    confidence[rows] = np.clip((proba[np.arange(len(mine)), mine] - share) / (1 - share), 0, 1)
    above, below = _is_significant(by_class, mine, codes), _is_significant(1 - by_class, mine, codes, _BELOW_LEVEL)
    is_reversed = below and not above and value <= FAR_BELOW
    return ShortcutScore(Score(value, len(mine), low, high), by_class, above, confidence, is_reversed)


def _is_significant(by_class: np.ndarray, labels: np.ndarray, groups: np.ndarray, level: float = LEVEL) -> bool:
    """Test whether the best AUROC is above chance, with the variance of the AUROC under the null hypothesis."""
    pairs = np.unique(np.stack([labels, groups]), axis=1)[0]
    size = np.bincount(pairs, minlength=len(by_class)).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (by_class - 0.5) / np.sqrt((len(pairs) + 1) / (12 * size * (len(pairs) - size)))
    best = int(np.nanargmax(z))
    return bool(ndtr(-z[best]) * np.isfinite(by_class).sum() < level and by_class[best] >= FLOOR)
