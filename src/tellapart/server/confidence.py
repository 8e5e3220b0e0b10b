"""How sure a verdict is, in one word, and what the word rests on.

A probability of 97 % is a number that the classifier made up. What is known is how often it was right on validation when it was
at least this sure. So the word follows from that share: the lower end of its 95 % interval is at least 0.9 for "sure", 0.7 for
"fairly sure"; below, "not sure". The share is of the validation images that were answered at least this surely, and of the 50
surest where these are fewer; groups of images, where there are any, are what the interval is over. A run whose calibration made
it say "unsure" has decided that itself, and is not overruled. Where a mix of classes was asked for that validation does not
have, validation says nothing, and the word follows the probability.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tellapart.calibration.decision import UNSURE_NAME, Decision
from tellapart.calibration.thresholds import UNSURE
from tellapart.formatting import count
from tellapart.inference.decision import decision, has_decision
from tellapart.metrics.intervals import fraction_interval, group_codes, variance_within, wilson
from tellapart.runs.store import Run
from tellapart.types import Score

SURE, FAIRLY_SURE, NOT_SURE = "sure", "fairly sure", "not sure"
_LEAST = {SURE: 0.9, FAIRLY_SURE: 0.7}
_BY_PROBABILITY = {SURE: 0.95, FAIRLY_SURE: 0.8}
_FEWEST = 50


@dataclass(frozen=True)
class ConfidenceLevel:
    """What is said of one picture.

    Attributes:
        name: A class, or "unsure".
        label: The class that it is about: the answer, or the most probable one where the run is unsure.
        probability: Of that class.
        certainty: "sure", "fairly sure", "not sure"; "unsure" where the run itself says so.
        reason: What certainty and verdict rest on, in one sentence.
        right: Validation images answered at least this surely that were right; None where there are none.
    """

    name: str
    label: int
    probability: float
    certainty: str
    reason: str
    right: Score | None

    def in_words(self) -> str:
        """ "edited, 97 %, sure"."""
        said = [self.name, percent(self.probability)] if self.name != UNSURE_NAME else []
        return ", ".join([*said, self.certainty])


class Confidence:
    """What the stored validation answers of a run say of the answers to come."""

    def __init__(self, run: Run) -> None:
        self.classes = run.classes
        self.decision: Decision | None = decision(run) if has_decision(run) else None
        valid = run.predictions("valid")
        self._sure, self._right, self._groups = np.zeros(0), np.zeros(0, dtype=bool), None
        if valid is not None and len(valid) and not (self.decision and self.decision.prior):
            labels = self._labels(valid.proba)
            known = (valid.labels >= 0) & (labels != UNSURE)
            sure = valid.proba[np.arange(len(valid)), labels.clip(min=0)][known]
            order = np.argsort(-sure, kind="stable")
            self._sure, self._right = sure[order], (labels == valid.labels)[known][order]
            self._groups = None if valid.groups is None else valid.groups[known][order]

    def _labels(self, proba: np.ndarray) -> np.ndarray:
        return proba.argmax(axis=1) if self.decision is None else self.decision.verdicts(proba).answers

    def verdict(self, proba: np.ndarray) -> ConfidenceLevel:
        """The verdict on one picture. `proba`: (C,) float32, what the run answered."""
        likely = int(proba.argmax())
        found = None if self.decision is None else self.decision.verdicts(proba[None])
        rule = "" if found is None or found.reasons[0] == "most probable" else str(found.reasons[0])
        label = likely if found is None else int(found.answers[0])
        if label == UNSURE:
            return ConfidenceLevel(UNSURE_NAME, likely, float(proba[likely]), UNSURE_NAME, rule, None)
        right = self.right(float(proba[label]))
        word = _word(right.low, _LEAST) if right else _word(float(proba[label]), _BY_PROBABILITY)
        reason = "; ".join(part for part in (rule, _in_words(right)) if part)
        return ConfidenceLevel(self.classes[label], label, float(proba[label]), word, reason, right)

    def right(self, probability: float) -> Score | None:
        """How often answers at least this sure were right on validation; None where nothing is known."""
        if not len(self._sure):
            return None
        n = int(np.searchsorted(-self._sure, -probability, side="right"))
        n = min(max(n, _FEWEST), len(self._sure))
        return _share(self._right[:n], None if self._groups is None else self._groups[:n])


def percent(share: float) -> str:
    """A probability as a person reads it: never "100 %", which would be a promise.

    >>> percent(0.97), percent(0.9951), percent(0.99991), percent(0.0004)
    ('97 %', '99.5 %', '> 99.9 %', '< 0.1 %')
    """
    if share > 0.999:
        return "> 99.9 %"
    if share < 0.001:
        return "< 0.1 %"
    return f"{100 * share:.1f} %" if share >= 0.99 or share < 0.01 else f"{100 * share:.0f} %"


def _share(right: np.ndarray, groups: np.ndarray | None) -> Score:
    """The share of right answers; Wilson's interval, with groups that of a mean over groups. `right`: (N,) bool."""
    n, value, codes = len(right), float(right.mean()), group_codes(groups)
    if codes is None:
        return Score(value, n, *wilson(int(right.sum()), n))
    residuals = np.bincount(codes, weights=(right - value) / n)
    one = np.zeros(len(residuals), dtype=np.int64)
    return Score(value, n, *fraction_interval(value, variance_within(residuals, one), one))


def _word(value: float, least: dict[str, float]) -> str:
    return next((word for word, bound in least.items() if value >= bound), NOT_SURE)


def _in_words(right: Score | None) -> str:
    if right is None:
        return "nothing is known of how often such answers are right"
    ends = f"{100 * right.low:.0f}–{100 * right.high:.0f} %" if math.isfinite(right.low) else "not defined"
    share = f"{100 * right.value:.0f} % were right (95 % interval {ends})"
    return f"of the {count(right.n)} validation images answered at least about this surely, {share}"
