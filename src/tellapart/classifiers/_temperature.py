"""Temperature scaling of decision values, and model selection by validation log loss.

Guo et al. 2017, "On Calibration of Modern Neural Networks": softmax(t · decision), t fitted on the validation split by log
loss. The order of the classes, and with it the predicted class, does not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import log_softmax

_LEAST = np.log(1e-12)  # lower bound on a log probability


def temperature(decision: np.ndarray, labels: np.ndarray, coolest: float = 0.01) -> float:
    """The factor t in [coolest, 100] that minimizes the log loss of softmax(t · decision); 1 without usable labels.

    Args:
        decision: (N, C) float64; −inf for classes without training images.
        labels: (N,) int64; −1: unknown.
        coolest: Smallest factor to try.
    """
    from scipy.optimize import minimize_scalar

    if not _usable(decision, labels).any():
        return 1.0
    found: Any = minimize_scalar(
        lambda log_t: log_loss(decision * np.exp(log_t), labels), bounds=(np.log(coolest), np.log(100)), method="bounded"
    )
    return float(np.exp(found.x))


def log_loss(decision: np.ndarray, labels: np.ndarray) -> float:
    """Mean −log of softmax(decision) at the label, over rows whose class has training images; inf if there is no such row."""
    usable = _usable(decision, labels)
    if not usable.any():
        return np.inf
    rows, target = decision[usable], labels[usable]
    picked = log_softmax(rows, axis=1)[np.arange(len(target)), target]
    return float(-np.maximum(picked, _LEAST).mean())


def argmin_loss(losses: Sequence[float]) -> int:
    """Index of the smallest loss; the middle index if no loss is finite."""
    return int(np.argmin(losses)) if np.isfinite(losses).any() else len(losses) // 2


def _usable(decision: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return (labels >= 0) & np.isfinite(decision[np.arange(len(labels)), labels.clip(min=0)])
