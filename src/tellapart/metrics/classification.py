"""Scores of predicted classes: confusion matrix, accuracy, precision, recall, F1, Matthews correlation and Cohen's kappa.

Notation: y labels, ŷ predicted classes (the most probable class; the first one for ties), C classes, N images. For class c,
hits are the images of c predicted as c, support is the number of images of c, and predictions are all images predicted as c.
In precision, recall and F1 a ratio 0/0 counts as 0, as in scikit-learn's
`precision_recall_fscore_support(y, ŷ, labels=range(C), average=…, zero_division=0)`. Other scores are NaN for 0/0, and
`tellapart.metrics.score_all.score_all` omits them.

Sources:
    Matthews (1975), "Comparison of the predicted and observed secondary structure of T4 phage lysozyme"; for more than
    two classes Gorodkin (2004), "Comparing two K-category assignments by a K-category correlation coefficient".
    Cohen (1960), "A coefficient of agreement for nominal scales".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


def confused_pairs(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The confusions that occur, the most frequent first, equally frequent ones by class: needs no matrix of all classes.

    Args:
        labels: (N,) int64, 0 or more.
        predicted: (N,) int64, 0 or more.

    Returns:
        (K, 3) int64: true class, predicted class, number of images.

    >>> confused_pairs(np.array([0, 2, 2, 1]), np.array([1, 0, 0, 1])).tolist()
    [[2, 0, 2], [0, 1, 1]]
    """
    wrong = labels != predicted
    pairs, counts = np.unique(np.stack([labels[wrong], predicted[wrong]], axis=1), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return np.column_stack([pairs, counts])[order].astype(np.int64)


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Confusion matrix: entry (i, j) is the number of images of class i that are predicted as class j.

    Args:
        labels: (N,) int64 in 0 … C−1.
        predicted: (N,) int64 in 0 … C−1.
        classes: C.

    Returns:
        (C, C) int64.

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    array([[1, 1],
           [0, 1]])
    """
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def confusion_shares(counts: np.ndarray, by: str) -> np.ndarray:
    """Normalize a confusion matrix over the true classes (`by` "row") or over the predicted classes ("column").

    Args:
        counts: (C, C) int64, rows are true classes.
        by: "row" or "column".

    Returns:
        (C, C) float64 in [0, 1]; NaN for a class without images ("row") or without predictions ("column").

    >>> confusion_shares(np.array([[3, 1], [0, 4]]), "row").tolist()
    [[0.75, 0.25], [0.0, 1.0]]
    >>> confusion_shares(np.array([[3, 1], [0, 4]]), "column").tolist()
    [[1.0, 0.2], [0.0, 0.8]]
    """
    total = counts.sum(axis={"row": 1, "column": 0}[by], keepdims=True)
    return np.where(total == 0, np.nan, _ratio(counts, total))


def accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Share of correct predictions: (1/N) Σ [y = ŷ]. `labels`, `predicted`: (N,) int64.

    >>> accuracy(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]))
    0.75
    """
    return float(np.mean(labels == predicted))


def balanced_accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Mean recall over the classes that occur among the labels. `labels`, `predicted`: (N,) int64.

    Unlike `macro_recall`, it excludes classes without images.

    >>> balanced_accuracy(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))
    0.5
    """
    support = np.bincount(labels)
    hits = np.bincount(labels[labels == predicted], minlength=len(support))
    return float(np.mean(hits[support > 0] / support[support > 0]))


# --- precision, recall, F1 --------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PerClass:
    """Scores of each class, in label order.

    Attributes:
        precision: (C,) float64 in [0, 1], hits / predictions.
        recall: (C,) float64 in [0, 1], hits / support.
        f1: (C,) float64 in [0, 1], 2 hits / (support + predictions).
        support: (C,) int64, number of images of the class.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray

    def to_frame(self, classes: tuple[str, ...]) -> pd.DataFrame:
        """Table with one row per class and the columns precision, recall, f1 and support."""
        columns = {"precision": self.precision, "recall": self.recall, "f1": self.f1, "support": self.support}
        return pd.DataFrame(columns, index=pd.Index(classes, name="class"))


def per_class(labels: np.ndarray, predicted: np.ndarray, classes: int) -> PerClass:
    """Precision, recall, F1 and support of each class; 0/0 is 0.

    Args:
        labels: (N,) int64 in 0 … C−1.
        predicted: (N,) int64 in 0 … C−1.
        classes: C.

    >>> scores = per_class(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 3)
    >>> scores.precision.round(3).tolist(), scores.recall.tolist(), scores.f1.round(3).tolist(), scores.support.tolist()
    ([1.0, 0.667, 0.0], [0.5, 1.0, 0.0], [0.667, 0.8, 0.0], [2, 2, 0])
    """
    hits, support, n_predicted = class_counts(labels, predicted, classes)
    return PerClass(*ratios(hits, support, n_predicted), support)


