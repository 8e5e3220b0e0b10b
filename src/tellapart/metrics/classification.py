"""Scores of answers against labels, probabilities aside: counts, shares of classes, agreement beyond chance.

Notation: y labels, ŷ answers (the most probable class, the first of equals), C classes, N images; of class c, hits are the
images of c answered c, images those of c, answers those answered c. In precision, recall and F1 a ratio 0/0 counts 0, as in
scikit-learn's `precision_recall_fscore_support(y, ŷ, labels=range(C), average=…, zero_division=0)`. Elsewhere a score
that is 0/0 is NaN, and `tellapart.metrics.score_all.score_all` leaves it out.

Sources:
    Matthews (1975), "Comparison of the predicted and observed secondary structure of T4 phage lysozyme"; for more than
    two classes Gorodkin (2004), "Comparing two K-category assignments by a K-category correlation coefficient".
    Cohen (1960), "A coefficient of agreement for nominal scales".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


def confusion_matrix(labels: np.ndarray, answers: np.ndarray, classes: int) -> np.ndarray:
    """Counts: entry (i, j) is how many images of class i were answered j.

    Args:
        labels: (N,) int64 in 0 … C−1.
        answers: (N,) int64 in 0 … C−1.
        classes: C.

    Returns:
        (C, C) int64.

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    array([[1, 1],
           [0, 1]])
    """
    return np.bincount(labels * classes + answers, minlength=classes * classes).reshape(classes, classes)


def confusion_shares(counts: np.ndarray, by: str) -> np.ndarray:
    """The confusion matrix as shares of the images of each class (`by` "row") or of the answers ("column").

    Args:
        counts: (C, C) int64, rows are true classes.
        by: "row" or "column".

    Returns:
        (C, C) float64 in [0, 1]; NaN where a class has no image (or was never answered).

    >>> confusion_shares(np.array([[3, 1], [0, 4]]), "row").tolist()
    [[0.75, 0.25], [0.0, 1.0]]
    >>> confusion_shares(np.array([[3, 1], [0, 4]]), "column").tolist()
    [[1.0, 0.2], [0.0, 0.8]]
    """
    whole = counts.sum(axis={"row": 1, "column": 0}[by], keepdims=True)
    return np.where(whole == 0, np.nan, _ratio(counts, whole))


def accuracy(labels: np.ndarray, answers: np.ndarray) -> float:
    """The share of right answers: (1/N) Σ [y = ŷ]. `labels`, `answers`: (N,) int64.

    >>> accuracy(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]))
    0.75
    """
    return float(np.mean(labels == answers))


def balanced_accuracy(labels: np.ndarray, answers: np.ndarray) -> float:
    """The mean recall of the classes that occur among the labels. `labels`, `answers`: (N,) int64.

    Unlike `macro_recall` it leaves out classes without an image.

    >>> balanced_accuracy(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))
    0.5
    """
    support = np.bincount(labels)
    hits = np.bincount(labels[labels == answers], minlength=len(support))
    return float(np.mean(hits[support > 0] / support[support > 0]))


# --- precision, recall, F1 --------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PerClass:
    """Scores of each class, in label order.

    Attributes:
        precision: (C,) float64 in [0, 1], hits / answers.
        recall: (C,) float64 in [0, 1], hits / images.
        f1: (C,) float64 in [0, 1], 2 hits / (images + answers).
        support: (C,) int64, images of the class.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray

    def to_frame(self, classes: tuple[str, ...]) -> pd.DataFrame:
        """One row a class: precision, recall, f1, support."""
        columns = {"precision": self.precision, "recall": self.recall, "f1": self.f1, "support": self.support}
        return pd.DataFrame(columns, index=pd.Index(classes, name="class"))


def per_class(labels: np.ndarray, answers: np.ndarray, classes: int) -> PerClass:
    """Precision, recall, F1 and support of each class; 0/0 is 0.

    Args:
        labels: (N,) int64 in 0 … C−1.
        answers: (N,) int64 in 0 … C−1.
        classes: C.

    >>> found = per_class(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 3)
    >>> found.precision.round(3).tolist(), found.recall.tolist(), found.f1.round(3).tolist(), found.support.tolist()
    ([1.0, 0.667, 0.0], [0.5, 1.0, 0.0], [0.667, 0.8, 0.0], [2, 2, 0])
    """
    hits, support, answered = class_counts(labels, answers, classes)
    return PerClass(*ratios(hits, support, answered), support)


def precision_recall_f1(labels: np.ndarray, answers: np.ndarray, classes: int, average: str) -> tuple[float, float, float]:
    """Precision, recall and F1 over the classes.

    Args:
        labels: (N,) int64 in 0 … C−1.
        answers: (N,) int64 in 0 … C−1.
        classes: C.
        average: "macro", (1/C) Σ over all C classes; "weighted", Σ (images of c / N) × that of c, whose recall is the
            accuracy; "micro", of the summed counts, where all three are the accuracy, as every image has one answer.

    >>> y, answers = np.array([0, 0, 0, 1]), np.array([0, 1, 0, 1])
    >>> [round(v, 4) for v in precision_recall_f1(y, answers, 2, "macro")]
    [0.75, 0.8333, 0.7333]
    >>> [round(v, 4) for v in precision_recall_f1(y, answers, 2, "weighted")]
    [0.875, 0.75, 0.7667]
    >>> precision_recall_f1(y, answers, 2, "micro")
    (0.75, 0.75, 0.75)
    """
    if average == "micro":
        share = accuracy(labels, answers)
        return share, share, share
    each = per_class(labels, answers, classes)
    weights = np.full(classes, 1 / classes) if average == "macro" else each.support / each.support.sum()
    return float(each.precision @ weights), float(each.recall @ weights), float(each.f1 @ weights)


