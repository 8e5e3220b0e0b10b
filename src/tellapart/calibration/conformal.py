"""Sets of classes that hold the true one as often as was promised, whatever the classifier (split-conformal prediction).

If the images to come are like those of the validation part, in any order, a set of coverage 90 % holds the true class
in at least 90 % of them: on average over validation parts, and over images, not for every class. A set of one class is an
answer; one of several, or of none, is "unsure".

Sources:
    Vovk, Gammerman & Shafer (2005), "Algorithmic learning in a random world" (the promise, and why n + 1).
    Sadinle, Lei & Wasserman (2019), "Least ambiguous set-valued classifiers with bounded error levels" (LAC).
    Romano, Sesia & Candès (2020), "Classification with valid and adaptive coverage" (APS, here without its random number).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.calibration.thresholds import UNSURE
from tellapart.errors import DataError
from tellapart.metrics.intervals import wilson
from tellapart.types import Score

METHODS = ("lac", "aps")


@dataclass(frozen=True)
class Conformal:
    """A set of classes for each image.

    LAC takes the classes with 1 − p_c ≤ q: the smallest sets on average, empty ones among them. APS takes the most probable
    classes until their sum with the next would exceed q: sets grow with difficulty, and hold the most probable class always.

    Attributes:
        method: "lac" or "aps".
        quantile: q; infinite when n was too small for the coverage: then every set holds all classes.
        coverage: As promised.
        n: Images it was fitted on.
    """

    method: str
    quantile: float
    coverage: float
    n: int

    @classmethod
    def fit(cls, proba: np.ndarray, labels: np.ndarray, coverage: float = 0.9, method: str = "lac") -> Conformal:
        """q is the ⌈(n+1) coverage⌉-th smallest score of the right classes, infinite when there is none.

        Args:
            proba: (n, C) float, of the validation part.
            labels: (n,) int64 in 0 … C−1.
            coverage: Between 0 and 1.
            method: "lac" or "aps".

        Raises:
            DataError: No image, an image without label, a coverage that is no share, or another method.

        >>> proba = np.array([[.9, .1], [.8, .2], [.3, .7], [.6, .4]])
        >>> Conformal.fit(proba, np.array([0, 0, 1, 1]), coverage=0.8).quantile
        0.6
        """
        if method not in METHODS or not 0 < coverage < 1:
            raise DataError(
                f"expected a coverage between 0 and 1 and one of {', '.join(METHODS)}, got {coverage:g}, {method!r}"
            )
        n = len(labels)
        if not n or labels.min() < 0 or not np.isfinite(proba).all():
            raise DataError("conformal sets are fitted on labeled images with finite probabilities, one at least")
        scores = np.sort(_scores(proba, method)[np.arange(n), labels])
        needed = math.ceil((n + 1) * coverage - 1e-9)
        return cls(method, float(scores[needed - 1]) if needed <= n else math.inf, coverage, n)

    def __call__(self, proba: np.ndarray) -> np.ndarray:
        """Which classes are in the set of each image: (N, C) float → (N, C) bool."""
        inside = _scores(proba, self.method) <= self.quantile
        if self.method == "aps":
            inside[np.arange(len(proba)), proba.argmax(axis=1)] = True
        return inside

    def predict(self, proba: np.ndarray) -> np.ndarray:
        """The class where the set holds exactly one, else −1 (unsure): (N, C) float → (N,) int64.

        >>> Conformal("lac", 0.6, 0.9, 100).answers(np.array([[.9, .1], [.5, .5]])).tolist()
        [0, -1]
        """
        sets = self(proba)
        return np.where(sets.sum(axis=1) == 1, sets.argmax(axis=1), UNSURE)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; an infinite quantile is None."""
        quantile = self.quantile if math.isfinite(self.quantile) else None
        return {"method": self.method, "quantile": quantile, "coverage": self.coverage, "n": self.n}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Conformal:
        """Read what `to_dict` wrote."""
        return cls(**{**data, "quantile": math.inf if data["quantile"] is None else float(data["quantile"])})


@dataclass(frozen=True)
class SetReport:
    """How the sets did on other labeled images.

    Attributes:
        covered: The share of sets that hold the true class.
        single: The share of sets of exactly one class.
        accuracy: The share of right ones among the sets of one class; None where there are none.
        mean_size: Classes in a set, on average.
    """

    covered: Score
    single: Score
    accuracy: Score | None
    mean_size: float


def score_sets(sets: np.ndarray, labels: np.ndarray) -> SetReport:
    """Coverage, and how often there is one answer, with Wilson's intervals.

    Args:
        sets: (N, C) bool, N ≥ 1.
        labels: (N,) int64 in 0 … C−1.

    >>> found = judge_sets(np.array([[True, False], [True, True], [True, False]]), np.array([0, 1, 1]))
    >>> round(found.covered.value, 3), round(found.single.value, 3), found.accuracy.value, round(found.mean_size, 3)
    (0.667, 0.667, 0.5, 1.333)
    """
    if not len(labels):
        raise DataError("sets are judged on one labeled image at least")
    covered, size = sets[np.arange(len(labels)), labels], sets.sum(axis=1)
    one = size == 1
    return SetReport(_share(covered), _share(one), _share(covered[one]) if one.any() else None, float(size.mean()))


def _share(hit: np.ndarray) -> Score:
    return Score(float(hit.mean()), len(hit), *wilson(int(hit.sum()), len(hit)))


def _scores(proba: np.ndarray, method: str) -> np.ndarray:
    """How ill each class fits: (N, C) float64, higher is worse."""
    p = proba.astype(np.float64)
    if method == "lac":
        return 1 - p
    order = np.argsort(-p, axis=1, kind="stable")
    sums = np.cumsum(np.take_along_axis(p, order, axis=1), axis=1)
    found = np.empty_like(p)
    np.put_along_axis(found, order, sums, axis=1)
    return found
