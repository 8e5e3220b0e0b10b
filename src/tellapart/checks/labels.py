"""Labels that are probably wrong: confident learning on answers out of fold (`metrics/label_issues.py`).

A quick model learns the labels in folds; where it cannot learn them, it is in no position to doubt them, and says so. A row's
score is the probability that it does not give to the row's label. Flagged is what confident learning prunes and the model
gives less than one chance in twenty: places to look, no verdict. A hard image is flagged, too; it is a problem only where more
labels are contradicted than hard images explain.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pydantic import Field

from tellapart.checks._answers import out_of_fold
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks._doubt import SMALL, match_confidence, test_label_noise
from tellapart.checks._shortcut_model import ShortcutScore, find_learnable, score_shortcut
from tellapart.checks._units import independent_groups
from tellapart.checks.base import CheckResult, HealthCheck, Severity, passed
from tellapart.metrics.label_issues import label_quality, prune_by_noise_rate
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

    def _run(self, evidence: DatasetView) -> CheckResult:
        table, units = evidence.table, independent_groups(evidence.table, evidence.pictures.digests)
        labels = np.where(evidence.readable, table.labels, -1)
        rows = np.flatnonzero(find_learnable(labels, units))
        if len(np.unique(labels[rows])) < 2:
            return passed(len(table), "fewer than two classes have enough images to be learnt in folds", "skipped")
        pictures = evidence.pictures
        proba = out_of_fold(
            pictures.thumbnails[rows], pictures.traces[rows], labels[rows], units[rows], evidence.seed, evidence.progress
        )
        told = score_shortcut(proba, labels, units, rows)
        if not told.significant or told.auroc.value < self.options.known:
            text = f"a quick model cannot learn these labels well enough to doubt them (AUROC {told.auroc}, out of fold)"
            return passed(len(table), text, "skipped", auroc=told.auroc.to_dict())
        judged = _Judged(table.classes, rows, labels[rows], match_confidence(proba, labels[rows]))
        return _say(judged, len(table), told, self.options.doubt)


@dataclass(frozen=True, eq=False)
class _Judged:
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
    def guesses(self) -> np.ndarray:
        """The most probable class: (M,) int64."""
        return self.proba.argmax(axis=1)

    @cached_property
    def quality(self) -> np.ndarray:
        """The probability of each label: (M,) float64."""
        return label_quality(self.labels, self.proba, "self-confidence")

    def reason(self, i: int) -> str:
        """What is wrong with row `i` of the M."""
        guess, label = self.classes[self.guesses[i]], self.classes[self.labels[i]]
        return f"looks like {guess!r} ({self.proba[i, self.guesses[i]]:.0%}), labeled {label!r} ({self.quality[i]:.1%})"

    def pairs(self, flagged: np.ndarray) -> dict[str, int]:
        """How many flagged labels of each pair, the most frequent first. `flagged`: (M,) bool."""
        count = len(self.classes)
        pairs, counts = np.unique(self.labels[flagged] * count + self.guesses[flagged], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        names = [f"{self.classes[p // count]!r} looks like {self.classes[p % count]!r}" for p in pairs[order].tolist()]
        return dict(zip(names, counts[order].tolist(), strict=True))


def _say(judged: _Judged, count: int, told: ShortcutScore, doubt: float) -> CheckResult:
    """What the answers say of all `count` images."""
    flagged = prune_by_noise_rate(judged.labels, judged.proba) & (judged.quality < doubt)
    excess = test_label_noise(judged.proba, judged.labels)
    scores, at_fault = np.zeros(count, np.float32), np.zeros(count, bool)
    scores[judged.rows], at_fault[judged.rows] = np.clip(1 - judged.quality, 0, 1), flagged
    right = float((judged.guesses == judged.labels).mean())
    details = {
        "auroc": told.auroc.to_dict(), "agreement": right, "flagged": int(flagged.sum()), "judged": len(judged.rows),
        "contradicted": excess.seen, "expected": round(excess.expected, 1), "p_value": excess.p_value,
        "pairs": judged.pairs(flagged),
    }  # fmt: skip
    model = f"a quick model that agrees with {right:.0%} of the labels (AUROC {told.auroc}, out of fold)"
    if not flagged.any():
        return CheckResult("fine", f"{model} doubts no label", "", scores, at_fault, details=details)
    worst = ", ".join(f"{pair} ({n:,})" for pair, n in list(details["pairs"].items())[:3])
    more = f"{excess.seen:,} get less than {SMALL:.0%}, where its own doubts let expect {excess.expected:,.0f}"
    summary = f"{int(flagged.sum()):,} of {len(flagged):,} labels are doubted by {model}: {worst}; {more}"
    reasons = {int(judged.rows[i]): judged.reason(i) for i in np.flatnonzero(flagged).tolist()}
    severity: Severity = "problem" if excess.significant else "notice"
    return CheckResult(severity, summary, _ADVICE[severity], scores, at_fault, reasons, details=details)


_ADVICE = {
    "problem": "some labels are wrong: look at the flagged images, the highest score first, and mend or drop them",
    "notice": "hard images explain as many doubts as there are; wrong labels, if any, are among the flagged",
}
