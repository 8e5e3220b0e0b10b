"""Split-conformal prediction: sets of classes with guaranteed coverage, whatever the classifier.

If new images are exchangeable with those of the validation split, prediction sets of coverage 90 % contain the true class of at
least 90 % of the images: on average over validation splits and images, not for every class. A set with exactly one class is a
decision; a set with several classes or none is "unsure".

Sources:
    Vovk, Gammerman & Shafer (2005), "Algorithmic learning in a random world" (the coverage guarantee, and why n + 1).
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
    """Conformal prediction sets.

    LAC sets contain the classes with 1 − p_c ≤ q: the smallest sets on average, possibly empty. APS sets contain the most
    probable classes until their total with the next class would exceed q: their size increases with the difficulty of the
    image, and they always contain the most probable class.

    Attributes:
        method: "lac" or "aps".
        quantile: q; infinite if n is too small for the coverage, in which case every set contains all classes.
        coverage: Nominal coverage.
        n: Number of images that the sets were fitted on.
    """

    method: str
    quantile: float
    coverage: float
    n: int

    @classmethod
    def fit(cls, proba: np.ndarray, labels: np.ndarray, coverage: float = 0.9, method: str = "lac") -> Conformal:
        """Fit q: the ⌈(n+1) coverage⌉-th smallest score of the true classes, infinite if there are fewer.

        Args:
            proba: (n, C) float in [0, 1], validation probabilities.
            labels: (n,) int64 in 0 … C−1.
            coverage: Nominal coverage in (0, 1).
            method: "lac" or "aps".

        Raises:
            DataError: There is no image, an image has no label, or the coverage or method is invalid.

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
            raise DataError("conformal sets need at least one image, a label for every image, and finite probabilities")
        scores = np.sort(_scores(proba, method)[np.arange(n), labels])
        needed = math.ceil((n + 1) * coverage - 1e-9)
        return cls(method, float(scores[needed - 1]) if needed <= n else math.inf, coverage, n)

    def __call__(self, proba: np.ndarray) -> np.ndarray:
        """Compute the prediction set of each image: (N, C) float → (N, C) bool."""
        inside = _scores(proba, self.method) <= self.quantile
        if self.method == "aps":
            inside[np.arange(len(proba)), proba.argmax(axis=1)] = True
        return inside

    def predict(self, proba: np.ndarray) -> np.ndarray:
        """Return the class if the set contains exactly one, else −1 (unsure): (N, C) float → (N,) int64.

        >>> Conformal("lac", 0.6, 0.9, 100).predict(np.array([[.9, .1], [.5, .5]])).tolist()
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
    """Scores of prediction sets on labeled images.

    Attributes:
        covered: Share of sets that contain the true class.
        single: Share of sets with exactly one class.
        accuracy: Accuracy of the sets with exactly one class; None if there are none.
        mean_size: Mean number of classes in a set.
    """

    covered: Score
    single: Score
    accuracy: Score | None
    mean_size: float


def score_sets(sets: np.ndarray, labels: np.ndarray) -> SetReport:
    """Score prediction sets: coverage, share and accuracy of sets with one class, with Wilson's intervals.

    Args:
        sets: (N, C) bool, N ≥ 1.
        labels: (N,) int64 in 0 … C−1.

    >>> report = score_sets(np.array([[True, False], [True, True], [True, False]]), np.array([0, 1, 1]))
    >>> round(report.covered.value, 3), round(report.single.value, 3), report.accuracy.value, round(report.mean_size, 3)
    (0.667, 0.667, 0.5, 1.333)
    """
    if not len(labels):
        raise DataError("scoring prediction sets needs at least one labeled image")
    covered, size = sets[np.arange(len(labels)), labels], sets.sum(axis=1)
    one = size == 1
    return SetReport(_share(covered), _share(one), _share(covered[one]) if one.any() else None, float(size.mean()))


def _share(hit: np.ndarray) -> Score:
    return Score(float(hit.mean()), len(hit), *wilson(int(hit.sum()), len(hit)))


def _scores(proba: np.ndarray, method: str) -> np.ndarray:
    """Nonconformity score of each class: (N, C) float64, higher is worse."""
    p = proba.astype(np.float64)
    if method == "lac":
        return 1 - p
    order = np.argsort(-p, axis=1, kind="stable")
    sums = np.cumsum(np.take_along_axis(p, order, axis=1), axis=1)
    found = np.empty_like(p)
    np.put_along_axis(found, order, sums, axis=1)
    return found
