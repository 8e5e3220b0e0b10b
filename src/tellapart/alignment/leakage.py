"""How well a few numbers tell the classes apart, on images that the model did not learn from.

Gradient boosting as in the metadata baseline family (`classifiers/metadata.py`), five folds, groups and identical files
together. The same folds before and after, so that the two figures differ by the files alone.
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
    """The fold of each image: (N,) int64; None where there are too few images, or there is one class only.

    Args:
        table: N labeled images.
        digests: (N,) object (str), equal for identical files.
        seed: Of the dealing.
    """
    if len(np.unique(table.labels)) < 2:
        return None
    everything = table.with_split(np.full(len(table), "train", dtype=object))
    twins = summarize_duplicates(everything, pd.factorize(digests)[0].astype(np.int64))
    try:
        dealt = folds(everything, FOLDS, seed=seed, twins=twins)
    except SplitError:
        return None
    whole = all(len(np.unique(table.labels[dealt != fold])) > 1 for fold in range(FOLDS))
    return dealt if whole and len(np.unique(dealt)) == FOLDS else None


def class_auroc(table: ImageTable, features: np.ndarray, fold_of: np.ndarray) -> Score:
    """AUROC out of fold; of more than two classes, the mean of one against the rest.

    Args:
        table: N labeled images.
        numbers: (N, D) float64, NaN where not defined.
        dealt: (N,) int64, of `deal`.
    """
    proba, labels, classes = np.zeros((len(table), len(table.classes))), table.labels, len(table.classes)
    low, high = (of(np.where(np.isnan(features), fill, features), axis=0) for of, fill in ((np.min, np.inf), (np.max, -np.inf)))
    features = features[:, (high > low) | (np.isnan(features).any(axis=0) & np.isfinite(low))]  # what never varies cannot tell
    for fold in range(FOLDS):
        held = fold_of == fold
        proba[held] = _answers(features[~held], labels[~held], features[held], classes)
    proba = (proba / proba.sum(axis=1, keepdims=True)).astype(np.float32)
    found = score_all(Predictions(table.ids, proba, labels, table.classes, groups=groups_of(table)), table.positive)
    return found["auroc" if classes == 2 else "macro-auroc"]


def _answers(learnt: np.ndarray, labels: np.ndarray, asked: np.ndarray, classes: int) -> np.ndarray:
    """(M, C) float64 for `asked`, (M, D); the class shares where there is nothing to learn from."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    known = np.isfinite(learnt).any(axis=0)  # scikit-learn cannot bin a column without any value
    if not known.any():
        return np.tile(np.bincount(labels, minlength=classes) / len(labels), (len(asked), 1))
    model = HistGradientBoostingClassifier(
        max_iter=60, max_leaf_nodes=15, learning_rate=0.1, min_samples_leaf=max(1, min(20, len(labels) // 10)), random_state=0,
        early_stopping=False,  # pyright: ignore[reportArgumentType] (inferred from the default "auto")
    )  # fmt: skip
    model.fit(learnt[:, known], labels)
    return np.asarray(proba_of(model, asked[:, known], classes), dtype=np.float64)
