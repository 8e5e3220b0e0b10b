"""Reliability of a prediction in one word, measured on the validation split.

A predicted probability of 97 % need not mean 97 % accuracy. The measured value is the accuracy on validation images predicted
with at least the same probability (the 50 most probable ones if there are fewer). The lower end of the 95 % interval of that
accuracy gives the word: at least 0.9 is "sure", at least 0.7 "fairly sure", below "not sure". If the validation images have
groups, the interval is over groups. If the run's own decision rule abstains, the word is "unsure". If the run was calibrated
for class frequencies that differ from those of validation, the accuracy would mislead, and the word follows the probability
(from 0.95, from 0.8).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tellapart.calibration.decision import UNSURE_NAME, Decision
from tellapart.calibration.thresholds import UNSURE
from tellapart.formatting import count
from tellapart.inference.decision import decision, has_decision
from tellapart.metrics.intervals import group_codes, share_interval
from tellapart.runs.store import Run
from tellapart.types import Score

SURE, FAIRLY_SURE, NOT_SURE = "sure", "fairly sure", "not sure"
_MIN_ACCURACY = {SURE: 0.9, FAIRLY_SURE: 0.7}
_MIN_PROBABILITY = {SURE: 0.95, FAIRLY_SURE: 0.8}
_MIN_IMAGES = 50


@dataclass(frozen=True)
class Assessment:
    """The decision for one image, and its confidence.

    Attributes:
        decision: A class, or "unsure".
        label: Index of the decided class; of the most probable class if the run abstains.
        probability: Probability of the class `label`.
        confidence: "sure", "fairly sure", "not sure"; "unsure" if the run abstains.
        reason: Basis of decision and confidence, in one sentence.
        accuracy: Accuracy on validation images predicted with at least this probability; None if unknown.
    """

    decision: str
    label: int
    probability: float
    confidence: str
    reason: str
    accuracy: Score | None

    def summary(self) -> str:
        """The decision for a reader: "edited, 97 %, sure"."""
        decided = [self.decision, percent(self.probability)] if self.decision != UNSURE_NAME else []
        return ", ".join([*decided, self.confidence])


class Confidence:
    """Rates predictions of a run by its stored validation predictions.

    Args:
        run: A finished run.
    """

    def __init__(self, run: Run) -> None:
        self.classes = run.classes
        self.decision: Decision | None = decision(run) if has_decision(run) else None
        valid = run.predictions("valid")
        self._probability, self._correct, self._groups = np.zeros(0), np.zeros(0, dtype=bool), None
        if valid is not None and len(valid) and not (self.decision and self.decision.prior):
            labels = self._labels(valid.proba)
            known = (valid.labels >= 0) & (labels != UNSURE)
            probability = valid.proba[np.arange(len(valid)), labels.clip(min=0)][known]
            order = np.argsort(-probability, kind="stable")
            self._probability, self._correct = probability[order], (labels == valid.labels)[known][order]
            self._groups = None if valid.groups is None else valid.groups[known][order]

    def _labels(self, proba: np.ndarray) -> np.ndarray:
        return proba.argmax(axis=1) if self.decision is None else self.decision.decide(proba).predicted

    def assess(self, proba: np.ndarray) -> Assessment:
        """Decide on one image and rate the decision.

        Args:
            proba: (C,) float32, the predicted probabilities.
        """
        most_probable = int(proba.argmax())
        decided = None if self.decision is None else self.decision.decide(proba[None])
        rule = "" if decided is None or decided.reasons[0] == "most probable" else str(decided.reasons[0])
        label = most_probable if decided is None else int(decided.predicted[0])
        if label == UNSURE:
            return Assessment(UNSURE_NAME, most_probable, float(proba[most_probable]), UNSURE_NAME, rule, None)
        probability = float(proba[label])
        accuracy = self.accuracy(probability)
        word = _word(accuracy.low, _MIN_ACCURACY) if accuracy else _word(probability, _MIN_PROBABILITY)
        reason = "; ".join(part for part in (rule, _describe(accuracy)) if part)
        return Assessment(self.classes[label], label, probability, word, reason, accuracy)

    def accuracy(self, probability: float) -> Score | None:
        """Accuracy on the validation images predicted with at least `probability`; None if there are none."""
        if not len(self._probability):
            return None
        n = int(np.searchsorted(-self._probability, -probability, side="right"))
        n = min(max(n, _MIN_IMAGES), len(self._probability))
        return _accuracy(self._correct[:n], None if self._groups is None else self._groups[:n])


def percent(share: float) -> str:
    """A probability for a reader; never "100 %", which would be a promise.

    >>> percent(0.97), percent(0.9951), percent(0.99991), percent(0.0004)
    ('97 %', '99.5 %', '> 99.9 %', '< 0.1 %')
    """
    if share > 0.999:
        return "> 99.9 %"
    if share < 0.001:
        return "< 0.1 %"
    return f"{100 * share:.1f} %" if share >= 0.99 or share < 0.01 else f"{100 * share:.0f} %"


def _accuracy(correct: np.ndarray, groups: np.ndarray | None) -> Score:
    """Accuracy with Wilson's interval; with groups, for the effective number of images.

    Args:
        correct: (N,) bool.
        groups: (N,) names, or None.
    """
    return Score(float(correct.mean()), len(correct), *share_interval(correct, group_codes(groups)))


def _word(value: float, bounds: dict[str, float]) -> str:
    return next((word for word, bound in bounds.items() if value >= bound), NOT_SURE)


def _describe(accuracy: Score | None) -> str:
    if accuracy is None:
        return "no accuracy on validation is known for such predictions"
    ends = f"{100 * accuracy.low:.0f}–{100 * accuracy.high:.0f} %" if math.isfinite(accuracy.low) else "not defined"
    share = f"{100 * accuracy.value:.0f} % were correct (95 % interval {ends})"
    return f"of the {count(accuracy.n)} validation images predicted with about this probability or more, {share}"
