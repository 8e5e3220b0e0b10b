"""Which labels are probably wrong? Confident learning, from answers of a classifier that did not learn these images.

Of each class, the threshold is the mean probability of it among the images that bear its label. An image counts as surely
of a class where the probability reaches that class's threshold (of several such classes the most probable). Counting
labels against sure classes gives the confident joint; off its diagonal stands how many labels of each kind are wrong, and
so many images, those with the largest margin, are flagged.

The answers must be out of sample: those on validation, test or held-out folds. A classifier that learnt a wrong label
repeats it. A flagged image is a place to look, no verdict: the classifier may be what is wrong.

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
    """Every labeled image with the quality of its label, the flagged first, then the worst label first.

    Args:
        predictions: Out of sample; images without a label are left out.
        by: "margin": score = (p of the label − the highest other p + 1) / 2; "self-confidence": score = p of the label.

    Returns:
        Columns id, label (class name), guess (the most probable class), score in [0, 1] (low: doubtful), proba (of the
        guess), is_issue (bool).

    Raises:
        DataError: No image has a label.

    >>> proba = np.array([[.9, .1], [.8, .2], [.05, .95], [.2, .8], [.1, .9], [.3, .7]], dtype=np.float32)
    >>> ids, labels = np.array(list("abcdef"), dtype=object), np.array([0, 0, 0, 1, 1, 1])
    >>> found = suspicious(Predictions(ids, proba, labels, ("real", "fake")))
    >>> found.head(2).round(3).to_dict("records")[0]
    {'id': 'c', 'label': 'real', 'guess': 'fake', 'score': 0.05, 'proba': 0.95, 'is_issue': True}
    >>> int(found["is_issue"].sum())
    1
    """
    rows = np.flatnonzero(predictions.labels != UNLABELED)
    if not len(rows):
        raise DataError("no image has a label that could be doubted", hint="give predictions on labeled images")
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


def hardest(predictions: Predictions, most: int = 12) -> pd.DataFrame:
    """The images whose own label got the lowest probability, lowest first; columns as of `suspicious`.

    Args:
        predictions: Labeled, out of sample.
        most: Rows at most.
    """
    return (
        find_label_issues(predictions, "self-confidence").sort_values("score", kind="stable").head(most).reset_index(drop=True)
    )


def prune_by_noise_rate(labels: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """Which labels are flagged, (N,) bool: pruning by noise rate.

    Of the images labeled i, those that surely are j by the (calibrated) confident joint number n_ij; the n_ij with the
    largest p_j − p_i are flagged, less those whose label is the most probable class. A class always keeps one image.

    Args:
        labels: (N,) int64 in 0 … C−1.
        proba: (N, C) float of sum 1.
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
    """Images by label (rows) and sure class (columns): (C, C) int64. Images that are surely of no class are not counted.

    Args:
        labels: (N,) int64 in 0 … C−1.
        proba: (N, C) float of sum 1.

    >>> proba = np.array([[.9, .1], [.8, .2], [.05, .95], [.2, .8], [.1, .9], [.3, .7]])
    >>> confident_joint(np.array([0, 0, 0, 1, 1, 1]), proba).tolist()  # thresholds 0.583 and 0.8
    [[2, 1], [0, 2]]
    """
    classes = proba.shape[1]
    counts = np.bincount(labels, minlength=classes)
    own = np.bincount(labels, weights=proba[np.arange(len(labels)), labels], minlength=classes)
    thresholds = np.where(counts > 0, own / np.maximum(counts, 1), np.inf)  # nothing is surely of a class without labels
    reached = proba >= thresholds - _ROUNDING
    sure = reached.any(axis=1)
    guess = np.where(reached, proba, -1).argmax(axis=1)
    return np.bincount(labels[sure] * classes + guess[sure], minlength=classes**2).reshape(classes, classes)


def calibrated_joint(labels: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """The confident joint scaled so that each row has as many images as bear the label: (C, C) int64.

    Rounding goes to the largest remainders, so that rows keep their sums. Arguments as of `confident_joint`.
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
    """The quality of each label, (N,) float64 in [0, 1]; low is doubtful.

    Args:
        labels: (N,) int64 in 0 … C−1.
        proba: (N, C) float of sum 1.
        by: As of `suspicious`.

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