def macro_precision(labels: np.ndarray, answers: np.ndarray, classes: int) -> float:
    """(1/C) Σ precision of class c. `labels`, `answers`: (N,) int64.

    >>> round(macro_precision(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 2), 4)
    0.8333
    """
    return precision_recall_f1(labels, answers, classes, "macro")[0]


def macro_recall(labels: np.ndarray, answers: np.ndarray, classes: int) -> float:
    """(1/C) Σ recall of class c. `labels`, `answers`: (N,) int64.

    >>> macro_recall(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 2)
    0.75
    """
    return precision_recall_f1(labels, answers, classes, "macro")[1]


def macro_f1(labels: np.ndarray, answers: np.ndarray, classes: int) -> float:
    """(1/C) Σ F1 of class c. `labels`, `answers`: (N,) int64.

    >>> round(macro_f1(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 2), 4)
    0.7333
    """
    return precision_recall_f1(labels, answers, classes, "macro")[2]


# --- agreement beyond chance ------------------------------------------------------------------------------------------


def matthews(labels: np.ndarray, answers: np.ndarray, classes: int) -> float:
    """Matthews' correlation (Gorodkin's R_K): (N·h − Σ sₖaₖ) / √((N² − Σ sₖ²)(N² − Σ aₖ²)), in [−1, 1].

    h hits in all, sₖ images and aₖ answers of class k. NaN when all labels, or all answers, are one class.

    Args:
        labels: (N,) int64 in 0 … C−1.
        answers: (N,) int64 in 0 … C−1.
        classes: C.

    >>> round(matthews(np.array([1, 1, 1, 0]), np.array([1, 0, 1, 1]), 2), 4)
    -0.3333
    """
    return float(matthews_of(*class_counts(labels, answers, classes)))


def kappa(labels: np.ndarray, answers: np.ndarray, classes: int) -> float:
    """Cohen's kappa: (p − pₑ) / (1 − pₑ), p the accuracy and pₑ = Σ sₖaₖ / N² that of chance, in [−1, 1].

    NaN when all labels and all answers are one class.

    Args:
        labels: (N,) int64 in 0 … C−1.
        answers: (N,) int64 in 0 … C−1.
        classes: C.

    >>> kappa(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), 2)
    0.5
    """
    return float(kappa_of(*class_counts(labels, answers, classes)))


# --- the same from counts of classes, (…, C) each ---------------------------------------------------------------------


def class_counts(labels: np.ndarray, answers: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hits, images and answers of each class: (C,) int64 each. `labels`, `answers`: (N,) int64.

    >>> class_counts(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    (array([1, 1]), array([2, 1]), array([1, 2]))
    """
    hits, support, answered = (np.bincount(of, minlength=classes) for of in (labels[labels == answers], labels, answers))
    return hits, support, answered


def ratios(hits: np.ndarray, support: np.ndarray, answered: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1, 0/0 = 0. All arguments: (…, C) counts → (…, C) float64.

    >>> [of.tolist() for of in ratios(np.array([1]), np.array([2]), np.array([4]))]
    [[0.25], [0.5], [0.3333333333333333]]
    """
    return _ratio(hits, answered), _ratio(hits, support), _ratio(2 * hits, support + answered)


def matthews_of(hits: np.ndarray, support: np.ndarray, answered: np.ndarray) -> np.ndarray:
    """`matthews` of counts (…, C) → (…) float64, NaN for 0/0.

    >>> float(matthews_of(np.array([2, 1]), np.array([3, 1]), np.array([2, 2])).round(4))
    0.5774
    """
    hits, support, answered = (of.astype(np.float64) for of in (hits, support, answered))
    n = support.sum(axis=-1)
    spread = (n**2 - (support**2).sum(axis=-1)) * (n**2 - (answered**2).sum(axis=-1))
    covariance = n * hits.sum(axis=-1) - (support * answered).sum(axis=-1)
    return _defined(covariance, np.sqrt(np.maximum(spread, 0)), n)


def kappa_of(hits: np.ndarray, support: np.ndarray, answered: np.ndarray) -> np.ndarray:
    """`kappa` of counts (…, C) → (…) float64, NaN for 0/0.

    >>> float(kappa_of(np.array([2, 1]), np.array([2, 2]), np.array([3, 1])))
    0.5
    """
    hits, support, answered = (of.astype(np.float64) for of in (hits, support, answered))
    n = support.sum(axis=-1)
    chance = (support * answered).sum(axis=-1)
    return _defined(n * hits.sum(axis=-1) - chance, n**2 - chance, n)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return part / np.where(whole == 0, 1, whole)


def _defined(part: np.ndarray, whole: np.ndarray, n: np.ndarray) -> np.ndarray:
    nothing = whole < 1e-9 * n**2  # rounding; one image out of place leaves n or more
    return np.where(nothing, np.nan, part / np.where(nothing, 1, whole))
