"""Stacking: a classifier that learns from the voters' answers which of them to believe, and when.

Wolpert 1992, "Stacked generalization". It ought to learn from answers that each voter gave to images it was not trained on; the
validation part is such a part, if a small one. logistic: multinomial, L2, on the centered log-probabilities of all voters; the
penalty is the one of least log loss in four folds. boosting: shallow boosted trees on the probabilities; they need many images.
A class that the validation part lacks keeps the voters' mean probability.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
from pydantic import Field
from scipy.special import softmax

from tellapart.combiners.base import CLIP, Combiner
from tellapart.recipe.schema import OptionsModel

_FOLDS = 4


class Stack(Combiner):
    """A learner on top."""

    uses_labels = True

    class Options(OptionsModel):
        """Options of `stack`."""

        learner: Literal["logistic", "boosting"] = Field(default="logistic", description="what learns from the answers")
        C: list[float] = Field(
            default=[0.0001, 0.001, 0.01, 0.1, 1.0], min_length=1, description="of logistic: inverse penalties tried"
        )
        iterations: int = Field(default=500, ge=1, description="of logistic: most L-BFGS steps a fit")
        rounds: int = Field(default=50, ge=1, description="of boosting: trees a class")
        leaves: int = Field(default=7, ge=2, description="of boosting: leaves a tree")

    def _fit(self, voters: np.ndarray, labels: np.ndarray) -> None:
        seen = np.unique(labels)
        if len(seen) < 2:
            self.notes.append("the validation part has no two classes to learn from: this is the plain mean")
            return
        self.arrays = {"seen": seen}
        if self.options.learner == "logistic":
            self.arrays |= self._logistic(_log_odds(voters), labels)
        else:
            self.estimator = self._boosting().fit(_side_by_side(voters), labels)

    def _proba(self, voters: np.ndarray) -> np.ndarray:
        mean = voters.mean(axis=0, dtype=np.float64)
        if not self.arrays or not len(mean):
            return mean
        seen = self.arrays["seen"]
        if self.options.learner == "logistic":
            answer = softmax(_log_odds(voters) @ self.arrays["weight"].T + self.arrays["bias"], axis=1)
        else:
            answer = self.estimator.predict_proba(_side_by_side(voters))
        left = 1 - (mean.sum(axis=1) - mean[:, seen].sum(axis=1))
        mean[:, seen] = answer * np.maximum(left, CLIP)[:, None]
        return mean

    @property
    def parameters(self) -> int:
        """Weights, or nodes of all trees."""
        trees = [] if self.estimator is None else [tree for stage in self.estimator._predictors for tree in stage]
        return super().parameters + sum(len(tree.nodes) for tree in trees)

    def _logistic(self, X: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
        """Weights (S, K·C) and biases (S,), one row a class that `y` has."""
        candidates, best = sorted(self.options.C), None
        if len(candidates) > 1:
            losses = [self._loss_in_folds(X, y, C) for C in candidates]
            best = candidates[int(np.argmin(losses))]
        weight, bias = _fitted(X, y, best or candidates[0], self.options.iterations)
        return {"weight": weight, "bias": bias}

    def _loss_in_folds(self, X: np.ndarray, y: np.ndarray, C: float) -> float:
        """Log loss on each fold of what learnt from the others; a class that these lack costs ln(1/ε)."""
        fold = np.random.default_rng(self.seed).permutation(len(y)) % _FOLDS
        total = 0.0
        for one in range(_FOLDS):
            learnt, asked = fold != one, fold == one
            seen = np.unique(y[learnt])
            if len(seen) < 2 or not asked.any():
                continue
            weight, bias = _fitted(X[learnt], y[learnt], C, self.options.iterations)
            given = softmax(X[asked] @ weight.T + bias, axis=1) * (seen == y[asked][:, None])
            total -= np.log(np.maximum(given.sum(axis=1), CLIP)).sum()
        return total

    def _boosting(self) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(
            max_iter=self.options.rounds, max_leaf_nodes=self.options.leaves, random_state=self.seed,
            early_stopping=False,  # pyright: ignore[reportArgumentType] (inferred from the default "auto")
        )  # fmt: skip


def _fitted(X: np.ndarray, y: np.ndarray, C: float, iterations: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an early end is a regularizer like any other
        model = LogisticRegression(C=C, max_iter=iterations).fit(X, y)
    weight, bias = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
    if len(weight) == 1:  # two classes: scikit-learn keeps the second one's logit alone
        weight, bias = np.vstack([np.zeros_like(weight), weight]), np.concatenate([np.zeros(1), bias])
    return np.ascontiguousarray(weight), bias


def _log_odds(voters: np.ndarray) -> np.ndarray:
    """(K, N, C) → (N, K·C) float64, ln p less its mean over the classes."""
    logs = np.log(np.clip(voters, CLIP, 1, dtype=np.float64))
    return _side_by_side(logs - logs.mean(axis=2, keepdims=True))


def _side_by_side(voters: np.ndarray) -> np.ndarray:
    """(K, N, C) → (N, K·C)."""
    return voters.transpose(1, 0, 2).reshape(voters.shape[1], -1)
