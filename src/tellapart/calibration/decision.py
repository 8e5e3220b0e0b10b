"""A verdict for each image: a class, or "unsure", and which rule said so.

The order matters, and it is this one. (1) The classifier's probabilities are calibrated. (2) They are corrected for the mix of
classes where they will be used. (3) The threshold, the band and the sets look at what came out. So a threshold of 0.7 is one on
the probability that the image is positive *there*. A correction moves every probability and, for two classes, keeps their
order: it does not change which TPR goes with which FPR. So a threshold is chosen after the correction, and one that was chosen
before it means something else after it.

Where several rules are there, an image is answered by the band, else by the threshold, else by the most probable class; a set
that does not hold that class alone makes it unsure.
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
from tellapart.metrics.intervals import fraction_interval, group_codes, variance_within, wilson
from tellapart.types import UNLABELED, Predictions, Score

UNSURE_NAME = "unsure"


@dataclass(frozen=True, eq=False)
class Decisions:
    """One verdict an image.

    Attributes:
        classes: C names.
        answers: (N,) int64, the class, or `UNSURE` (−1).
        reasons: (N,) object (str), the rule that decided.
    """

    classes: tuple[str, ...]
    predicted: np.ndarray
    reasons: np.ndarray

    def __len__(self) -> int:
        return len(self.predicted)

    @property
    def names(self) -> np.ndarray:
        """The class names, or "unsure": (N,) object (str)."""
        return np.array([*self.classes, UNSURE_NAME], dtype=object)[self.predicted]

    @property
    def unsure(self) -> int:
        """How many images were not answered."""
        return int((self.predicted == UNSURE).sum())


@dataclass(frozen=True)
class Decision:
    """Everything that was decided on a validation part, and how it turns probabilities into verdicts.

    Attributes:
        classes: C names.
        n: Validation images that it was decided on.
        positive: The class that threshold and band are about; None with more than two classes.
        map: The calibration; None: the probabilities stay.
        seen: (C,) the mix of classes that calibrated probabilities are for; None without a correction.
        prior: (C,) the mix where they will be used; None without a correction.
        threshold, band, sets: The rules, each None where there is none.
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
                f"a threshold or a band lies between two classes; there are {len(self.classes)}: {', '.join(self.classes)}",
                hint="sets of classes with a stated coverage work with any number: `--unsure 0.9`",
            )
        if self.threshold and self.band and not self.band.low <= self.threshold.threshold <= self.band.high:
            raise DataError(
                f"the threshold {self.threshold.threshold:.3f} lies outside the band {self.band.low:g} … {self.band.high:g}",
                hint="give a band around it, or only one of the two",
            )

    @property
    def has_rule(self) -> bool:
        """Whether there is a rule beyond the most probable class."""
        return bool(self.threshold or self.band or self.sets)

    def calibrated(self, proba: np.ndarray) -> np.ndarray:
        """Step 1 alone: (N, C) float, as the classifier answered → (N, C) float32."""
        return renormalize(proba if self.map is None else self.map(proba))

    def __call__(self, proba: np.ndarray) -> np.ndarray:
        """Steps 1 and 2: (N, C) float, as the classifier answered → (N, C) float32, rows sum to 1.

        >>> decision = Decision(("real", "fake"), 100, "fake", seen=(0.5, 0.5), prior=(0.98, 0.02))
        >>> decision(np.array([[.1, .9]])).round(3)
        array([[0.845, 0.155]], dtype=float32)
        """
        return self.corrected(self.calibrated(proba))

    def corrected(self, proba: np.ndarray) -> np.ndarray:
        """Step 2 alone: (N, C) float, calibrated → (N, C) float32."""
        if self.seen is None or self.prior is None:
            return renormalize(proba)
        return renormalize(correct_prior(proba, np.array(self.seen), np.array(self.prior)))

    def uncorrected(self, proba: np.ndarray) -> np.ndarray | None:
        """Step 2 undone: (N, C) float of step 2 → (N, C) float32 for the mix seen; None where the prior leaves a class nothing.

        Whether probabilities are true can be asked of images of the mix that they are for; labeled images have the mix seen.

        >>> decision = Decision(("real", "fake"), 100, "fake", seen=(0.5, 0.5), prior=(0.98, 0.02))
        >>> decision.uncorrected(np.array([[.845, .155]])).round(2)
        array([[0.1, 0.9]], dtype=float32)
        """
        if self.seen is None or self.prior is None:
            return renormalize(proba)
        return None if min(self.prior) <= 0 else renormalize(correct_prior(proba, np.array(self.prior), np.array(self.seen)))

    def scores(self, proba: np.ndarray) -> np.ndarray:
        """The probability of the positive class: (N, C) float of step 2 → (N,)."""
        return proba[:, self.classes.index(self.positive or self.classes[-1])]

    def decide(self, proba: np.ndarray) -> Decisions:
        """Step 3.

        Args:
            proba: (N, C) float, of step 2: what the calibrated run answers.

        >>> decision = Decision(("real", "fake"), 100, "fake", band=UnsureBand(0.3, 0.8))
        >>> found = decision.verdicts(np.array([[.9, .1], [.5, .5], [.1, .9]]))
        >>> found.names.tolist(), found.reasons.tolist()[1]
        (['real', 'unsure', 'fake'], 'between 0.3 and 0.8')
        """
        answers, reasons = self._apply_rule(proba)
        if self.sets is None:
            return Decisions(self.classes, answers, reasons)
        sets = self.sets(proba)
        lonely = (sets.sum(axis=1) == 1) & (sets.argmax(axis=1) == answers)
        for row in np.flatnonzero(~lonely & (answers != UNSURE)):
            reasons[row] = self._set_reason(sets[row], self.classes[answers[row]])
        return Decisions(self.classes, np.where(lonely, answers, UNSURE), reasons)

    def _apply_rule(self, proba: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N,) int64 and (N,) object, by band, threshold or the most probable class."""
        if self.band is None and self.threshold is None:
            return proba.argmax(axis=1), np.full(len(proba), "most probable", dtype=object)
        scores, positive = self.scores(proba), self.classes.index(self.positive or "")
        if self.band is not None:
            low, high = self.band.low, self.band.high
            said = self.band(scores)
            names = {1: f"from {high:g} up", 0: f"below {low:g}", UNSURE: f"between {low:g} and {high:g}"}
        else:
            at: Any = self.threshold
            said = at(scores).astype(np.int64)
            below = f"below {at.threshold:.3g}" if np.isfinite(at.threshold) else f"nothing may be called {self.positive}"
            names = {1: f"at or above {at.threshold:.3g}", 0: below}
        answers = np.where(said == UNSURE, UNSURE, np.where(said == 1, positive, 1 - positive))
        return answers, np.array([names[int(one)] for one in said], dtype=object)

    def _set_reason(self, inside: np.ndarray, answer: str) -> str:
        held = [name for name, is_in in zip(self.classes, inside, strict=True) if is_in]
        if not held:
            return "no class fits"
        if len(held) == 1:
            return f"the set holds {held[0]}, the threshold says {answer}"
        return f"possible: {', '.join(held)}" if len(held) <= 4 else f"possible: {len(held)} classes"

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
            name: None if data[name] is None else tuple(float(data[name][of]) for of in classes) for name in ("seen", "prior")
        }
        return cls(
            classes, int(data["n"]), data["positive"], **mixes,
            map=None if data["map"] is None else maps.read(data["map"]),
            threshold=None if data["threshold"] is None else Threshold.from_dict(data["threshold"]),
            band=None if data["band"] is None else RejectBand(**data["band"]),
            sets=None if data["sets"] is None else Conformal.from_dict(data["sets"]),
        )  # fmt: skip


def renormalize(proba: np.ndarray) -> np.ndarray:
    """Rows scaled to sum to 1 as every classifier's are, so that a threshold meets the very numbers it was chosen on."""
    proba = proba.astype(np.float64)
    return (proba / proba.sum(axis=1, keepdims=True)).astype(np.float32)


