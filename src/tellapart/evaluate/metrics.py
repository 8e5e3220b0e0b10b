"""Scores of predictions against labels: pure functions on arrays, and `score_all`, which adds n and 95 % intervals.

Notation: y labels, ŷ answers (the most probable class, the first of equals), p probabilities, C classes, N images.
Class averages ("macro") run over all C classes of the table, and a class whose ratio is 0/0 counts 0: the numbers equal
scikit-learn's `precision_recall_fscore_support(y, ŷ, labels=range(C), average="macro", zero_division=0)`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from tellapart.errors import DataError
from tellapart.evaluate.intervals import (
    Interval,
    auroc_interval,
    fraction_interval,
    group_codes,
    jackknife,
    placements,
    positive_interval,
    strata_of,
    wilson,
)
from tellapart.types import UNLABELLED, Predictions, Score

#: What `--rank-by` accepts, and the key of `score_all` that it means.
RANKINGS = {"accuracy": "accuracy", "macro-f1": "macro-f1", "auroc": "auroc", "log-loss": "log-loss"}

#: The scores that are functions of sums over images.
SUM_SCORES = ("accuracy", "macro-precision", "macro-recall", "macro-f1", "log-loss")

#: Probabilities are kept this far from 0 and 1 in the log-loss: the resolution of float32, as scikit-learn does.
CLIP = float(np.finfo(np.float32).eps)


def score_all(predictions: Predictions, positive: str | None = None) -> dict[str, Score]:
    """Every metric with its n and 95 % interval, in the order in which tables show them.

    Keys: accuracy, macro-precision, macro-recall, macro-f1, log-loss; and auroc when there are two classes and both
    occur among the labels. Intervals: Wilson for the accuracy of independent images, DeLong for AUROC, the stratified
    jackknife for the others (`tellapart.evaluate.intervals`). With groups, groups are what varies, not images.

    Args:
        predictions: Labelled predictions for at least one image.
        positive: The class whose probability AUROC ranks by; the second class when None.

    Raises:
        DataError: No image, an unlabelled image, or a `positive` that is not a class.

    >>> p = np.array([[.9, .1], [.8, .2], [.3, .7], [.6, .4]], dtype=np.float32)
    >>> ids = np.array(list("abcd"), dtype=object)
    >>> scores = score_all(Predictions(ids, p, np.array([0, 0, 1, 1]), ("real", "fake")), "fake")
    >>> print(scores["accuracy"])
    0.750 [0.301, 0.954] n=4
    >>> list(scores)
    ['accuracy', 'macro-precision', 'macro-recall', 'macro-f1', 'log-loss', 'auroc']
    """
    _refuse_unscorable(predictions, positive)
    codes = group_codes(predictions.groups)
    units = np.arange(len(predictions)) if codes is None else codes
    scores = _sum_scores(predictions, units)
    if len(predictions.classes) == 2 and len(np.unique(predictions.labels)) == 2:
        scores["auroc"] = _auroc_score(predictions, positive, units)
    return scores


# --- the metrics ------------------------------------------------------------------------------------------------------


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
    counts = confusion_matrix(labels, answers, classes)
    hits, support, answered = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    return PerClass(*_ratios(hits, support, answered), support)


def macro_precision(labels: np.ndarray, answers: np.ndarray, classes: int) -> float:
    """(1/C) Σ precision of class c. `labels`, `answers`: (N,) int64.

    >>> round(macro_precision(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 2), 4)
    0.8333
    """
    return float(per_class(labels, answers, classes).precision.mean())


def macro_recall(labels: np.ndarray, answers: np.ndarray, classes: int) -> float:
    """(1/C) Σ recall of class c. `labels`, `answers`: (N,) int64.

    >>> macro_recall(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 2)
    0.75
    """
    return float(per_class(labels, answers, classes).recall.mean())


def macro_f1(labels: np.ndarray, answers: np.ndarray, classes: int) -> float:
    """(1/C) Σ F1 of class c. `labels`, `answers`: (N,) int64.

    >>> round(macro_f1(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 2), 4)
    0.7333
    """
    return float(per_class(labels, answers, classes).f1.mean())


def log_loss(labels: np.ndarray, proba: np.ndarray) -> float:
    """The mean surprise in nats: −(1/N) Σ ln p(y), p clipped to [ε, 1−ε] with ε = 2⁻²³.

    Args:
        labels: (N,) int64 in 0 … C−1.
        proba: (N, C) float in [0, 1].

    >>> round(log_loss(np.array([0, 1]), np.array([[.5, .5], [.2, .8]])), 4)
    0.4581
    """
    return float(_surprises(labels, proba).mean())


def auroc(positive: np.ndarray, scores: np.ndarray) -> float:
    """The chance that a positive image scores above a negative one, ties counting ½: the area under the ROC curve.

    AUROC = (R₊ − m(m+1)/2) / (m·n), with R₊ the sum of the midranks of the m positive among all scores.

    Args:
        positive: (N,) bool; both values must occur.
        scores: (N,) float, for example the probability of the positive class.

    >>> auroc(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.4, 0.1]))
    0.875
    """
    return float(placements(positive, scores)[positive].mean())


# --- intervals --------------------------------------------------------------------------------------------------------


def _refuse_unscorable(predictions: Predictions, positive: str | None) -> None:
    if not len(predictions):
        raise DataError("there is nothing to score: no image was predicted", hint="give a split that has images")
    unlabelled = np.flatnonzero(predictions.labels == UNLABELLED)
    if len(unlabelled):
        first = predictions.ids[unlabelled[0]]
        raise DataError(
            f"{len(unlabelled)} of {len(predictions)} predictions have no label to be scored against, first {first!r}",
            hint="score only labelled images",
        )
    if positive is not None and positive not in predictions.classes:
        raise DataError(f"the positive class {positive!r} is not one of {', '.join(predictions.classes)}")


def _sum_scores(predictions: Predictions, units: np.ndarray) -> dict[str, Score]:
    """The scores that are functions of sums over images. `units`: (N,) int64, the unit of each image, 0 … U−1."""
    n, strata = len(predictions), strata_of(predictions.labels, units)
    sums = _sums_by_unit(predictions, units)
    whole = np.asarray(sums.sum(axis=0))[None]
    ratios = _ratios_of_sums(whole)
    right, *macro, surprise = (float(value) for value in _from_sums(whole, ratios)[0, : len(SUM_SCORES)])
    bias, variance = jackknife(sums, strata, lambda some: _from_sums(some, ratios))
    scores = {"accuracy": Score(right, n, *_accuracy_interval(right, n, variance[0], strata))}
    top, unseen = _limits(predictions.labels, units, len(predictions.classes))
    for i, name in enumerate(SUM_SCORES[1:-1], start=1):
        value = macro[i - 1]
        spread = variance[i] + unseen * max(0.0, value / top * (1 - value / top))  # rounding may leave value > top
        lean = bias[-1] if name == "macro-precision" else bias[i]
        scores[name] = Score(value, n, *fraction_interval(value, spread, strata, lean, top))
    interval = positive_interval(surprise, variance[len(SUM_SCORES) - 1], strata)
    return scores | {"log-loss": Score(surprise, n, *interval, higher_is_better=False, unit="nats")}


def _accuracy_interval(value: float, n: int, variance: float, strata: np.ndarray) -> Interval:
    return wilson(round(value * n), n) if len(strata) == n else fraction_interval(value, variance, strata)


def _limits(labels: np.ndarray, units: np.ndarray, classes: int) -> tuple[float, float]:
    """The highest class mean that is possible, as classes without an image count 0; and (1/C²) × classes of one unit.

    One unit cannot show how much its class varies. A share with mean p varies by p(1−p) at most, so that much is taken.
    """
    of_class = np.unique(np.stack([labels, units]), axis=1)[0]
    seen_in = np.bincount(of_class, minlength=classes)
    return float(np.mean(seen_in > 0)), float(np.sum(seen_in == 1)) / classes**2


def _sums_by_unit(predictions: Predictions, unit: np.ndarray) -> csr_array:
    """Hits, images and answers of each class, and the surprise, summed by image or group: (U, 3C+1) sparse float64."""
    n, classes = len(predictions), len(predictions.classes)
    labels, answers = predictions.labels, predictions.answers
    right = labels == answers
    columns = [labels[right], classes + labels, 2 * classes + answers, np.full(n, 3 * classes)]
    rows = [unit[right], unit, unit, unit]
    entries = [np.ones(int(right.sum()) + 2 * n), _surprises(labels, predictions.proba)]
    where = (np.concatenate(rows), np.concatenate(columns))
    return csr_array((np.concatenate(entries), where), shape=(int(unit.max()) + 1, 3 * classes + 1))


def _ratios_of_sums(sums: np.ndarray) -> np.ndarray:
    """Precision, recall and F1 of each class. `sums`: (B, 3C+1), columns as in `_sums_by_unit` → (3, B, C) float64."""
    return np.stack(_ratios(*np.split(sums[:, :-1], 3, axis=1)))


def _from_sums(sums: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """`SUM_SCORES` of sums, and macro precision once more: (B, 3C+1) → (B, 6) float64.

    A class of which no image is left keeps its ratios `kept`, (3, 1, C): it has not become worse. In the last column a
    class that is no answer any more keeps its precision, too. That is for the bias: the jump to 0/0 = 0 is part of how
    macro precision varies, but the jackknife multiplies a jump into a bias that is not there.
    """
    hits, support, answered = np.split(sums[:, :-1], 3, axis=1)
    n = support.sum(axis=1)
    ratios = np.where(support == 0, kept, _ratios_of_sums(sums))
    smooth = np.where(answered == 0, kept[0], ratios[0]).mean(axis=1)
    return np.stack([hits.sum(axis=1) / n, *ratios.mean(axis=2), sums[:, -1] / n, smooth], axis=1)


def _ratios(hits: np.ndarray, support: np.ndarray, answered: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1, 0/0 = 0. All arguments: (…, C) counts → (…, C) float64."""
    return _ratio(hits, answered), _ratio(hits, support), _ratio(2 * hits, support + answered)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return part / np.where(whole == 0, 1, whole)


def _surprises(labels: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """−ln of the probability of the right class, clipped: (N,) float64, nats."""
    given = proba[np.arange(len(labels)), labels].astype(np.float64)
    return -np.log(np.clip(given, CLIP, 1 - CLIP))


def _auroc_score(predictions: Predictions, positive: str | None, units: np.ndarray) -> Score:
    target = 1 if positive is None else predictions.classes.index(positive)
    scores, is_positive = np.asarray(predictions.proba)[:, target], predictions.labels == target
    return Score(auroc(is_positive, scores), len(predictions), *auroc_interval(is_positive, scores, units))
