"""Find probable label errors by confident learning.

The threshold of a class is its mean probability over the images with its label. An image is confidently of a class if the
probability reaches the threshold of that class (the most probable one, if there are several). The counts of labels against
confident classes are the confident joint. Its off-diagonal entries estimate the number of wrong labels of each kind, and the
same number of images, those with the largest margin, are flagged.

Predictions must be out of sample: on validation, test or held-out folds, since a classifier reproduces the wrong labels that
it was trained on. A flagged image needs a review: either the label or the classifier may be wrong.

Sources:
    Northcutt, Jiang & Chuang (2021), "Confident learning: estimating uncertainty in dataset labels" (the confident joint;
    pruning by noise rate; self-confidence and normalized margin).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from tellapart.errors import DataError
from tellapart.types import UNLABELED, Predictions

By = Literal["margin", "self-confidence"]
_ROUNDING = 1e-6  # a probability this far below a threshold reaches it


def find_label_issues(predictions: Predictions, by: By = "margin") -> pd.DataFrame:
    """Score the label of every labeled image; flagged images first, then the lowest score first.

    Args:
        predictions: Out-of-sample predictions; images without a label are excluded.
        by: "margin": score = (p of the label − the highest other p + 1) / 2; "self-confidence": score = p of the label.

    Returns:
        Columns id, label (class name), guess (the most probable class), score in [0, 1] (low values are suspicious), proba
        (of the guess), is_issue (bool).

    Raises:
        DataError: No image has a label.

    >>> proba = np.array([[.9, .1], [.8, .2], [.05, .95], [.2, .8], [.1, .9], [.3, .7]], dtype=np.float32)
    >>> ids, labels = np.array(list("abcdef"), dtype=object), np.array([0, 0, 0, 1, 1, 1])
    >>> issues = find_label_issues(Predictions(ids, proba, labels, ("real", "fake")))
    >>> issues.head(2).round(3).to_dict("records")[0]
    {'id': 'c', 'label': 'real', 'guess': 'fake', 'score': 0.05, 'proba': 0.95, 'is_issue': True}
    >>> int(issues["is_issue"].sum())
    1
    """
    rows = np.flatnonzero(predictions.labels != UNLABELED)
    if not len(rows):
        raise DataError("no image has a label: label errors need labeled images", hint="give predictions on labeled images")
    labels, proba = predictions.labels[rows], predictions.proba[rows].astype(np.float64)
    names = np.array(predictions.classes, dtype=object)
    guess = proba.argmax(axis=1)
    quality = label_quality(labels, proba, by)
    flagged = prune_by_noise_rate(labels, proba)
    order = np.lexsort((quality, ~flagged))
    columns = {
        "id": predictions.ids[rows], "label": names[labels], "guess": names[guess], "score": quality,
        "proba": proba.max(axis=1), "is_issue": flagged,
    }  # fmt: skip
    return pd.DataFrame({name: values[order] for name, values in columns.items()})


def prune_by_noise_rate(labels: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """Flag labels by pruning by noise rate.

    n_ij is the entry of the calibrated confident joint for label i and class j. Among the images labeled i, the n_ij images
    with the largest p_j − p_i are flagged, except those whose label is the most probable class. At least one image of each
    class is not flagged.

    Args:
        labels: (N,) int64 in 0 … C−1.
        proba: (N, C) float in [0, 1], rows sum to 1.

    Returns:
        (N,) bool, whether the label is flagged.
    """
    joint = calibrated_joint(labels, proba)
    flagged = np.zeros(len(labels), dtype=bool)
    for i, j in np.ndindex(*joint.shape):
        if i == j or not joint[i, j]:
            continue
        own = np.flatnonzero(labels == i)
        margin = proba[own, j] - proba[own, i]
        count = min(int(joint[i, j]), len(own) - 1)
        if count:
            flagged[own[margin >= np.partition(margin, -count)[-count]]] = True
    return flagged & (proba.argmax(axis=1) != labels)


def confident_joint(labels: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """Count images by label (rows) and confident class (columns): (C, C) int64. Images without a confident class are excluded.

    Args:
        labels: (N,) int64 in 0 … C−1.
        proba: (N, C) float in [0, 1], rows sum to 1.

    >>> proba = np.array([[.9, .1], [.8, .2], [.05, .95], [.2, .8], [.1, .9], [.3, .7]])
    >>> confident_joint(np.array([0, 0, 0, 1, 1, 1]), proba).tolist()  # thresholds 0.583 and 0.8
    [[2, 1], [0, 2]]
    """
    classes = proba.shape[1]
    counts = np.bincount(labels, minlength=classes)
    own = np.bincount(labels, weights=proba[np.arange(len(labels)), labels], minlength=classes)
    thresholds = np.where(counts > 0, own / np.maximum(counts, 1), np.inf)  # no image is confidently of a class without labels
    reached = proba >= thresholds - _ROUNDING
    sure = reached.any(axis=1)
    guess = np.where(reached, proba, -1).argmax(axis=1)
    return np.bincount(labels[sure] * classes + guess[sure], minlength=classes**2).reshape(classes, classes)


def calibrated_joint(labels: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """Scale the confident joint so that each row sums to the number of images with the label: (C, C) int64.

    Entries are rounded by largest remainder, so that rows keep their sums. Arguments as for `confident_joint`.
    """
    counts = np.bincount(labels, minlength=proba.shape[1])
    joint = confident_joint(labels, proba).astype(np.float64)
    diagonal = np.arange(len(joint))
    joint[diagonal, diagonal] = np.maximum(joint[diagonal, diagonal], 1)
    wanted = joint / joint.sum(axis=1, keepdims=True) * counts[:, None]
    floor = np.floor(wanted + 1e-9)
    missing = np.rint(counts - floor.sum(axis=1)).astype(np.int64)
    order = np.argsort(floor - wanted, axis=1, kind="stable")
    ranks = np.argsort(order, axis=1, kind="stable")
    return (floor + (ranks < missing[:, None])).astype(np.int64)


def label_quality(labels: np.ndarray, proba: np.ndarray, by: By = "margin") -> np.ndarray:
    """Score the quality of each label: (N,) float64 in [0, 1]; low values are suspicious.

    Args:
        labels: (N,) int64 in 0 … C−1.
        proba: (N, C) float in [0, 1], rows sum to 1.
        by: As for `find_label_issues`.

    >>> label_quality(np.array([0, 2]), np.array([[.5, .3, .2], [.6, .3, .1]])).round(2).tolist()
    [0.6, 0.25]
    """
    rows = np.arange(len(labels))
    own = proba[rows, labels].astype(np.float64)
    if by == "self-confidence":
        return own
    others = proba.astype(np.float64)
    others[rows, labels] = -1
    return (own - others.max(axis=1) + 1) / 2
