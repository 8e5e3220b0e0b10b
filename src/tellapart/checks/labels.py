"""Labels that are probably wrong: confident learning on answers out of fold (`metrics/label_issues.py`).

A quick model learns the labels in folds; where it cannot learn them, it is in no position to doubt them, and says so. A row's
score is the probability that it does not give to the row's label. Flagged is what confident learning prunes and the model
gives less than one chance in twenty: places to look, no verdict. A hard image is flagged, too; it is a problem only where more
labels are contradicted than hard images explain.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import Field
from scipy.optimize import brentq
from scipy.special import pdtrc, softmax

from tellapart.checks._associations import LEVEL
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks._shortcut import independent_groups
from tellapart.checks._shortcut_model import FOLDS, ShortcutScore, enough_groups, score_shortcut
from tellapart.checks.base import CheckResult, HealthCheck, Severity, passed
from tellapart.features.hog import HOG
from tellapart.features.noise_residual import NoiseResidual
from tellapart.metrics.cross_validation import deal_folds
from tellapart.metrics.label_issues import label_quality, prune_by_noise_rate
from tellapart.progress import Progress
from tellapart.recipe.schema import OptionsModel


class Labels(HealthCheck):
    """Which labels a model out of fold contradicts."""

    class Options(OptionsModel):
        """Options of the check of labels."""

        doubt: float = Field(
            default=0.05, gt=0, le=0.5, description="a label that gets less probability than this can be flagged"
        )
        known: float = Field(
            default=0.75, ge=0.5, lt=1, description="least AUROC (mean over classes) of the model that may doubt labels"
        )

    def _run(self, view: DatasetView) -> CheckResult:
        table, units = view.table, independent_groups(view.table, view.pictures.digests)
        labels = np.where(view.readable, table.labels, -1)
        rows = np.flatnonzero(enough_groups(labels, units))
        if len(np.unique(labels[rows])) < 2:
            return passed(len(table), "fewer than two classes have enough images to be learnt in folds", "skipped")
        pictures = view.pictures
        proba = out_of_fold(
            pictures.thumbnails[rows], pictures.traces[rows], labels[rows], units[rows], view.seed, view.progress
        )
        told = score_shortcut(proba, labels, units, rows)
        if not told.significant or told.auroc.value < self.options.known:
            text = f"a quick model cannot learn these labels well enough to doubt them (AUROC {told.auroc}, out of fold)"
            return passed(len(table), text, "skipped", auroc=told.auroc.to_dict())
        judged = _OutOfFold(table.classes, rows, labels[rows], match_confidence(proba, labels[rows]))
        return _result(judged, len(table), told, self.options.doubt)


@dataclass(frozen=True, eq=False)
class _OutOfFold:
    """Labels and answers of the M rows that could be judged.

    Attributes:
        classes: C names.
        rows: (M,) int64 positions.
        labels: (M,) int64.
        proba: (M, C) float64, as sure as right.
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
        """What is wrong with row `i` of the M."""
        guess, label = self.classes[self.predicted[i]], self.classes[self.labels[i]]
        return f"looks like {guess!r} ({self.proba[i, self.predicted[i]]:.0%}), labeled {label!r} ({self.quality[i]:.1%})"

    def pairs(self, flagged: np.ndarray) -> dict[str, int]:
        """How many flagged labels of each pair, the most frequent first. `flagged`: (M,) bool."""
        count = len(self.classes)
        pairs, counts = np.unique(self.labels[flagged] * count + self.predicted[flagged], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        names = [f"{self.classes[p // count]!r} looks like {self.classes[p % count]!r}" for p in pairs[order].tolist()]
        return dict(zip(names, counts[order].tolist(), strict=True))


def _result(judged: _OutOfFold, count: int, told: ShortcutScore, doubt: float) -> CheckResult:
    """What the answers say of all `count` images."""
    flagged = prune_by_noise_rate(judged.labels, judged.proba) & (judged.quality < doubt)
    excess = test_label_noise(judged.proba, judged.labels)
    scores, at_fault = np.zeros(count, np.float32), np.zeros(count, bool)
    scores[judged.rows], at_fault[judged.rows] = np.clip(1 - judged.quality, 0, 1), flagged
    right = float((judged.predicted == judged.labels).mean())
    details = {
        "auroc": told.auroc.to_dict(), "agreement": right, "flagged": int(flagged.sum()), "judged": len(judged.rows),
        "contradicted": excess.observed, "expected": round(excess.expected, 1), "p_value": excess.p_value,
        "pairs": judged.pairs(flagged),
    }  # fmt: skip
    model = f"a quick model that agrees with {right:.0%} of the labels (AUROC {told.auroc}, out of fold)"
    if not flagged.any():
        return CheckResult("fine", f"{model} doubts no label", "", scores, at_fault, details=details)
    worst = ", ".join(f"{pair} ({n:,})" for pair, n in list(details["pairs"].items())[:3])
    more = f"{excess.observed:,} get less than {SMALL:.0%}, where its own doubts let expect {excess.expected:,.0f}"
    summary = f"{int(flagged.sum()):,} of {len(flagged):,} labels are doubted by {model}: {worst}; {more}"
    reasons = {int(judged.rows[i]): judged.reason(i) for i in np.flatnonzero(flagged).tolist()}
    severity: Severity = "problem" if excess.significant else "notice"
    return CheckResult(severity, summary, _ADVICE[severity], scores, at_fault, reasons, details=details)


_ADVICE = {
    "problem": "some labels are wrong: look at the flagged images, the highest score first, and mend or drop them",
    "notice": "hard images explain as many doubts as there are; wrong labels, if any, are among the flagged",
}


# --- what a quick model makes of small copies of the pictures, each judged by a model that learnt from the ot ---------


_COMPONENTS = 120
_MOST = 8_000  # images that components, and the models of a fold, are learnt from
_PORTION = 2_048
_PENALTY = 0.1  # C of the regression on whitened components


def out_of_fold(
    thumbnails: np.ndarray, traces: np.ndarray, labels: np.ndarray, units: np.ndarray, seed: int, progress: Progress
) -> np.ndarray:  # fmt: skip
    """Probabilities of the labels: (N, C) float32, C columns for 0 … the highest label.

    Args:
        thumbnails: (N, 32, 32, 3) uint8.
        traces: (N, T) float32, may hold NaN.
        labels: (N,) int64 ≥ 0, at least two of them in every fold's remainder.
        units: (N,) int64: images with equal numbers stay in one fold.
        seed: Of folds and draws.
        progress: Where it is reported.
    """
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(seed)
    values = _components(thumbnails, traces, generator, progress)
    fold = deal_folds(labels, np.unique(units, return_inverse=True)[1].astype(object), seed, FOLDS)
    proba = np.zeros((len(labels), int(labels.max()) + 1), np.float32)
    with progress.task("learning the labels in folds", FOLDS, "fold") as task:
        for one in range(FOLDS):
            learnt, asked = generator.permutation(np.flatnonzero(fold != one))[:_MOST], np.flatnonzero(fold == one)
            model: Any = LogisticRegression(C=_PENALTY, max_iter=300, tol=1e-3).fit(values[learnt], labels[learnt])
            proba[np.ix_(asked, model.classes_)] = model.predict_proba(values[asked])
            task.advance()
    return proba / proba.sum(axis=1, keepdims=True)


def _components(thumbnails: np.ndarray, traces: np.ndarray, generator: np.random.Generator, progress: Progress) -> np.ndarray:
    """Whitened principal components, found without labels: (N, at most 120) float32."""
    from sklearn.decomposition import PCA

    few = np.sort(generator.permutation(len(thumbnails))[:_MOST])
    sample = _describe(thumbnails[few], traces[few])
    mean, spread = sample.mean(axis=0), np.maximum(sample.std(axis=0), 1e-6)
    count = min(_COMPONENTS, len(few) // 2, sample.shape[1])
    space = PCA(count, whiten=True, svd_solver="randomized", random_state=0).fit((sample - mean) / spread)
    found = np.empty((len(thumbnails), count), np.float32)
    with progress.task("describing small copies", len(thumbnails), "img") as task:
        for start in range(0, len(thumbnails), _PORTION):
            part = slice(start, start + _PORTION)
            found[part] = space.transform((_describe(thumbnails[part], traces[part]) - mean) / spread)
            task.advance(len(thumbnails[part]))
    return found


def _describe(thumbnails: np.ndarray, traces: np.ndarray) -> np.ndarray:
    """(N, D) float32; what could not be measured counts as 0."""
    colors = thumbnails.reshape(len(thumbnails), 8, 4, 8, 4, 3).mean((2, 4)).reshape(len(thumbnails), -1)
    parts = [HOG(HOG.Options())(thumbnails), NoiseResidual(NoiseResidual.Options())(thumbnails), colors, np.nan_to_num(traces)]
    return np.concatenate(parts, axis=1, dtype=np.float32)


# --- are more labels contradicted than the model's own doubts explain? That tells wrong labels from hard imag ---------


SMALL = 0.01  # a probability below this is a contradiction
_RANGE = (0.05, 20.0)  # inverse temperatures
_LEAST = 1e-9


@dataclass(frozen=True)
class LabelNoiseTest:
    """Contradicted labels.

    Attributes:
        seen: Labels that got less than SMALL.
        expected: How many the model's own probabilities let expect.
        p_value: Chance of so many, were the model as sure as it is right and no label wrong.
    """

    observed: int
    expected: float
    p_value: float

    @property
    def significant(self) -> bool:
        """Whether labels must be wrong."""
        return self.p_value < LEVEL


def match_confidence(proba: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Probabilities sharpened or softened to the share of labels agreed with: (N, C) float64.

    Args:
        proba: (N, C) float, out of fold.
        labels: (N,) int64 in 0 … C−1.
    """
    logs = np.log(np.maximum(proba.astype(np.float64), _LEAST))
    right = float((proba.argmax(axis=1) == labels).mean())

    def excess(sharpness: float) -> float:
        return float(softmax(logs * sharpness, axis=1).max(axis=1).mean()) - right

    low, high = excess(_RANGE[0]), excess(_RANGE[1])
    root: Any = brentq(excess, *_RANGE, xtol=1e-4) if low < 0 < high else _RANGE[int(high <= 0)]
    return softmax(logs * float(root), axis=1)


def test_label_noise(proba: np.ndarray, labels: np.ndarray) -> LabelNoiseTest:
    """Labels below SMALL against how many there should be. Arguments as of `as_sure_as_right`, which comes first."""
    seen = int((proba[np.arange(len(labels)), labels] < SMALL).sum())
    expected = float(proba[proba < SMALL].sum())
    return LabelNoiseTest(seen, expected, float(pdtrc(seen - 1, max(expected, 1.0))) if seen else 1.0)
