"""All scores of predictions against labels, each with n and 95 % interval.

The formulas stand with the functions: `answers` (accuracy, precision, Matthews, …), `probability` (log-loss, Brier, top k),
`reliability` (calibration error) and `detection` (AUROC and other scores of a ranking). A score that is not defined for these
labels is left out, never 0; `undefined` says which, and why.
"""

from __future__ import annotations

import numpy as np

from tellapart.errors import DataError
from tellapart.metrics import roc, roc_intervals
from tellapart.metrics.classification import PerClass, confusion_matrix, per_class
from tellapart.metrics.intervals import fraction_interval, group_codes, variance_within, wilson
from tellapart.metrics.jackknife import MeanScore, count_scores
from tellapart.metrics.probabilistic import brier_per_sample, nll_per_sample, true_class_rank
from tellapart.metrics.reliability import calibration_interval, expected_calibration_error
from tellapart.metrics.roc import roc_curve, roc_curve_small
from tellapart.metrics.roc_intervals import macro_interval
from tellapart.types import UNLABELED, Predictions, Score

__all__ = ["RANKINGS", "PerClass", "confusion_matrix", "per_class", "score_all", "score_classes", "undefined"]

#: What `--rank-by` accepts, and the key of `score_all` that it means.
RANKINGS = {
    name: name
    for name in ("accuracy", "macro-f1", "auroc", "log-loss", "balanced-accuracy", "matthews", "macro-auroc", "brier", "ece")
}

#: The scores of old, in the order in which tables show them; the others follow.
FIRST = ("accuracy", "macro-precision", "macro-recall", "macro-f1", "log-loss", "auroc")

#: Scores of one class against the other, when there are two: values and intervals.
_BINARY = ("auroc", "average-precision", "eer", "partial-auroc", "tpr-at-1-fpr", "tpr-at-5-fpr")
_MULTICLASS = ("macro-auroc", "macro-average-precision")
_TOP_K = (3, 5)


