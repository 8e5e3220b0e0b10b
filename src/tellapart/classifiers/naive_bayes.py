"""Gaussian naive Bayes: one Gaussian per class and feature, assuming that features are conditionally independent.

Hand & Yu 2001, "Idiot's Bayes: Not So Stupid after All?". A fraction of the largest variance is added to all variances, so that
a feature that is constant in a class cannot decide alone; validation selects the fraction. A temperature, fitted on the
validation split, corrects the probabilities, which are overconfident because features are not independent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file
from scipy.special import softmax

from tellapart.classifiers._temperature import argmin_loss, log_loss, temperature
from tellapart.classifiers.feature_classifier import FeatureClassifier
from tellapart.io import write_arrays
from tellapart.recipe.schema import OptionsModel

_COOLEST = 1e-4  # with thousands of redundant features, log posteriors are thousands of times too large


class NaiveBayes(FeatureClassifier):
    """Gaussian naive Bayes with temperature scaling."""

    class Options(OptionsModel):
        """Options of `family: naive_bayes`."""

        smoothing: list[Annotated[float, Field(gt=0)]] = Field(
            default=[1e-4, 1e-3, 1e-2, 1e-1, 1.0],
            min_length=1,
            description="candidates for the fraction of the largest variance added to all variances; validation selects one",
        )

    options: Options

    def _fit_vectors(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray) -> None:
        seen, counts = np.unique(y, return_counts=True)
        groups = [X[y == label].astype(np.float64) for label in seen]
        mean, variance = np.stack([g.mean(axis=0) for g in groups]), np.stack([g.var(axis=0) for g in groups])
        largest = max(float(X.var(axis=0, dtype=np.float64).max()), 1e-12)
        found, losses = [], []
        for share in sorted(self.options.smoothing):
            arrays = {"seen": seen, "mean": mean, "variance": variance + share * largest, "share": counts / len(y)}
            decision = self._decide(X_valid, arrays)
            t = temperature(decision, y_valid, _COOLEST)
            found.append({**arrays, "temperature": np.array([t])})
            losses.append(log_loss(decision * t, y_valid))
        self.arrays = found[argmin_loss(losses)]

    def _predict_vectors(self, X: np.ndarray) -> np.ndarray:
        return softmax(self._decide(X, self.arrays) * self.arrays["temperature"], axis=1)

    def _decide(self, X: np.ndarray, arrays: dict[str, np.ndarray]) -> np.ndarray:
        """Log posteriors up to a constant per row: (N, C) float64, −inf for classes without training images.

        (x − m)² / v is expanded into two matrix products.
        """
        X, mean, precision = X.astype(np.float64), arrays["mean"], 1 / arrays["variance"]
        constant = np.log(arrays["share"]) + (np.log(precision) - mean**2 * precision).sum(axis=1) / 2
        decision = np.full((len(X), len(self.classes)), -np.inf)
        decision[:, arrays["seen"]] = constant + X @ (mean * precision).T - X**2 @ precision.T / 2
        return decision

    @property
    def parameters(self) -> int:
        """Number of means and variances."""
        return int(self.arrays["mean"].size + self.arrays["variance"].size)

    def _save_model(self, folder: Path) -> None:
        write_arrays(folder / "weights.safetensors", self.arrays)

    def _load_model(self, folder: Path) -> None:
        self.arrays = load_file(folder / "weights.safetensors")
