"""Multinomial logistic regression (scikit-learn, L-BFGS), the strength of its L2 penalty chosen on validation."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file, save_file
from scipy.special import softmax

from tellapart.families._features import FeatureFamily
from tellapart.recipe import Section


class Linear(FeatureFamily):
    """softmax(W x + b)."""

    class Options(Section):
        """Options of `family: linear`."""

        C: list[float] = Field(
            default=[0.001, 0.01, 0.1, 1.0], min_length=1, description="inverse penalties tried; validation picks"
        )
        iterations: int = Field(default=300, ge=1, description="most L-BFGS steps a fit")

    def _learn(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray) -> None:
        from sklearn.linear_model import LogisticRegression

        self.seen = np.unique(y)
        self.weight, self.bias = np.zeros((1, X.shape[1])), np.zeros(1)
        if len(self.seen) == 1:
            return
        best = np.inf
        # from the strongest penalty to the weakest, each starting where the last one ended
        model = LogisticRegression(max_iter=self.options.iterations, tol=1e-3, warm_start=True)
        for C in sorted(self.options.C):
            weight, bias = _refit(model.set_params(C=C), X, y)
            proba = softmax(X_valid @ weight.T + bias, axis=1)
            loss = _log_loss(proba, np.searchsorted(self.seen, y_valid), y_valid, self.seen)
            if loss < best or not self.weight.any():
                best, self.weight, self.bias = loss, weight, bias

    def _answer(self, X: np.ndarray) -> np.ndarray:
        proba = np.zeros((len(X), len(self.classes)))
        proba[:, self.seen] = softmax(X @ self.weight.T + self.bias, axis=1)
        return proba

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return int(self.weight.size + self.bias.size)

    def _save_model(self, folder: Path) -> None:
        save_file({"weight": self.weight, "bias": self.bias, "seen": self.seen}, folder / "weights.safetensors")

    def _load_model(self, folder: Path) -> None:
        arrays = load_file(folder / "weights.safetensors")
        self.weight, self.bias, self.seen = arrays["weight"], arrays["bias"], arrays["seen"]


def _refit(model: Any, X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (C, D) and biases (C,), one row a class that `y` has."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # an early end is a regulariser like any other here: validation judges the result
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    weight, bias = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
    if len(weight) == 1:  # two classes: scikit-learn keeps the second one's logit alone
        weight, bias = np.vstack([np.zeros_like(weight), weight]), np.concatenate([np.zeros(1), bias])
    return np.ascontiguousarray(weight), bias


def _log_loss(proba: np.ndarray, column: np.ndarray, labels: np.ndarray, seen: np.ndarray) -> float:
    usable = np.isin(labels, seen)
    if not usable.any():
        return np.inf
    picked = proba[usable, column[usable]]
    return float(-np.log(np.maximum(picked, 1e-12)).mean())
