"""How well metadata or compression traces separate the classes, by cross-validation.

Gradient boosting as in the metadata baseline (`classifiers/metadata.py`), five folds, groups and identical files together. The
folds are the same before and after aligning, so that the two figures differ by the files alone.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from tellapart.classifiers._sklearn_io import proba_of
from tellapart.classifiers.base import groups_of
from tellapart.data.split import folds, summarize_duplicates
from tellapart.errors import SplitError
from tellapart.metrics.score_all import score_all
from tellapart.types import ImageTable, Predictions, Score

FOLDS = 5


def assign_folds(table: ImageTable, digests: np.ndarray, seed: int) -> np.ndarray | None:
    """Assign images to folds: (N,) int64; None if there are too few images, or only one class.

    Args:
        table: N labeled images.
        digests: (N,) object (str), equal for identical files.
        seed: Random seed for the folds.
    """
    if len(np.unique(table.labels)) < 2:
        return None
    everything = table.with_split(np.full(len(table), "train", dtype=object))
    duplicates = summarize_duplicates(everything, pd.factorize(digests)[0].astype(np.int64))
    try:
        fold_of = folds(everything, FOLDS, seed=seed, twins=duplicates)
    except SplitError:
        return None
    whole = all(len(np.unique(table.labels[fold_of != fold])) > 1 for fold in range(FOLDS))
    return fold_of if whole and len(np.unique(fold_of)) == FOLDS else None


def class_auroc(table: ImageTable, features: np.ndarray, fold_of: np.ndarray) -> Score:
    """Out-of-fold AUROC; with more than two classes, the mean of one against the rest.

    Args:
        table: N labeled images.
        features: (N, D) float64, NaN where not defined.
        fold_of: (N,) int64, of `deal`.
    """
    proba, labels, classes = np.zeros((len(table), len(table.classes))), table.labels, len(table.classes)
    low, high = (of(np.where(np.isnan(features), fill, features), axis=0) for of, fill in ((np.min, np.inf), (np.max, -np.inf)))
    features = features[
        :, (high > low) | (np.isnan(features).any(axis=0) & np.isfinite(low))
    ]  # constant features carry no information
    for fold in range(FOLDS):
        held = fold_of == fold
        proba[held] = _predict(features[~held], labels[~held], features[held], classes)
    proba = (proba / proba.sum(axis=1, keepdims=True)).astype(np.float32)
    found = score_all(Predictions(table.ids, proba, labels, table.classes, groups=groups_of(table)), table.positive)
    return found["auroc" if classes == 2 else "macro-auroc"]


def _predict(train: np.ndarray, labels: np.ndarray, test: np.ndarray, classes: int) -> np.ndarray:
    """(M, C) float64 for `test`, (M, D); the class shares where there is nothing to learn from."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    known = np.isfinite(train).any(axis=0)  # scikit-learn cannot bin a column without any value
    if not known.any():
        return np.tile(np.bincount(labels, minlength=classes) / len(labels), (len(test), 1))
    model = HistGradientBoostingClassifier(
        max_iter=60, max_leaf_nodes=15, learning_rate=0.1, min_samples_leaf=max(1, min(20, len(labels) // 10)), random_state=0,
        early_stopping=False,  # pyright: ignore[reportArgumentType] (inferred from the default "auto")
    )  # fmt: skip
    model.fit(train[:, known], labels)
    return np.asarray(proba_of(model, test[:, known], classes), dtype=np.float64)