def score_all(predictions: Predictions, positive: str | None = None) -> dict[str, Score]:
    """Every metric with its n and 95 % interval, in the order in which tables show them.

    Keys: accuracy, macro-precision, macro-recall, macro-f1, log-loss, auroc (two classes), balanced-accuracy, micro- and
    weighted-precision, -recall and -f1, matthews, kappa, top-3 and top-5 (more classes than that), brier, ece; with two
    classes average-precision, eer, partial-auroc (FPR ≤ 0.1, standardized), tpr-at-1-fpr and tpr-at-5-fpr (% of false
    positives); with more classes macro-auroc and macro-average-precision, one class against the rest, the mean over those
    that occur. What is undefined is left out: `undefined` says why. Of single classes: `score_classes`.

    Intervals: Wilson for shares of independent images, DeLong and other influences for rankings, the stratified jackknife for
    the others. With groups, groups are what varies, not images.

    Args:
        predictions: Labeled predictions for at least one image.
        positive: The class whose probability AUROC and its kin rank by; the second class when None.

    Raises:
        DataError: No image, an unlabeled image, or a `positive` that is not a class.

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
    scores |= {f"micro-{of}": scores["accuracy"] for of in ("precision", "recall", "f1")}
    scores["ece"] = _calibration_score(predictions, units)
    if len(np.unique(labels)) > 1:
        scores |= _binary_scores(predictions, positive, units) if classes == 2 else _multiclass_scores(predictions, units)
    rest = sorted(set(scores) - set(FIRST), key=_order().index)
    return {name: scores[name] for name in (*FIRST, *rest) if name in scores}


def undefined(predictions: Predictions) -> dict[str, str]:
    """The scores that `score_all` leaves out, each with the reason.

    Args:
        predictions: Labeled predictions for at least one image.

    >>> p = np.array([[.9, .1], [.8, .2]], dtype=np.float32)
    >>> why = undefined(Predictions(np.array(["a", "b"], dtype=object), p, np.array([0, 0]), ("real", "fake")))
    >>> why["auroc"], why["kappa"]
    ('all images are of one class (real)', 'all images and all answers are of one class (real)')
    """
    labels, answers, names = predictions.labels, predictions.predicted, predictions.classes
    occur, given = np.unique(labels), np.unique(answers)
    one = f"all images are of one class ({names[occur[0]]})" if len(occur) == 1 else ""
    of_two, of_many = "it is for two classes", "with two classes it is `auroc` or `average-precision`"
    found = {name: one or (of_two if len(names) != 2 else "") for name in _BINARY}
    found |= {name: of_many if len(names) == 2 else one for name in _MULTICLASS}
    found["matthews"] = one or (f"all answers are one class ({names[given[0]]})" if len(given) == 1 else "")
    same = len(occur) == len(given) == 1 and occur[0] == given[0]
    found["kappa"] = f"all images and all answers are of one class ({names[occur[0]]})" if same else ""
    found |= {f"top-{k}": f"there are no more than {k} classes" if len(names) <= k else "" for k in _TOP_K}
    return {name: found[name] for name in _order() if found.get(name)}


def score_classes(predictions: Predictions) -> dict[str, dict[str, Score]]:
    """Precision, recall and F1 of each class: class → score, each with its own n; a ratio 0/0 is left out.

    n is what the share is taken of: the answers (precision), the images (recall), the images and answers together less the
    hits (F1: with J = hits / n it is 2J / (1 + J), and so are the ends of its interval). Wilson's intervals; with groups
    the variance of a ratio over groups.

    Args:
        predictions: Labeled predictions for at least one image.

    >>> p = np.array([[.9, .1], [.4, .6], [.3, .7], [.2, .8]], dtype=np.float32)
    >>> ids = np.array(list("abcd"), dtype=object)
    >>> found = score_classes(Predictions(ids, p, np.array([0, 0, 1, 1]), ("real", "fake")))
    >>> {name: str(score) for name, score in found["fake"].items()}["precision"]
    '0.667 [0.208, 0.939] n=3'
    """
    _check_scorable(predictions, None)
    units, right = _units(predictions), predictions.labels == predictions.predicted
    found = {}
    for c, name in enumerate(predictions.classes):
        is_class, is_answer = predictions.labels == c, predictions.predicted == c
        wholes = {"precision": is_answer, "recall": is_class, "f1": is_class | is_answer}
        found[name] = {of: _ratio_score(right & whole, whole, units) for of, whole in wholes.items() if whole.any()}
        if "f1" in found[name]:
            found[name]["f1"] = _from_jaccard(found[name]["f1"])
    return found


# --- parts of score_all -----------------------------------------------------------------------------------------------


def _check_scorable(predictions: Predictions, positive: str | None) -> None:
    if not len(predictions):
        raise DataError("there is nothing to score: no image was predicted", hint="give a split that has images")
    unlabeled = np.flatnonzero(predictions.labels == UNLABELED)
    if len(unlabeled):
        first = predictions.ids[unlabeled[0]]
        raise DataError(
            f"{len(unlabeled)} of {len(predictions)} predictions have no label to be scored against, first {first!r}",
            hint="score only labeled images",
        )
    if positive is not None and positive not in predictions.classes:
        raise DataError(f"the positive class {positive!r} is not one of {', '.join(predictions.classes)}")


def _units(predictions: Predictions) -> np.ndarray:
    """What varies: groups where there are any, else images. (N,) int64."""
    codes = group_codes(predictions.groups)
    return np.arange(len(predictions)) if codes is None else codes


def _order() -> list[str]:
    averages = [f"{average}-{of}" for average in ("micro", "weighted") for of in ("precision", "recall", "f1")]
    of_answers = ["balanced-accuracy", *averages, "matthews", "kappa"]
    return [*FIRST, *of_answers, *(f"top-{k}" for k in _TOP_K), "brier", "ece", *_BINARY[1:], *_MULTICLASS]


def _means(predictions: Predictions) -> dict[str, MeanScore]:
    """The scores that are plain means over images."""
    labels, proba = predictions.labels, np.asarray(predictions.proba)
    classes = proba.shape[1]
    found = {"log-loss": MeanScore(nll_per_sample(labels, proba), top=None, higher_is_better=False, unit="nats")}
    stands = true_class_rank(labels, proba)
    found |= {f"top-{k}": MeanScore(stands < k) for k in _TOP_K if classes > k}
    most = 1.0 if classes == 2 else 2.0
    return found | {"brier": MeanScore(brier_per_sample(labels, proba), top=most, higher_is_better=False)}


def _calibration_score(predictions: Predictions, units: np.ndarray) -> Score:
    labels, proba = predictions.labels, np.asarray(predictions.proba)
    interval = calibration_interval(labels, proba, units)
    return Score(expected_calibration_error(labels, proba), len(labels), *interval, higher_is_better=False)


def _binary_scores(predictions: Predictions, positive: str | None, units: np.ndarray) -> dict[str, Score]:
    """The scores of how the two classes rank, from one sweep of the threshold."""
    target = 1 if positive is None else predictions.classes.index(positive)
    sweep, n = roc_curve(predictions.labels == target, np.asarray(predictions.proba)[:, target]), len(predictions)
    partial = roc.standardized(roc.partial_area(sweep, roc.PARTIAL), roc.PARTIAL)
    found = {
        "auroc": Score(roc.area(sweep), n, *roc_intervals.auroc_interval(sweep, units)),
        "average-precision": Score(roc.precision_area(sweep), n, *roc_intervals.average_precision_interval(sweep, units)),
        "eer": Score(roc.eer_point(sweep)[0], n, *roc_intervals.equal_error_interval(sweep, units), higher_is_better=False),
        "partial-auroc": Score(partial, n, *roc_intervals.partial_auroc_interval(sweep, units)),
    }
    for percent in (1, 5):
        value = float(sweep.tpr[roc.tpr_at(sweep, percent / 100)])
        found[f"tpr-at-{percent}-fpr"] = Score(value, n, *roc_intervals.tpr_interval(sweep, units, percent / 100))
    return found


def _multiclass_scores(predictions: Predictions, units: np.ndarray) -> dict[str, Score]:
    """Each class that occurs against the rest, and the mean over them."""
    labels, proba = predictions.labels, np.asarray(predictions.proba)
    sweeps = {int(c): roc_curve_small(labels == c, proba[:, c]) for c in np.unique(labels)}
    found = {}
    for name, of, influences in (
        ("macro-auroc", roc.area, roc_intervals.auroc_influences),
        ("macro-average-precision", roc.precision_area, roc_intervals.precision_influences),
    ):
        value = float(np.mean([of(sweep) for sweep in sweeps.values()]))
        found[name] = Score(value, len(labels), *macro_interval(sweeps, influences, value, labels, units))
    return found


# --- parts of score_classes -------------------------------------------------------------------------------------------


def _ratio_score(part: np.ndarray, whole: np.ndarray, units: np.ndarray) -> Score:
    """Σ part / Σ whole. `part`, `whole`: (N,) bool; `units`: (N,) int64."""
    hits, n = int(part.sum()), int(whole.sum())
    value = hits / n
    if len(units) == int(units.max()) + 1:
        return Score(value, n, *wilson(hits, n))
    _, own = np.unique(units[whole], return_inverse=True)
    residuals = np.bincount(own, weights=(part[whole] - value) / n)
    one = np.zeros(len(residuals), dtype=np.int64)
    return Score(value, n, *fraction_interval(value, variance_within(residuals, one), one))


def _from_jaccard(score: Score) -> Score:
    value, low, high = (2 * share / (1 + share) for share in (score.value, score.low, score.high))
    return Score(value, score.n, low, high)
