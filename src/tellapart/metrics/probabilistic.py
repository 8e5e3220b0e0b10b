"""Scores of probabilities: log-loss, Brier score and top-k accuracy.

Notation: y labels, p probabilities, C classes, N images. Calibration is measured in `tellapart.metrics.reliability`.

Sources:
    Good (1952), "Rational decisions" (the logarithmic score).
    Brier (1950), "Verification of forecasts expressed in terms of probability".
"""

from __future__ import annotations

import numpy as np

#: Probabilities are clipped to [CLIP, 1 − CLIP] in the log-loss: the resolution of float32, as in scikit-learn.
CLIP = float(np.finfo(np.float32).eps)


def log_loss(labels: np.ndarray, proba: np.ndarray) -> float:
    """Mean negative log-likelihood in nats: −(1/N) Σ ln p(y), p clipped to [ε, 1−ε] with ε = 2⁻²³.

    Args:
        labels: (N,) int64 in 0 … C−1.
        proba: (N, C) float in [0, 1].

    >>> round(log_loss(np.array([0, 1]), np.array([[.5, .5], [.2, .8]])), 4)
    0.4581
    """
    return float(nll_per_sample(labels, proba).mean())


def brier(labels: np.ndarray, proba: np.ndarray) -> float:
    """Brier score: (1/N) Σ Σ_c (p_c − [y = c])²; half of that for two classes.

    For two classes this is the usual (1/N) Σ (p₊ − [y = +])², from 0 to 1; for more classes it ranges from 0 to 2, as in
    scikit-learn.

    Args:
        labels: (N,) int64 in 0 … C−1.
        proba: (N, C) float in [0, 1].

    >>> round(brier(np.array([0, 1]), np.array([[.5, .5], [.2, .8]])), 4)
    0.145
    """
    return float(brier_per_sample(labels, proba).mean())


def top_k_accuracy(labels: np.ndarray, proba: np.ndarray, k: int) -> float:
    """Share of images whose class is among the k most probable classes; ties are resolved in class order.

    Args:
        labels: (N,) int64 in 0 … C−1.
        proba: (N, C) float in [0, 1].
        k: At least 1; for 1 it is the accuracy.

    >>> top_k_accuracy(np.array([0, 1]), np.array([[.2, .5, .3], [.3, .4, .3]]), 2)
    0.5
    """
    return float(np.mean(true_class_rank(labels, proba) < k))


# --- values per image -------------------------------------------------------------------------------------------------


def nll_per_sample(labels: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """Negative log-likelihood of each image, −ln p(y) with p clipped: (N,) float64, nats.

    >>> nll_per_sample(np.array([0]), np.array([[.5, .5]])).round(4)
    array([0.6931])
    """
    return -np.log(np.clip(_given(labels, proba), CLIP, 1 - CLIP))


def brier_per_sample(labels: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """Brier score of each image, Σ_c (p_c − [y = c])², halved for two classes: (N,) float64.

    >>> brier_per_sample(np.array([0, 2]), np.array([[1, 0, 0], [1, 0, 0]]))
    array([0., 2.])
    """
    given, p = _given(labels, proba), proba.astype(np.float64)
    whole = np.einsum("nc,nc->n", p, p) - given**2 + (1 - given) ** 2
    return whole / 2 if proba.shape[1] == 2 else whole


def true_class_rank(labels: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """Rank of the true class of each image, from 0: the number of classes that are more probable, or tied and earlier.

    Returns:
        (N,) int64 in 0 … C−1.

    >>> true_class_rank(np.array([1, 1]), np.array([[.5, .3, .2], [.4, .4, .2]]))
    array([1, 1])
    """
    given = proba[np.arange(len(labels)), labels][:, None]
    before = np.arange(proba.shape[1]) < labels[:, None]
    return np.sum((proba > given) | ((proba == given) & before), axis=1)


def _given(labels: np.ndarray, proba: np.ndarray) -> np.ndarray:
    return proba[np.arange(len(labels)), labels].astype(np.float64)
