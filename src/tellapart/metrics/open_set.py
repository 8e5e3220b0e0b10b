"""Open-set recognition: are images of a class that is not in the training split rejected as unknown?

The unknown score of an image is 1 − its highest probability. The threshold is set on held-out images of the known classes, such
that at most a given share of them is rejected. As in conformal prediction, this guarantee holds for further images of the
known classes, whatever the unknown classes are.

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
    """Scores of one class that is excluded from training.

    Attributes:
        unknown: Name of the excluded class.
        auroc: AUROC of the unknown score for unknown against known images; 0.5 is chance.
        rejected: Share of the unknown images that are rejected.
        false_alarms: Share of the known images that are rejected; close to the requested share.
        accuracy: Accuracy on the known images among the known classes, rejected or not.
        predicted_as: Known class → share of the unknown images that are not rejected and predicted as this class.
    """

    unknown: str
    auroc: Score
    rejected: Score
    false_alarms: Score
    accuracy: Score
    predicted_as: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        scores = {n: getattr(self, n).to_dict() for n in ("auroc", "rejected", "false_alarms", "accuracy")}
        return {"unknown": self.unknown, **scores, "predicted_as": self.predicted_as}


def unknown_score(proba: np.ndarray) -> np.ndarray:
    """Unknown score, 1 − the highest probability: (N, C) float → (N,) float64 in [0, 1).

    >>> unknown_score(np.array([[0.9, 0.1], [0.5, 0.5]])).round(2).tolist()
    [0.1, 0.5]
    """
    return 1 - proba.astype(np.float64).max(axis=1)


def unknown_threshold(known: np.ndarray, share: float) -> float:
    """Compute the unknown score above which an image is rejected.

    Args:
        known: (N,) float, unknown scores of held-out images of the known classes.
        share: Highest expected share of further known images that are rejected, in (0, 1).

    Returns:
        The ⌈(N+1)(1−share)⌉-th smallest score; infinite if N is too small to guarantee the share.

    Raises:
        DataError: `share` is not in (0, 1).

    >>> unknown_threshold(np.arange(1, 20) / 100, 0.1), unknown_threshold(np.array([0.1]), 0.1)
    (0.18, inf)
    """
    if not 0 < share < 1:
        raise DataError(f"share {share:g}: expected a number between 0 and 1, such as 0.05")
    rank = math.ceil((len(known) + 1) * (1 - share) - 1e-9)
    return float(np.sort(known)[rank - 1]) if rank <= len(known) else math.inf


def score_open_set(unknown: str, strange: np.ndarray, known: Predictions, threshold: float) -> OpenSet:
    """Score one class that is excluded from training.

    Args:
        unknown: Name of the class.
        strange: (M, C) float in [0, 1], probabilities of its images over the known classes.
        known: Predictions for images of the known classes that are used neither for training nor for the threshold.
        threshold: Threshold from `unknown_threshold`.

    Raises:
        DataError: There are no unknown or no known images.
    """
    if not len(strange) or not len(known):
        raise DataError(f"{unknown}: expected at least 1 unknown and 1 known image, got {len(strange)} and {len(known)}")
    scores = np.concatenate([unknown_score(strange), unknown_score(known.proba)])
    is_unknown = np.arange(len(scores)) < len(strange)
    curve = roc_curve(is_unknown, scores)
    low, high = auroc_interval(curve, np.arange(len(scores)))
    rejected = scores > threshold
    accepted = strange.argmax(axis=1)[~rejected[is_unknown]]
    shares = np.bincount(accepted, minlength=len(known.classes)) / len(strange)
    return OpenSet(
        unknown,
        Score(area(curve), len(scores), low, high),
        _share(rejected[is_unknown]),
        _share(rejected[~is_unknown], higher_is_better=False),
        score_all(known)["accuracy"],
        dict(zip(known.classes, map(float, shares), strict=True)),
    )


def _share(hit: np.ndarray, higher_is_better: bool = True) -> Score:
    low, high = wilson(int(hit.sum()), len(hit))
    return Score(float(hit.mean()), len(hit), low, high, higher_is_better)
