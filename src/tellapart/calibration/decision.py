"""Decision for each image: a class or "unsure", with the rule that was applied.

The steps are applied in this order. (1) The probabilities are calibrated. (2) They are corrected for the class frequencies of
the intended use. (3) Threshold, band and prediction sets are applied to the corrected probabilities. A threshold of 0.7 thus
refers to the probability in the intended use. For two classes, the correction changes all probabilities but not their order, so
it does not change which TPR is reached at which FPR. A threshold must be chosen after the correction; one that was chosen
before has another meaning after it.

If there are several rules, the band decides, else the threshold, else the most probable class. If there are prediction sets and
the set does not contain exactly that class, the decision is "unsure".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tellapart.calibration import maps
from tellapart.calibration.conformal import Conformal, SetReport, score_sets
from tellapart.calibration.thresholds import UNSURE, RejectBand, Threshold, correct_prior
from tellapart.errors import DataError
from tellapart.metrics.intervals import group_codes, share_interval
from tellapart.types import UNLABELED, Predictions, Score

UNSURE_NAME = "unsure"


@dataclass(frozen=True, eq=False)
class Decisions:
    """Decisions for N images.

    Attributes:
        classes: Names of the C classes.
        predicted: (N,) int64, the class, or `UNSURE` (−1).
        reasons: (N,) object (str), the rule that was applied.
    """

    classes: tuple[str, ...]
    predicted: np.ndarray
    reasons: np.ndarray

    def __len__(self) -> int:
        return len(self.predicted)

    @property
    def names(self) -> np.ndarray:
        """Class names, or "unsure": (N,) object (str)."""
        return np.array([*self.classes, UNSURE_NAME], dtype=object)[self.predicted]

    @property
    def unsure(self) -> int:
        """Number of images without a decision."""
        return int((self.predicted == UNSURE).sum())


@dataclass(frozen=True)
class Decision:
    """Calibration map, correction for class frequencies and decision rules, chosen on a validation split.

    Attributes:
        classes: Names of the C classes.
        n: Number of validation images.
        positive: Positive class of threshold and band; None for more than two classes.
        map: Calibration map; None: probabilities are not calibrated.
        seen: (C,) class frequencies for which the calibrated probabilities are valid; None without a correction.
        prior: (C,) class frequencies in the intended use; None without a correction.
        threshold, band, sets: The rules; None if there is none.
    """

    classes: tuple[str, ...]
    n: int
    positive: str | None = None
    map: maps.Calibration | None = None
    seen: tuple[float, ...] | None = None
    prior: tuple[float, ...] | None = None
    threshold: Threshold | None = None
    band: RejectBand | None = None
    sets: Conformal | None = None

    def __post_init__(self) -> None:
        if (self.threshold or self.band) and self.positive is None:
            raise DataError(
                f"a threshold or a band needs two classes; there are {len(self.classes)}: {', '.join(self.classes)}",
                hint="use prediction sets, which support any number of classes: `--unsure 0.9`",
            )
        if self.threshold and self.band and not self.band.low <= self.threshold.threshold <= self.band.high:
            raise DataError(
                f"the threshold {self.threshold.threshold:.3f} is outside the band {self.band.low:g} … {self.band.high:g}",
                hint="give a band that contains the threshold, or only one of the two",
            )

    @property
    def has_rule(self) -> bool:
        """Whether there is a rule other than the most probable class."""
        return bool(self.threshold or self.band or self.sets)

    def calibrated(self, proba: np.ndarray) -> np.ndarray:
        """Apply step 1 only: (N, C) float, uncalibrated → (N, C) float32."""
        return renormalize(proba if self.map is None else self.map(proba))

    def __call__(self, proba: np.ndarray) -> np.ndarray:
        """Apply steps 1 and 2: (N, C) float, uncalibrated → (N, C) float32, rows sum to 1.

        >>> decision = Decision(("real", "fake"), 100, "fake", seen=(0.5, 0.5), prior=(0.98, 0.02))
        >>> decision(np.array([[.1, .9]])).round(3)
        array([[0.845, 0.155]], dtype=float32)
        """
        return self.corrected(self.calibrated(proba))

    def corrected(self, proba: np.ndarray) -> np.ndarray:
        """Apply step 2 only: (N, C) float, calibrated → (N, C) float32."""
        if self.seen is None or self.prior is None:
            return renormalize(proba)
        return renormalize(correct_prior(proba, np.array(self.seen), np.array(self.prior)))

    def uncorrected(self, proba: np.ndarray) -> np.ndarray | None:
        """Undo step 2: (N, C) float after step 2 → (N, C) float32 for the class frequencies `seen`.

        Calibration can be measured only on images with the class frequencies for which the probabilities are valid; labeled
        images have the frequencies `seen`. None if the prior of a class is 0.

        >>> decision = Decision(("real", "fake"), 100, "fake", seen=(0.5, 0.5), prior=(0.98, 0.02))
        >>> decision.uncorrected(np.array([[.845, .155]])).round(2)
        array([[0.1, 0.9]], dtype=float32)
        """
        if self.seen is None or self.prior is None:
            return renormalize(proba)
        return None if min(self.prior) <= 0 else renormalize(correct_prior(proba, np.array(self.prior), np.array(self.seen)))

    def scores(self, proba: np.ndarray) -> np.ndarray:
        """Probability of the positive class: (N, C) float after step 2 → (N,)."""
        return proba[:, self.classes.index(self.positive or self.classes[-1])]

    def decide(self, proba: np.ndarray) -> Decisions:
        """Apply step 3.

        Args:
            proba: (N, C) float, probabilities after step 2, as predicted by the calibrated run.

        >>> decision = Decision(("real", "fake"), 100, "fake", band=RejectBand(0.3, 0.8))
        >>> decisions = decision.decide(np.array([[.9, .1], [.5, .5], [.1, .9]]))
        >>> decisions.names.tolist(), decisions.reasons.tolist()[1]
        (['real', 'unsure', 'fake'], 'between 0.3 and 0.8')
        """
        predicted, reasons = self._apply_rule(proba)
        if self.sets is None:
            return Decisions(self.classes, predicted, reasons)
        sets = self.sets(proba)
        confirmed = (sets.sum(axis=1) == 1) & (sets.argmax(axis=1) == predicted)
        for row in np.flatnonzero(~confirmed & (predicted != UNSURE)):
            reasons[row] = self._set_reason(sets[row], self.classes[predicted[row]])
        return Decisions(self.classes, np.where(confirmed, predicted, UNSURE), reasons)

    def _apply_rule(self, proba: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Decide by band, threshold or most probable class: (N,) int64 and the reasons, (N,) object (str)."""
        if self.band is None and self.threshold is None:
            return proba.argmax(axis=1), np.full(len(proba), "most probable", dtype=object)
        scores, positive = self.scores(proba), self.classes.index(self.positive or "")
        if self.band is not None:
            low, high = self.band.low, self.band.high
            outcome = self.band(scores)
            names = {1: f"at or above {high:g}", 0: f"below {low:g}", UNSURE: f"between {low:g} and {high:g}"}
        else:
            at: Any = self.threshold
            outcome = at(scores).astype(np.int64)
            below = f"below {at.threshold:.3g}" if np.isfinite(at.threshold) else f"no image is classified as {self.positive}"
            names = {1: f"at or above {at.threshold:.3g}", 0: below}
        predicted = np.where(outcome == UNSURE, UNSURE, np.where(outcome == 1, positive, 1 - positive))
        return predicted, np.array([names[int(one)] for one in outcome], dtype=object)

    def _set_reason(self, inside: np.ndarray, predicted: str) -> str:
        members = [name for name, is_in in zip(self.classes, inside, strict=True) if is_in]
        if not members:
            return "no class is possible"
        if len(members) == 1:
            return f"possible: {members[0]} only; by the threshold: {predicted}"
        return f"possible: {', '.join(members)}" if len(members) <= 4 else f"possible: {len(members)} classes"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        mixes = {
            name: None if mix is None else dict(zip(self.classes, mix, strict=True))
            for name, mix in (("seen", self.seen), ("prior", self.prior))
        }
        rules = {"map": self.map, "threshold": self.threshold, "band": self.band, "sets": self.sets}
        return {
            "classes": list(self.classes), "positive": self.positive, "n": self.n, **mixes,
            **{name: None if rule is None else rule.to_dict() for name, rule in rules.items()},
        }  # fmt: skip

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Decision:
        """Read what `to_dict` wrote."""
        classes = tuple(data["classes"])
        mixes = {
            name: None if data[name] is None else tuple(float(data[name][c]) for c in classes) for name in ("seen", "prior")
        }
        return cls(
            classes, int(data["n"]), data["positive"], **mixes,
            map=None if data["map"] is None else maps.read(data["map"]),
            threshold=None if data["threshold"] is None else Threshold.from_dict(data["threshold"]),
            band=None if data["band"] is None else RejectBand(**data["band"]),
            sets=None if data["sets"] is None else Conformal.from_dict(data["sets"]),
        )  # fmt: skip


