"""Base class of the families that predict softmax(W x + b). They differ in how W and b are fitted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from scipy.special import softmax

from tellapart.classifiers._temperature import argmin_loss, log_loss, temperature
from tellapart.classifiers.feature_classifier import FeatureClassifier
from tellapart.io import write_arrays

#: Weights (seen classes, D) and biases (seen classes,), float64.
Plane = tuple[np.ndarray, np.ndarray]


class SoftmaxClassifier(FeatureClassifier):
    """Predicts softmax(W x + b); a class without training images has probability 0.

    Attributes:
        weight: (S, D) float64, one row per class with training images.
        bias: (S,) float64.
        seen: (S,) int64, the labels of these classes.
    """

    weight: np.ndarray
    bias: np.ndarray
    seen: np.ndarray

    def _reset(self, X: np.ndarray, y: np.ndarray) -> bool:
        """Discard an earlier fit; returns whether there is more than one class to fit."""
        self.seen = np.unique(y)
        self.weight, self.bias = np.zeros((1, X.shape[1])), np.zeros(1)
        return len(self.seen) > 1

    def _take_best(self, candidates: Iterable[Plane], X_valid: np.ndarray, y_valid: np.ndarray, *, soften: bool) -> None:
        """Keep the candidate of the lowest validation log loss; the middle one if the validation split cannot decide.

        Args:
            candidates: Weights and biases, at least one pair, in the order of their penalties.
            X_valid: (M, D) float32.
            y_valid: (M,) int64.
            soften: Fit a temperature for each candidate first; W and b are multiplied by it.
        """
        found, losses = [], []
        for weight, bias in candidates:
            decision = np.full((len(X_valid), len(self.classes)), -np.inf)
            decision[:, self.seen] = X_valid @ weight.T + bias
            t = temperature(decision, y_valid) if soften else 1.0
            found.append((weight * t, bias * t))
            losses.append(log_loss(decision * t, y_valid))
        self.weight, self.bias = found[argmin_loss(losses)]

    def _predict_vectors(self, X: np.ndarray) -> np.ndarray:
        proba = np.zeros((len(X), len(self.classes)))
        proba[:, self.seen] = softmax(X @ self.weight.T + self.bias, axis=1)
        return proba

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return int(self.weight.size + self.bias.size)

    def _save_model(self, folder: Path) -> None:
        arrays = {"weight": self.weight, "bias": self.bias, "seen": self.seen}
        write_arrays(folder / "weights.safetensors", arrays)

    def _load_model(self, folder: Path) -> None:
        arrays = load_file(folder / "weights.safetensors")
        self.weight, self.bias, self.seen = arrays["weight"], arrays["bias"], arrays["seen"]