def precision_recall_f1(labels: np.ndarray, predicted: np.ndarray, classes: int, average: str) -> tuple[float, float, float]:
    """Precision, recall and F1, averaged over the classes.

    Args:
        labels: (N,) int64 in 0 … C−1.
        predicted: (N,) int64 in 0 … C−1.
        classes: C.
        average: "macro": the mean over all C classes. "weighted": the mean weighted by the support of the classes, whose
            recall equals the accuracy. "micro": computed from the summed counts; all three equal the accuracy, as every
            image has exactly one prediction.

    >>> y, predicted = np.array([0, 0, 0, 1]), np.array([0, 1, 0, 1])
    >>> [round(v, 4) for v in precision_recall_f1(y, predicted, 2, "macro")]
    [0.75, 0.8333, 0.7333]
    >>> [round(v, 4) for v in precision_recall_f1(y, predicted, 2, "weighted")]
    [0.875, 0.75, 0.7667]
    >>> precision_recall_f1(y, predicted, 2, "micro")
    (0.75, 0.75, 0.75)
    """
    if average == "micro":
        share = accuracy(labels, predicted)
        return share, share, share
    each = per_class(labels, predicted, classes)
    weights = np.full(classes, 1 / classes) if average == "macro" else each.support / each.support.sum()
    return float(each.precision @ weights), float(each.recall @ weights), float(each.f1 @ weights)


def macro_precision(labels: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Mean precision over all classes: (1/C) Σ precision of class c. `labels`, `predicted`: (N,) int64.

    >>> round(macro_precision(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 2), 4)
    0.8333
    """
    return precision_recall_f1(labels, predicted, classes, "macro")[0]


def macro_recall(labels: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Mean recall over all classes: (1/C) Σ recall of class c. `labels`, `predicted`: (N,) int64.

    >>> macro_recall(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 2)
    0.75
    """
    return precision_recall_f1(labels, predicted, classes, "macro")[1]


def macro_f1(labels: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Mean F1 over all classes: (1/C) Σ F1 of class c. `labels`, `predicted`: (N,) int64.

    >>> round(macro_f1(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 2), 4)
    0.7333
    """
    return precision_recall_f1(labels, predicted, classes, "macro")[2]


# --- agreement beyond chance ------------------------------------------------------------------------------------------


def matthews(labels: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Matthews correlation coefficient (Gorodkin's R_K): (N·h − Σ sₖpₖ) / √((N² − Σ sₖ²)(N² − Σ pₖ²)), in [−1, 1].

    h is the total number of hits, sₖ the support and pₖ the number of predictions of class k. NaN if all labels or all
    predictions are of one class.

    Args:
        labels: (N,) int64 in 0 … C−1.
        predicted: (N,) int64 in 0 … C−1.
        classes: C.

    >>> round(matthews(np.array([1, 1, 1, 0]), np.array([1, 0, 1, 1]), 2), 4)
    -0.3333
    """
    return float(matthews_of(*class_counts(labels, predicted, classes)))


def kappa(labels: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Cohen's kappa: (a − e) / (1 − e) with the accuracy a and the chance agreement e = Σ sₖpₖ / N², in [−1, 1].

    NaN if all labels and all predictions are of one class.

    Args:
        labels: (N,) int64 in 0 … C−1.
        predicted: (N,) int64 in 0 … C−1.
        classes: C.

    >>> kappa(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), 2)
    0.5
    """
    return float(kappa_of(*class_counts(labels, predicted, classes)))


# --- scores from class counts, (…, C) each ----------------------------------------------------------------------------


def class_counts(labels: np.ndarray, predicted: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hits, support and predictions of each class: (C,) int64 each. `labels`, `predicted`: (N,) int64.

    >>> class_counts(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    (array([1, 1]), array([2, 1]), array([1, 2]))
    """
    hits, support, n_predicted = (np.bincount(c, minlength=classes) for c in (labels[labels == predicted], labels, predicted))
    return hits, support, n_predicted


def ratios(hits: np.ndarray, support: np.ndarray, n_predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of counts, with 0/0 = 0. All arguments: (…, C) counts → (…, C) float64.

    >>> [values.tolist() for values in ratios(np.array([1]), np.array([2]), np.array([4]))]
    [[0.25], [0.5], [0.3333333333333333]]
    """
    return _ratio(hits, n_predicted), _ratio(hits, support), _ratio(2 * hits, support + n_predicted)


def matthews_of(hits: np.ndarray, support: np.ndarray, n_predicted: np.ndarray) -> np.ndarray:
    """Matthews correlation coefficient of counts: (…, C) → (…) float64, NaN for 0/0.

    >>> float(matthews_of(np.array([2, 1]), np.array([3, 1]), np.array([2, 2])).round(4))
    0.5774
    """
    hits, support, n_predicted = (counts.astype(np.float64) for counts in (hits, support, n_predicted))
    n = support.sum(axis=-1)
    spread = (n**2 - (support**2).sum(axis=-1)) * (n**2 - (n_predicted**2).sum(axis=-1))
    covariance = n * hits.sum(axis=-1) - (support * n_predicted).sum(axis=-1)
    return _defined(covariance, np.sqrt(np.maximum(spread, 0)), n)


def kappa_of(hits: np.ndarray, support: np.ndarray, n_predicted: np.ndarray) -> np.ndarray:
    """Cohen's kappa of counts: (…, C) → (…) float64, NaN for 0/0.

    >>> float(kappa_of(np.array([2, 1]), np.array([2, 2]), np.array([3, 1])))
    0.5
    """
    hits, support, n_predicted = (counts.astype(np.float64) for counts in (hits, support, n_predicted))
    n = support.sum(axis=-1)
    chance = (support * n_predicted).sum(axis=-1)
    return _defined(n * hits.sum(axis=-1) - chance, n**2 - chance, n)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return numerator / np.where(denominator == 0, 1, denominator)


def _defined(numerator: np.ndarray, denominator: np.ndarray, n: np.ndarray) -> np.ndarray:
    zero = denominator < 1e-9 * n**2  # rounding error; a single image of another class gives n or more
    return np.where(zero, np.nan, numerator / np.where(zero, 1, denominator))
