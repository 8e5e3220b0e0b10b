"""Labels that are probably wrong: confident learning on out-of-fold predictions (`metrics/label_issues.py`).

A fast model predicts the labels in cross-validation; if it predicts them poorly, the check is skipped. The score of an image is
1 minus the predicted probability of its label. An image is flagged if confident learning prunes it and its label has a
probability below 0.05 (option `doubt`): candidates for a review. Hard images are contradicted, too, so two tests must agree
before the check reports a problem; otherwise only labels with a probability below 0.01 are flagged, as a notice.

1. More labels have p < 0.01 than a calibrated model explains: the expected number is the sum of those p.
2. The errors have a floor (`checks._label_noise`): the more confident the model, the rarer are its errors, whatever its
   calibration; wrong labels are as frequent among confident predictions as elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import Field
from scipy.optimize import brentq
from scipy.special import softmax

from tellapart.checks._dataset_view import DatasetView
from tellapart.checks._label_noise import SMALL, estimate_label_noise
from tellapart.checks._shortcut import REVERSED, independent_groups
from tellapart.checks._shortcut_model import FOLDS, ShortcutScore, enough_groups, score_shortcut
from tellapart.checks.base import CheckResult, HealthCheck, Severity, passed
from tellapart.features.hog import HOG
from tellapart.features.noise_residual import NoiseResidual
from tellapart.metrics.cross_validation import deal_folds
from tellapart.metrics.label_issues import label_quality, prune_by_noise_rate
from tellapart.progress import Progress
from tellapart.recipe.schema import OptionsModel

_COMPONENTS = 120
_MAX_FIT = 8_000  # images that the components, and the model of a fold, are fitted on
_BATCH = 2_048
_PENALTY = 0.1  # C of the regression on whitened components
_RANGE = (0.05, 20.0)  # inverse temperatures
_MIN_PROBA = 1e-9


class Labels(HealthCheck):
    """Labels that out-of-fold predictions contradict."""

    options: Options

    class Options(OptionsModel):
        """Options of the check of labels."""

        doubt: float = Field(
            default=0.05, gt=0, le=0.5, description="predicted probability of a label below which it can be flagged"
        )
        known: float = Field(
            default=0.75, ge=0.5, lt=1, description="AUROC of the model (mean over classes) below which the check is skipped"
        )

    def _run(self, view: DatasetView) -> CheckResult:
        table, groups = view.table, independent_groups(view.table, view.pixel_stats.digests)
        labels = np.where(view.readable, table.labels, -1)
        rows = np.flatnonzero(enough_groups(labels, groups))
        if len(np.unique(labels[rows])) < 2:
            return passed(len(table), "fewer than two classes have enough images for cross-validation", "skipped")
        stats = view.pixel_stats
        proba = out_of_fold(stats.thumbnails[rows], stats.traces[rows], labels[rows], groups[rows], view.seed, view.progress)
        score = score_shortcut(proba, labels, groups, rows)
        if not score.significant or score.auroc.value < self.options.known:
            text = f"a fast model predicts these labels too poorly to doubt them (AUROC {score.auroc}, out of fold)"
            if score.is_reversed:
                text = f"a fast model predicts the opposite of these labels (AUROC {score.auroc}, out of fold), {REVERSED}"
            return passed(len(table), text, "skipped", auroc=score.auroc.to_dict())
        predictions = _OutOfFold(table.classes, rows, labels[rows], match_confidence(proba, labels[rows]))
        return _result(predictions, len(table), score, self.options.doubt)


_ADVICE = {
    "problem": "some labels may be wrong, and so may the model: review the flagged images, the highest score first, and fix or "
    "drop those that are wrong",
    "notice": "nothing has to be done: hard images can explain these contradictions; look at the flagged images if in doubt",
}


def out_of_fold(
    thumbnails: np.ndarray, traces: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int, progress: Progress
) -> np.ndarray:  # fmt: skip
    """Out-of-fold probabilities of the labels by a linear model on small features: (N, C) float32, C = highest label + 1.

    Args:
        thumbnails: (N, 32, 32, 3) uint8.
        traces: (N, T) float32, may contain NaN.
        labels: (N,) int64 ≥ 0, at least two different ones outside every fold.
        groups: (N,) int64: images with equal numbers stay in one fold.
        seed: Random seed for folds and samples.
        progress: Progress display.
    """
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(seed)
    values = _components(thumbnails, traces, generator, progress)
    fold = deal_folds(labels, np.unique(groups, return_inverse=True)[1].astype(object), seed, FOLDS)
    proba = np.zeros((len(labels), int(labels.max()) + 1), np.float32)
    with progress.task("cross-validating the labels", FOLDS, "fold") as task:
        for one in range(FOLDS):
            fit, held_out = generator.permutation(np.flatnonzero(fold != one))[:_MAX_FIT], np.flatnonzero(fold == one)
            model: Any = LogisticRegression(C=_PENALTY, max_iter=300, tol=1e-3).fit(values[fit], labels[fit])
            proba[np.ix_(held_out, model.classes_)] = model.predict_proba(values[held_out])
            task.advance()
    return proba / proba.sum(axis=1, keepdims=True)


def match_confidence(proba: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Scale the logits so that the mean confidence equals the accuracy: (N, C) float64.

    Args:
        proba: (N, C) float in [0, 1], out of fold.
        labels: (N,) int64 in 0 … C−1.
    """
    logs = np.log(np.maximum(proba.astype(np.float64), _MIN_PROBA))
    right = float((proba.argmax(axis=1) == labels).mean())

    def excess(sharpness: float) -> float:
        return float(softmax(logs * sharpness, axis=1).max(axis=1).mean()) - right

    low, high = excess(_RANGE[0]), excess(_RANGE[1])
    root: Any = brentq(excess, *_RANGE, xtol=1e-4) if low < 0 < high else _RANGE[int(high <= 0)]
    return softmax(logs * float(root), axis=1)


