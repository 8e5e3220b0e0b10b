"""Is an image of a class that was never learnt recognized as none of those that were?

How unknown an image looks is 1 − its highest probability. A threshold is set on images of known classes that were not learnt
from, so that a stated share of them at most is called "none of these"; like a conformal set without a class, it holds for
images of the known classes as they come, whatever the unknown ones are.

Sources:
    Hendrycks & Gimpel (2017), "A baseline for detecting misclassified and out-of-distribution examples" (the score).
    Angelopoulos & Bates (2023), "Conformal prediction: a gentle introduction" (the threshold).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.errors import DataError
from tellapart.metrics.intervals import wilson
from tellapart.metrics.roc import area, roc_curve
from tellapart.metrics.roc_intervals import auroc_interval
from tellapart.metrics.score_all import score_all
from tellapart.types import Predictions, Score


@dataclass(frozen=True)
class OpenSet:
    """One class that was not learnt, against those that were.

    Attributes:
        unknown: Its name.
        auroc: Of "unknown looks more unknown than known": 0.5 says nothing.
        found: The share of its images called "none of these".
        false_alarms: The share of known images called so; near the one that was asked for.
        accuracy: Of the known images among the known classes, whatever their verdict.
        taken_for: Known class → the share of the unknown images that get it as an answer and are not called "none of these".
    """

    unknown: str
    auroc: Score
    found: Score
    false_alarms: Score
    accuracy: Score
    taken_for: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        scores = {n: getattr(self, n).to_dict() for n in ("auroc", "found", "false_alarms", "accuracy")}
        return {"unknown": self.unknown, **scores, "taken_for": self.taken_for}


def unknown_score(proba: np.ndarray) -> np.ndarray:
    """1 − the highest probability: (N, C) float → (N,) float64 in [0, 1).

    >>> unknownness(np.array([[0.9, 0.1], [0.5, 0.5]])).round(2).tolist()
    [0.1, 0.5]
    """
    return 1 - proba.astype(np.float64).max(axis=1)


def unknown_threshold(known: np.ndarray, share: float) -> float:
    """The unknownness above which an image is none of the known classes.

    Args:
        known: (N,) unknownness of images of known classes that were not learnt from.
        share: Of such images in future that may be called so, at most, in the mean.

    Returns:
        The ⌈(N+1)(1−share)⌉-th smallest value; infinite where N is too small to promise it.

    Raises:
        DataError: `share` is not in (0, 1).

    >>> threshold_for(np.arange(1, 20) / 100, 0.1), threshold_for(np.array([0.1]), 0.1)
    (0.18, inf)
    """
    if not 0 < share < 1:
        raise DataError(f"share {share:g}: expected a number between 0 and 1, such as 0.05")
    place = math.ceil((len(known) + 1) * (1 - share) - 1e-9)
    return float(np.sort(known)[place - 1]) if place <= len(known) else math.inf


def score_open_set(unknown: str, strange: np.ndarray, known: Predictions, threshold: float) -> OpenSet:
    """Score one class that was left out.

    Args:
        unknown: Its name.
        strange: (M, C) probabilities of its images over the known classes.
        known: Answers on images of the known classes that were neither learnt from nor used for the threshold.
        threshold: Of `threshold_for`.

    Raises:
        DataError: No image of one kind.
    """
    if not len(strange) or not len(known):
        raise DataError(f"{unknown}: {len(strange)} unknown and {len(known)} known images to judge by; at least 1 of each")
    scores = np.concatenate([unknown_score(strange), unknown_score(known.proba)])
    is_unknown = np.arange(len(scores)) < len(strange)
    sweep = roc_curve(is_unknown, scores)
    low, high = auroc_interval(sweep, np.arange(len(scores)))
    called = scores > threshold
    answers = strange.argmax(axis=1)[~called[is_unknown]]
    shares = np.bincount(answers, minlength=len(known.classes)) / len(strange)
    return OpenSet(
        unknown,
        Score(area(sweep), len(scores), low, high),
        _share(called[is_unknown]),
        _share(called[~is_unknown], higher_is_better=False),
        score_all(known)["accuracy"],
        dict(zip(known.classes, map(float, shares), strict=True)),
    )


def _share(hit: np.ndarray, higher_is_better: bool = True) -> Score:
    low, high = wilson(int(hit.sum()), len(hit))
    return Score(float(hit.mean()), len(hit), low, high, higher_is_better)