# --- how it did on labeled images ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DecisionReport:
    """How verdicts did on labeled images; groups, where there are any, are what varies.

    Attributes:
        answered: The share of images that got a class.
        accuracy: The share of right ones among them; None where there are none.
        positive: The class that threshold and band are about, if there is one.
        threshold: Where the line is, if there is one; infinite where nothing may be called positive.
        tpr: The share of positive images at or above the threshold; None without a threshold or a positive image.
        fpr: The share of negative images there; None likewise.
        sets: What the sets did, if there are any; `promised` is their coverage.
        promised: The coverage that was promised.
        classes: How many there are.
    """

    decided: Score
    accuracy: Score | None
    positive: str | None
    threshold: float | None
    tpr: Score | None
    fpr: Score | None
    sets: SetReport | None
    promised: float | None
    classes: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; an infinite threshold is None."""
        at = self.threshold if self.threshold is not None and np.isfinite(self.threshold) else None
        scores = {"answered": self.decided, "accuracy": self.accuracy, "tpr": self.tpr, "fpr": self.fpr}
        if self.sets is not None:
            scores |= {f"sets-{name}": getattr(self.sets, name) for name in ("covered", "single", "accuracy")}
        found: dict[str, Any] = {name: None if score is None else score.to_dict() for name, score in scores.items()}
        found |= {"positive": self.positive, "threshold": at, "promised": self.promised}
        return found | {"mean_set_size": None if self.sets is None else self.sets.mean_size}


def score_decisions(decision: Decision, predictions: Predictions) -> DecisionReport:
    """Verdicts beside the truth. Images without a label are left out.

    Args:
        decision: Of the run that answered.
        predictions: What it answered, calibrated and corrected.

    Raises:
        DataError: No image has a label, or the classes are others.

    >>> proba = np.array([[.9, .1], [.5, .5], [.1, .9], [.4, .6]], dtype=np.float32)
    >>> answers = Predictions(np.array(list("abcd"), dtype=object), proba, np.array([0, 0, 1, 1]), ("real", "fake"))
    >>> found = judge(Decision(("real", "fake"), 100, "fake", band=UnsureBand(0.3, 0.8)), answers)
    >>> found.answered.value, found.accuracy.value, found.accuracy.n
    (0.5, 1.0, 2)
    """
    if predictions.classes != decision.classes:
        raise DataError(f"verdicts are between {_listed(decision.classes)}; these answers are {_listed(predictions.classes)}")
    known = predictions.labels != UNLABELED
    if not known.any():
        raise DataError("verdicts are judged on one labeled image at least")
    labels, proba, groups = predictions.labels[known], predictions.proba[known], predictions.groups
    codes = group_codes(None if groups is None else groups[known])
    said = decision.decide(proba).predicted
    answered = said != UNSURE
    report = DecisionReport(
        decided=_share(answered, np.ones_like(answered), codes),
        accuracy=_share(said == labels, answered, codes) if answered.any() else None,
        positive=decision.positive, threshold=None, tpr=None, fpr=None,
        sets=_score_sets(decision, proba, labels, codes),
        promised=None if decision.sets is None else decision.sets.coverage,
        classes=len(decision.classes),
    )  # fmt: skip
    if decision.threshold is None:
        return report
    called, positive = decision.threshold(decision.scores(proba)), labels == decision.classes.index(decision.positive or "")
    tpr = _share(called, positive, codes) if positive.any() else None
    fpr = replace(_share(called, ~positive, codes), higher_is_better=False) if not positive.all() else None
    return replace(report, threshold=decision.threshold.threshold, tpr=tpr, fpr=fpr)


def _share(part: np.ndarray, whole: np.ndarray, codes: np.ndarray | None) -> Score:
    """Σ part / Σ whole; Wilson's interval, with groups the variance of a ratio over groups.

    Args:
        part: (N,) bool.
        whole: (N,) bool, one of them true.
        codes: (N,) int64, the group of each image, or None.
    """
    hits, n = int((part & whole).sum()), int(whole.sum())
    if codes is None:
        return Score(hits / n, n, *wilson(hits, n))
    _, own = np.unique(codes[whole], return_inverse=True)
    residuals = np.bincount(own, weights=(part[whole] - hits / n) / n)
    one = np.zeros(len(residuals), dtype=np.int64)
    return Score(hits / n, n, *fraction_interval(hits / n, variance_within(residuals, one), one))


def _score_sets(decision: Decision, proba: np.ndarray, labels: np.ndarray, codes: np.ndarray | None) -> SetReport | None:
    """`judge_sets`, with intervals over groups where there are any."""
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