@dataclass(frozen=True, eq=False)
class _OutOfFold:
    """Labels and out-of-fold predictions of M rows.

    Attributes:
        classes: C class names.
        rows: (M,) int64, positions in the table.
        labels: (M,) int64.
        proba: (M, C) float64, mean confidence equal to accuracy.
    """

    classes: tuple[str, ...]
    rows: np.ndarray
    labels: np.ndarray
    proba: np.ndarray

    @cached_property
    def predicted(self) -> np.ndarray:
        """The most probable class: (M,) int64."""
        return self.proba.argmax(axis=1)

    @cached_property
    def quality(self) -> np.ndarray:
        """The probability of each label: (M,) float64."""
        return label_quality(self.labels, self.proba, "self-confidence")

    def reason(self, i: int) -> str:
        """Describe what is wrong with row `i` of the M."""
        predicted, label = self.classes[self.predicted[i]], self.classes[self.labels[i]]
        return f"predicted {predicted!r} ({self.proba[i, self.predicted[i]]:.0%}), labeled {label!r} ({self.quality[i]:.1%})"

    def pairs(self, flagged: np.ndarray) -> dict[str, int]:
        """Count the flagged rows by label and predicted class, the most frequent first. `flagged`: (M,) bool."""
        count = len(self.classes)
        pairs, counts = np.unique(self.labels[flagged] * count + self.predicted[flagged], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        names = [f"{self.classes[p // count]!r} predicted as {self.classes[p % count]!r}" for p in pairs[order].tolist()]
        return dict(zip(names, counts[order].tolist(), strict=True))


def _result(predictions: _OutOfFold, count: int, score: ShortcutScore, doubt: float) -> CheckResult:
    """Build the result for all `count` images."""
    test = estimate_label_noise(predictions.proba, predictions.labels)
    severity: Severity = "problem" if test.significant else "notice"
    least = doubt if test.significant else min(doubt, SMALL)
    flagged = prune_by_noise_rate(predictions.labels, predictions.proba) & (predictions.quality < least)
    scores, at_fault = np.zeros(count, np.float32), np.zeros(count, bool)
    scores[predictions.rows], at_fault[predictions.rows] = np.clip(1 - predictions.quality, 0, 1), flagged
    accuracy = float((predictions.predicted == predictions.labels).mean())
    details = {
        "auroc": score.auroc.to_dict(), "agreement": accuracy, "flagged": int(flagged.sum()), "judged": len(predictions.rows),
        "contradicted": test.observed, "expected": round(test.expected, 1), "p_value": test.p_value,
        "noise": test.noise.to_dict(), "noise_p_value": test.noise_p_value, "pairs": predictions.pairs(flagged),
    }  # fmt: skip
    model = f"a fast model: AUROC {score.auroc}, out of fold"
    if not flagged.any():
        return CheckResult("fine", f"no label is doubtful ({model})", "", scores, at_fault, details=details)
    share = f"{int(flagged.sum()):,} of {len(flagged):,} labels are doubtful"
    noise = f"perhaps {test.noise.value:.1%} [{test.noise.low:.1%}, {test.noise.high:.1%}] of the labels are wrong"
    most, more = next(iter(details["pairs"].items())), len(details["pairs"]) - 1
    first = f"{most[0]} ({most[1]:,})" + (f", and {more:,} more pair{'s' * (more > 1)} of classes" if more else "")
    text = f"{share}, {noise if test.significant else 'which hard images can explain'}: {first}; {model}"
    reasons = {int(predictions.rows[i]): predictions.reason(i) for i in np.flatnonzero(flagged).tolist()}
    return CheckResult(severity, text, _ADVICE[severity], scores, at_fault, reasons, details=details)


def _components(thumbnails: np.ndarray, traces: np.ndarray, generator: np.random.Generator, progress: Progress) -> np.ndarray:
    """Whitened principal components of the features, fitted without labels: (N, at most 120) float32."""
    from sklearn.decomposition import PCA

    few = np.sort(generator.permutation(len(thumbnails))[:_MAX_FIT])
    sample = _features(thumbnails[few], traces[few])
    mean, spread = sample.mean(axis=0), np.maximum(sample.std(axis=0), 1e-6)
    count = min(_COMPONENTS, len(few) // 2, sample.shape[1])
    space = PCA(count, whiten=True, svd_solver="randomized", random_state=0).fit((sample - mean) / spread)
    found = np.empty((len(thumbnails), count), np.float32)
    with progress.task("computing features of thumbnails", len(thumbnails), "img") as task:
        for start in range(0, len(thumbnails), _BATCH):
            part = slice(start, start + _BATCH)
            found[part] = space.transform((_features(thumbnails[part], traces[part]) - mean) / spread)
            task.advance(len(thumbnails[part]))
    return found


def _features(thumbnails: np.ndarray, traces: np.ndarray) -> np.ndarray:
    """HOG, noise residual, colors and pixel statistics: (N, D) float32; missing values are 0."""
    colors = thumbnails.reshape(len(thumbnails), 8, 4, 8, 4, 3).mean((2, 4)).reshape(len(thumbnails), -1)
    parts = [HOG(HOG.Options())(thumbnails), NoiseResidual(NoiseResidual.Options())(thumbnails), colors, np.nan_to_num(traces)]
    return np.concatenate(parts, axis=1, dtype=np.float32)
