"""Whether wrong labels, and not only hard images or a miscalibrated model, explain the contradicted labels.

Two tests on out-of-fold predictions, of which both must be significant:

1. *Count.* For a calibrated model and correct labels, the number of labels with p < 0.01 is about Poisson with the sum of those
p
   as its mean.
2. *Floor.* The chance that prediction and label differ is modeled as ε + (1−ε) σ(a − b x), x the log-odds of the confidence,
with
   b ≥ 0. For correct labels ε is 0: a and b, which are fitted, describe a model of any accuracy and calibration, and the errors
   vanish as the confidence grows. A wrong label differs from the prediction however confident that is, so ε is the share of
   wrong labels. Likelihood-ratio test of ε ≤ 0.01: such shares are common in real data, and matter little.

Source:
    Self & Liang (1987), "Asymptotic properties of maximum likelihood estimators and likelihood ratio tests under nonstandard
    conditions" (one-sided test of ε).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit, ndtr, pdtrc

from tellapart.checks._associations import LEVEL
from tellapart.types import Score

SMALL = 0.01  # a label with a probability below this is contradicted
_NOISE, _NOISE_LEVEL = 0.01, 0.01  # the share of wrong labels that is tolerated, and the level of the test against it
_MOST = 0.5  # share of wrong labels
_CONFIDENT = 1 - 1e-9
_HALF_CHI2 = 1.9207  # half of the 0.95 quantile of chi-squared with one degree of freedom


@dataclass(frozen=True)
class LabelNoise:
    """Result of both tests.

    Attributes:
        observed: Number of labels with a probability below SMALL.
        expected: Their expected number: the sum of all probabilities below SMALL.
        p_value: Poisson probability of at least `observed`, for a calibrated model and correct labels.
        noise: Estimated share ε of wrong labels, with its profile likelihood interval.
        noise_p_value: p-value of the test of ε ≤ 0.01.
    """

    observed: int
    expected: float
    p_value: float
    noise: Score
    noise_p_value: float

    @property
    def significant(self) -> bool:
        """Whether there is evidence of wrong labels in both tests."""
        return self.p_value < LEVEL and self.noise_p_value < _NOISE_LEVEL


def estimate_label_noise(proba: np.ndarray, labels: np.ndarray) -> LabelNoise:
    """Run both tests.

    Args:
        proba: (N, C) float in [0, 1], out of fold, with a mean confidence equal to the accuracy.
        labels: (N,) int64 in 0 … C−1.
    """
    observed = int((proba[np.arange(len(labels)), labels] < SMALL).sum())
    expected = float(proba[proba < SMALL].sum())
    count_p = float(pdtrc(observed - 1, max(expected, 1.0))) if observed else 1.0
    curve = _ErrorCurve(logit(np.minimum(proba.max(axis=1).astype(np.float64), _CONFIDENT)), proba.argmax(axis=1) != labels)
    value = curve.best()
    noise = Score(value, len(labels), *curve.interval(value), higher_is_better=False)
    gain = max(0.0, curve.likelihood(value) - curve.likelihood(_NOISE))
    return LabelNoise(observed, expected, count_p, noise, float(ndtr(-math.sqrt(2 * gain))) if value > _NOISE else 1.0)


@dataclass(frozen=True, eq=False)
class _ErrorCurve:
    """Errors as a function of the confidence.

    Attributes:
        confidence: (N,) float64, log-odds.
        wrong: (N,) bool, whether prediction and label differ.
    """

    confidence: np.ndarray
    wrong: np.ndarray

    def likelihood(self, floor: float) -> float:
        """The log-likelihood at ε = `floor`, with the best a and b."""

        def loss(ab: np.ndarray) -> tuple[float, np.ndarray]:
            rate = expit(ab[0] - ab[1] * self.confidence)
            p = np.clip(floor + (1 - floor) * rate, 1e-12, 1 - 1e-12)
            slope = np.where(self.wrong, -1 / p, 1 / (1 - p)) * (1 - floor) * rate * (1 - rate)
            value = -np.log(np.where(self.wrong, p, 1 - p)).sum()
            return float(value), np.array([slope.sum(), -(slope * self.confidence).sum()])

        found: Any = minimize(loss, [0.0, 1.0], jac=True, bounds=[(None, None), (0, None)], method="L-BFGS-B")
        return -float(found.fun)

    def best(self) -> float:
        """The most likely ε, to 0.001: the likelihood is searched on a grid, then between its neighbors."""
        grid = np.concatenate([np.arange(0, 0.1, 0.01), np.arange(0.1, _MOST + 0.01, 0.05)])
        best = float(grid[np.argmax([self.likelihood(floor) for floor in grid])])
        near = np.clip(best + np.arange(-9, 10) / 1000, 0, _MOST)
        return float(near[np.argmax([self.likelihood(floor) for floor in near])])

    def interval(self, value: float) -> tuple[float, float]:
        """Profile likelihood interval around the most likely ε."""
        top = self.likelihood(value) - _HALF_CHI2

        def excess(floor: float) -> float:
            return self.likelihood(floor) - top

        low: Any = 0.0 if value == 0 or excess(0.0) >= 0 else brentq(excess, 0.0, value, xtol=1e-3)
        high: Any = _MOST if excess(_MOST) >= 0 else brentq(excess, value, _MOST, xtol=1e-3)
        return float(low), float(high)
