"""All scores of labeled predictions, each with n and 95 % interval.

Formulas are documented with the functions: `classification` (accuracy, precision, Matthews, …), `probabilistic` (log-loss,
Brier, top k), `reliability` (calibration error) and `roc` (AUROC and other scores of the ROC curve). A score that is undefined
for the given labels is omitted, never 0; `undefined` returns the omitted scores and the reasons.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tellapart.errors import DataError
from tellapart.metrics import roc, roc_intervals
from tellapart.metrics.classification import PerClass, confusion_matrix, per_class
from tellapart.metrics.intervals import group_codes, share_interval
from tellapart.metrics.jackknife import MeanScore, count_scores
from tellapart.metrics.probabilistic import brier_per_sample, nll_per_sample, true_class_rank
from tellapart.metrics.reliability import calibration_interval, expected_calibration_error
from tellapart.metrics.roc import roc_curve, roc_curve_small
from tellapart.metrics.roc_intervals import macro_interval
from tellapart.types import UNLABELED, Predictions, Score

__all__ = ["RANKINGS", "PerClass", "confusion_matrix", "per_class", "score_all", "score_classes", "undefined"]

#: Values of `--rank-by`, with the corresponding key of `score_all`.
RANKINGS = {
    name: name
    for name in ("accuracy", "macro-f1", "auroc", "log-loss", "balanced-accuracy", "matthews", "macro-auroc", "brier", "ece")
}

#: The first scores, in the order in which tables show them; all others follow.
FIRST = ("accuracy", "macro-precision", "macro-recall", "macro-f1", "log-loss", "auroc")

#: Scores that are defined for two classes only.
_BINARY = ("auroc", "average-precision", "eer", "partial-auroc", "tpr-at-1-fpr", "tpr-at-5-fpr")
_MULTICLASS = ("macro-auroc", "macro-average-precision")
_TOP_K = (3, 5)


def score_all(predictions: Predictions, positive: str | None = None) -> dict[str, Score]:
    """Compute all scores with n and 95 % interval, in the order in which tables show them.

    Keys: accuracy, macro-precision, macro-recall, macro-f1, log-loss, auroc (two classes), balanced-accuracy, micro- and
    weighted-precision, -recall and -f1, matthews, kappa, top-3 and top-5 (more than k classes), brier, ece; with two classes
    average-precision, eer, partial-auroc (FPR ≤ 0.1, standardized), tpr-at-1-fpr and tpr-at-5-fpr (FPR in %); with more classes
    macro-auroc and macro-average-precision, the mean of the one-vs-rest scores of the classes that occur. Undefined scores are
    omitted; `undefined` returns the reasons. Scores of single classes: `score_classes`.

    Intervals: Wilson for proportions, DeLong and other influences for scores of the ROC curve, the stratified jackknife for all
    others. They are for the score on the population from which the images were drawn, with its class frequencies (see
    `intervals`). With groups, the sampling unit is the group, not the image.

    Args:
        predictions: Labeled predictions for at least one image.
        positive: The class whose probability is the score of the ROC curve; the second class if None.

    Raises:
        DataError: There is no image, an image has no label, or `positive` is not a class.

    >>> p = np.array([[.9, .1], [.8, .2], [.3, .7], [.6, .4]], dtype=np.float32)
    >>> ids = np.array(list("abcd"), dtype=object)
    >>> scores = score_all(Predictions(ids, p, np.array([0, 0, 1, 1]), ("real", "fake")), "fake")
    >>> print(scores["accuracy"])
    0.750 [0.301, 0.954] n=4
    >>> list(scores)[:6]
    ['accuracy', 'macro-precision', 'macro-recall', 'macro-f1', 'log-loss', 'auroc']
    """
    _check_scorable(predictions, positive)
    units = _units(predictions)
    labels, classes = predictions.labels, len(predictions.classes)
    scores = count_scores(labels, predictions.predicted, classes, units, _means(predictions))
    scores |= {f"micro-{name}": scores["accuracy"] for name in ("precision", "recall", "f1")}
    scores["ece"] = _calibration_score(predictions, units)
    if len(np.unique(labels)) > 1:
        scores |= _binary_scores(predictions, positive, units) if classes == 2 else _multiclass_scores(predictions, units)
    rest = sorted(set(scores) - set(FIRST), key=_order().index)
    return {name: scores[name] for name in (*FIRST, *rest) if name in scores}


def undefined(predictions: Predictions) -> dict[str, str]:
    """Return the scores that `score_all` omits, each with the reason.

    Args:
        predictions: Labeled predictions for at least one image.

    >>> p = np.array([[.9, .1], [.8, .2]], dtype=np.float32)
    >>> why = undefined(Predictions(np.array(["a", "b"], dtype=object), p, np.array([0, 0]), ("real", "fake")))
    >>> why["auroc"], why["kappa"]
    ('all images are of one class (real)', 'all images and all predictions are of one class (real)')
    """
    labels, predicted, names = predictions.labels, predictions.predicted, predictions.classes
    occur, given = np.unique(labels), np.unique(predicted)
    one = f"all images are of one class ({names[occur[0]]})" if len(occur) == 1 else ""
    binary, multiclass = "defined for two classes only", "for two classes use `auroc` or `average-precision`"
    reasons = {name: one or (binary if len(names) != 2 else "") for name in _BINARY}
    reasons |= {name: multiclass if len(names) == 2 else one for name in _MULTICLASS}
    reasons["matthews"] = one or (f"all predictions are of one class ({names[given[0]]})" if len(given) == 1 else "")
    same = len(occur) == len(given) == 1 and occur[0] == given[0]
    reasons["kappa"] = f"all images and all predictions are of one class ({names[occur[0]]})" if same else ""
    reasons |= {f"top-{k}": f"there are no more than {k} classes" if len(names) <= k else "" for k in _TOP_K}
    return {name: reasons[name] for name in _order() if reasons.get(name)}


def score_classes(predictions: Predictions, chosen: Sequence[int] | None = None) -> dict[str, dict[str, Score]]:
    """Compute precision, recall and F1 of each class, each with its own n; a ratio 0/0 is omitted.

    n is the denominator of the ratio: the predictions of the class (precision), its images (recall), or images and predictions
    minus hits (F1: with J = hits / n it is 2J / (1 + J), and so are the limits of its interval). Intervals are Wilson's; with
    groups, n is the effective number of images (`intervals.share_interval`).

    Args:
        predictions: Labeled predictions for at least one image.
        chosen: Labels of the classes to score; None: all.

    >>> p = np.array([[.9, .1], [.4, .6], [.3, .7], [.2, .8]], dtype=np.float32)
    >>> ids = np.array(list("abcd"), dtype=object)
    >>> scores = score_classes(Predictions(ids, p, np.array([0, 0, 1, 1]), ("real", "fake")))
    >>> {name: str(score) for name, score in scores["fake"].items()}["precision"]
    '0.667 [0.208, 0.939] n=3'
    """
    _check_scorable(predictions, None)
    units, predicted = _units(predictions), predictions.predicted
    right, scores = predictions.labels == predicted, {}
    for c in range(len(predictions.classes)) if chosen is None else chosen:
        name = predictions.classes[c]
        is_class, is_predicted = predictions.labels == c, predicted == c
        bases = {"precision": is_predicted, "recall": is_class, "f1": is_class | is_predicted}
        scores[name] = {score: _ratio_score(right & base, base, units) for score, base in bases.items() if base.any()}
        if "f1" in scores[name]:
            scores[name]["f1"] = _from_jaccard(scores[name]["f1"])
    return scores


# --- parts of score_all -----------------------------------------------------------------------------------------------


def _check_scorable(predictions: Predictions, positive: str | None) -> None:
    if not len(predictions):
        raise DataError("there are no predictions to score", hint="give a split that has images")
    unlabeled = np.flatnonzero(predictions.labels == UNLABELED)
    if len(unlabeled):
        first = predictions.ids[unlabeled[0]]
        raise DataError(
            f"{len(unlabeled)} of {len(predictions)} predictions have no label, the first is {first!r}",
            hint="score only labeled images",
        )
    if positive is not None and positive not in predictions.classes:
        raise DataError(f"the positive class {positive!r} is not one of {', '.join(predictions.classes)}")


def _units(predictions: Predictions) -> np.ndarray:
    """Sampling unit of each image: its group if there are groups, else the image itself. (N,) int64."""
    codes = group_codes(predictions.groups)
    return np.arange(len(predictions)) if codes is None else codes


def _order() -> list[str]:
    averages = [f"{average}-{name}" for average in ("micro", "weighted") for name in ("precision", "recall", "f1")]
    predicted = ["balanced-accuracy", *averages, "matthews", "kappa"]
    return [*FIRST, *predicted, *(f"top-{k}" for k in _TOP_K), "brier", "ece", *_BINARY[1:], *_MULTICLASS]


def _means(predictions: Predictions) -> dict[str, MeanScore]:
    """Scores that are means over images."""
    labels, proba = predictions.labels, np.asarray(predictions.proba)
    classes = proba.shape[1]
    found = {"log-loss": MeanScore(nll_per_sample(labels, proba), top=None, higher_is_better=False, unit="nats")}
    rank = true_class_rank(labels, proba)
    found |= {f"top-{k}": MeanScore(rank < k) for k in _TOP_K if classes > k}
    most = 1.0 if classes == 2 else 2.0
    return found | {"brier": MeanScore(brier_per_sample(labels, proba), top=most, higher_is_better=False)}


def _calibration_score(predictions: Predictions, units: np.ndarray) -> Score:
    labels, proba = predictions.labels, np.asarray(predictions.proba)
    interval = calibration_interval(labels, proba, units)
    return Score(expected_calibration_error(labels, proba), len(labels), *interval, higher_is_better=False)


def _binary_scores(predictions: Predictions, positive: str | None, units: np.ndarray) -> dict[str, Score]:
    """Scores of the ROC curve of two classes."""
    target = 1 if positive is None else predictions.classes.index(positive)
    curve, n = roc_curve(predictions.labels == target, np.asarray(predictions.proba)[:, target]), len(predictions)
    partial = roc.standardized(roc.partial_area(curve, roc.PARTIAL), roc.PARTIAL)
    found = {
        "auroc": Score(roc.area(curve), n, *roc_intervals.auroc_interval(curve, units)),
        "average-precision": Score(roc.precision_area(curve), n, *roc_intervals.average_precision_interval(curve, units)),
        "eer": Score(roc.eer_point(curve)[0], n, *roc_intervals.equal_error_interval(curve, units), higher_is_better=False),
        "partial-auroc": Score(partial, n, *roc_intervals.partial_auroc_interval(curve, units)),
    }
    for percent in (1, 5):
        value = float(curve.tpr[roc.tpr_at(curve, percent / 100)])
        found[f"tpr-at-{percent}-fpr"] = Score(value, n, *roc_intervals.tpr_interval(curve, units, percent / 100))
    return found


def _multiclass_scores(predictions: Predictions, units: np.ndarray) -> dict[str, Score]:
    """Mean of the one-vs-rest scores of the classes that occur."""
    labels, proba = predictions.labels, np.asarray(predictions.proba)
    curves = {int(c): roc_curve_small(labels == c, proba[:, c]) for c in np.unique(labels)}
    found = {}
    for name, score, influences in (
        ("macro-auroc", roc.area, roc_intervals.auroc_influences),
        ("macro-average-precision", roc.precision_area, roc_intervals.precision_influences),
    ):
        value = float(np.mean([score(curve) for curve in curves.values()]))
        found[name] = Score(value, len(labels), *macro_interval(curves, influences, value, labels, units))
    return found


# --- parts of score_classes -------------------------------------------------------------------------------------------


def _ratio_score(part: np.ndarray, whole: np.ndarray, units: np.ndarray) -> Score:
    """Score Σ part / Σ whole. `part`, `whole`: (N,) bool; `units`: (N,) int64."""
    own = np.unique(units[whole], return_inverse=True)[1]
    return Score(float(part[whole].mean()), int(whole.sum()), *share_interval(part[whole], own))


def _from_jaccard(score: Score) -> Score:
    value, low, high = (2 * share / (1 + share) for share in (score.value, score.low, score.high))
    return Score(value, score.n, low, high)
