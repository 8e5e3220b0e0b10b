"""What a quick model makes of small copies of the pictures, each judged by a model that learnt from the others.

Shape (HOG), color by place, noise residuals and cheap measures, brought to 120 principal components, then logistic regression:
a few seconds for thousands of images. It is no classifier to keep, but it knows enough to doubt a label.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tellapart.checks._shortcut_model import FOLDS
from tellapart.features.hog import HOG
from tellapart.features.noise_residual import NoiseResidual
from tellapart.metrics.cross_fitting import deal_folds
from tellapart.progress import Progress

_COMPONENTS = 120
_MOST = 8_000  # images that components, and the models of a fold, are learnt from
_PORTION = 2_048
_PENALTY = 0.1  # C of the regression on whitened components


def out_of_fold(
    thumbnails: np.ndarray, traces: np.ndarray, labels: np.ndarray, units: np.ndarray, seed: int, progress: Progress
) -> np.ndarray:  # fmt: skip
    """Probabilities of the labels: (N, C) float32, C columns for 0 … the highest label.

    Args:
        thumbnails: (N, 32, 32, 3) uint8.
        traces: (N, T) float32, may hold NaN.
        labels: (N,) int64 ≥ 0, at least two of them in every fold's remainder.
        units: (N,) int64: images with equal numbers stay in one fold.
        seed: Of folds and draws.
        progress: Where it is reported.
    """
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(seed)
    values = _components(thumbnails, traces, generator, progress)
    fold = deal_folds(labels, np.unique(units, return_inverse=True)[1].astype(object), seed, FOLDS)
    proba = np.zeros((len(labels), int(labels.max()) + 1), np.float32)
    with progress.task("learning the labels in folds", FOLDS, "fold") as task:
        for one in range(FOLDS):
            learnt, asked = generator.permutation(np.flatnonzero(fold != one))[:_MOST], np.flatnonzero(fold == one)
            model: Any = LogisticRegression(C=_PENALTY, max_iter=300, tol=1e-3).fit(values[learnt], labels[learnt])
            proba[np.ix_(asked, model.classes_)] = model.predict_proba(values[asked])
            task.advance()
    return proba / proba.sum(axis=1, keepdims=True)


def _components(thumbnails: np.ndarray, traces: np.ndarray, generator: np.random.Generator, progress: Progress) -> np.ndarray:
    """Whitened principal components, found without labels: (N, at most 120) float32."""
    from sklearn.decomposition import PCA

    few = np.sort(generator.permutation(len(thumbnails))[:_MOST])
    sample = _describe(thumbnails[few], traces[few])
    mean, spread = sample.mean(axis=0), np.maximum(sample.std(axis=0), 1e-6)
    count = min(_COMPONENTS, len(few) // 2, sample.shape[1])
    space = PCA(count, whiten=True, svd_solver="randomized", random_state=0).fit((sample - mean) / spread)
    found = np.empty((len(thumbnails), count), np.float32)
    with progress.task("describing small copies", len(thumbnails), "img") as task:
        for start in range(0, len(thumbnails), _PORTION):
            part = slice(start, start + _PORTION)
            found[part] = space.transform((_describe(thumbnails[part], traces[part]) - mean) / spread)
            task.advance(len(thumbnails[part]))
    return found


def _describe(thumbnails: np.ndarray, traces: np.ndarray) -> np.ndarray:
    """(N, D) float32; what could not be measured counts as 0."""
    colors = thumbnails.reshape(len(thumbnails), 8, 4, 8, 4, 3).mean((2, 4)).reshape(len(thumbnails), -1)
    parts = [HOG(HOG.Options())(thumbnails), NoiseResidual(NoiseResidual.Options())(thumbnails), colors, np.nan_to_num(traces)]
    return np.concatenate(parts, axis=1, dtype=np.float32)