def renormalize(proba: np.ndarray) -> np.ndarray:
    """Scale rows to sum to 1, as for all classifiers, so that a threshold is applied to exactly the numbers it was chosen
    on.
    """
    proba = proba.astype(np.float64)
    return (proba / proba.sum(axis=1, keepdims=True)).astype(np.float32)


# --- scores of decisions ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DecisionReport:
    """Scores of decisions on labeled images; intervals are over groups, if there are any.

    Attributes:
        decided: Share of images with a decision.
        accuracy: Accuracy of the decisions; None if there are none.
        positive: Positive class of threshold and band; None for more than two classes.
        threshold: The threshold; None if there is none, infinite if no image is classified as positive.
        tpr: True-positive rate at the threshold; None without a threshold or positive images.
        fpr: False-positive rate at the threshold; None without a threshold or negative images.
        sets: Scores of the prediction sets; None if there are none.
        promised: Nominal coverage of the prediction sets; None if there are none.
        classes: Number of classes.
    """

    decided: Score
    accuracy: Score | None
    positive: str | None
    threshold: float | None
    tpr: Score | None
    fpr: Score | None
    sets: SetReport | None
    target_coverage: float | None
    classes: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; an infinite threshold is None."""
        at = self.threshold if self.threshold is not None and np.isfinite(self.threshold) else None
        scores = {"decided": self.decided, "accuracy": self.accuracy, "tpr": self.tpr, "fpr": self.fpr}
        if self.sets is not None:
            scores |= {f"sets-{name}": getattr(self.sets, name) for name in ("covered", "single", "accuracy")}
        found: dict[str, Any] = {name: None if score is None else score.to_dict() for name, score in scores.items()}
        found |= {"positive": self.positive, "threshold": at, "target_coverage": self.target_coverage}
        return found | {"mean_set_size": None if self.sets is None else self.sets.mean_size}


def score_decisions(decision: Decision, predictions: Predictions) -> DecisionReport:
    """Score decisions against labels. Images without a label are excluded.

    Args:
        decision: Decision rules of the run.
        predictions: Predictions of the run, calibrated and corrected.

    Raises:
        DataError: No image has a label, or the classes differ.

    >>> proba = np.array([[.9, .1], [.5, .5], [.1, .9], [.4, .6]], dtype=np.float32)
    >>> predictions = Predictions(np.array(list("abcd"), dtype=object), proba, np.array([0, 0, 1, 1]), ("real", "fake"))
    >>> report = score_decisions(Decision(("real", "fake"), 100, "fake", band=RejectBand(0.3, 0.8)), predictions)
    >>> report.decided.value, report.accuracy.value, report.accuracy.n
    (0.5, 1.0, 2)
    """
    if predictions.classes != decision.classes:
        raise DataError(
            f"the decision rule is for the classes {_listed(decision.classes)}; "
            f"the predictions have the classes {_listed(predictions.classes)}"
        )
    known = predictions.labels != UNLABELED
    if not known.any():
        raise DataError("scoring decisions needs at least one labeled image")
    labels, proba, groups = predictions.labels[known], predictions.proba[known], predictions.groups
    codes = group_codes(None if groups is None else groups[known])
    predicted = decision.decide(proba).predicted
    decided = predicted != UNSURE
    report = DecisionReport(
        decided=_share(decided, np.ones_like(decided), codes),
        accuracy=_share(predicted == labels, decided, codes) if decided.any() else None,
        positive=decision.positive, threshold=None, tpr=None, fpr=None,
        sets=_score_sets(decision, proba, labels, codes),
        target_coverage=None if decision.sets is None else decision.sets.coverage,
        classes=len(decision.classes),
    )  # fmt: skip
    if decision.threshold is None:
        return report
    called, positive = decision.threshold(decision.scores(proba)), labels == decision.classes.index(decision.positive or "")
    tpr = _share(called, positive, codes) if positive.any() else None
    fpr = replace(_share(called, ~positive, codes), higher_is_better=False) if not positive.all() else None
    return replace(report, threshold=decision.threshold.threshold, tpr=tpr, fpr=fpr)


def _share(part: np.ndarray, whole: np.ndarray, codes: np.ndarray | None) -> Score:
    """Score Σ part / Σ whole with Wilson's interval; with groups, for the effective number of images.

    Args:
        part: (N,) bool.
        whole: (N,) bool, at least one true.
        codes: (N,) int64, the group of each image, or None.
    """
    own = None if codes is None else np.unique(codes[whole], return_inverse=True)[1]
    return Score(float(part[whole].mean()), int(whole.sum()), *share_interval(part[whole], own))


def _score_sets(decision: Decision, proba: np.ndarray, labels: np.ndarray, codes: np.ndarray | None) -> SetReport | None:
    """`score_sets`, with intervals over groups if there are any."""
    if decision.sets is None:
        return None
    sets = decision.sets(proba)
    report, single = score_sets(sets, labels), sets.sum(axis=1) == 1
    if codes is None:
        return report
    covered, every = sets[np.arange(len(labels)), labels], np.ones_like(single)
    accuracy = _share(covered, single, codes) if single.any() else None
    return SetReport(_share(covered, every, codes), _share(single, every, codes), accuracy, report.mean_size)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
