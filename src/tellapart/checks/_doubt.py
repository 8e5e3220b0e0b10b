"""Are more labels contradicted than the model's own doubts explain? That tells wrong labels from hard images.

A model that is as sure as it is right gives a label less than 1 % in just so many cases as its probabilities below 1 % add up
to. Wrong labels come on top. So the answers are first sharpened or softened (one temperature, such that the mean of the highest
probability is the share of labels agreed with), then counted, then compared by a Poisson test.

Source: Guo, Pleiss, Sun & Weinberger (2017), "On calibration of modern neural networks" (temperature scaling; here matched to
the agreement, since likelihood would let the wrong labels choose the temperature).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import pdtrc, softmax

from tellapart.checks._associations import LEVEL

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

    seen: int
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
