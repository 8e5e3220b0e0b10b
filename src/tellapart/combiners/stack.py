"""Stacking: a classifier that is trained on the predictions of the members.

Wolpert 1992, "Stacked generalization". It must be trained on images that the members were not trained on: the validation split.
logistic: multinomial logistic regression with an L2 penalty on the centered log-probabilities of all members; the penalty with
the lowest log loss in four folds is used. boosting: shallow boosted trees on the probabilities, which need many images. A class
without validation images keeps the mean probability of the members.
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
    """A meta-classifier on the predictions of the members."""

    uses_labels = True

    class Options(OptionsModel):
        """Options of `stack`."""

        learner: Literal["logistic", "boosting"] = Field(default="logistic", description="meta-classifier")
        C: list[float] = Field(
            default=[0.0001, 0.001, 0.01, 0.1, 1.0], min_length=1, description="of logistic: inverse penalties to try"
        )
        iterations: int = Field(default=500, ge=1, description="of logistic: maximum number of L-BFGS steps")
        rounds: int = Field(default=50, ge=1, description="of boosting: trees per class")
        leaves: int = Field(default=7, ge=2, description="of boosting: leaves per tree")

    def _fit(self, members: np.ndarray, labels: np.ndarray) -> None:
        seen = np.unique(labels)
        if len(seen) < 2:
            self.notes.append("the validation split has fewer than two classes: the mean is used instead")
            return
        self.arrays = {"seen": seen}
        if self.options.learner == "logistic":
            self.arrays |= self._logistic(_log_odds(members), labels)
        else:
            self.estimator = self._boosting().fit(_side_by_side(members), labels)

    def _proba(self, members: np.ndarray) -> np.ndarray:
        mean = members.mean(axis=0, dtype=np.float64)
        if not self.arrays or not len(mean):
            return mean
        seen = self.arrays["seen"]
        if self.options.learner == "logistic":
            answer = softmax(_log_odds(members) @ self.arrays["weight"].T + self.arrays["bias"], axis=1)
        else:
            answer = self.estimator.predict_proba(_side_by_side(members))
        left = 1 - (mean.sum(axis=1) - mean[:, seen].sum(axis=1))
        mean[:, seen] = answer * np.maximum(left, CLIP)[:, None]
        return mean

    @property
    def parameters(self) -> int:
        """Number of weights, or of nodes of all trees."""
        trees = [] if self.estimator is None else [tree for stage in self.estimator._predictors for tree in stage]
        return super().parameters + sum(len(tree.nodes) for tree in trees)

    def _logistic(self, X: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
        """Fit weights (S, K·C) and biases (S,), one row per class in `y`."""
        candidates, best = sorted(self.options.C), None
        if len(candidates) > 1:
            losses = [self._loss_in_folds(X, y, C) for C in candidates]
            best = candidates[int(np.argmin(losses))]
        weight, bias = _fitted(X, y, best or candidates[0], self.options.iterations)
        return {"weight": weight, "bias": bias}

    def _loss_in_folds(self, X: np.ndarray, y: np.ndarray, C: float) -> float:
        """Cross-validated log loss; an image of a class that is missing in the training folds adds ln(1/ε)."""
        fold = np.random.default_rng(self.seed).permutation(len(y)) % _FOLDS
        total = 0.0
        for one in range(_FOLDS):
            train, held_out = fold != one, fold == one
            seen = np.unique(y[train])
            if len(seen) < 2 or not held_out.any():
                continue
            weight, bias = _fitted(X[train], y[train], C, self.options.iterations)
            given = softmax(X[held_out] @ weight.T + bias, axis=1) * (seen == y[held_out][:, None])
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
        warnings.simplefilter("ignore", ConvergenceWarning)  # early stopping regularizes, too
        model = LogisticRegression(C=C, max_iter=iterations).fit(X, y)
    weight, bias = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
    if len(weight) == 1:  # two classes: scikit-learn keeps the second one's logit alone
        weight, bias = np.vstack([np.zeros_like(weight), weight]), np.concatenate([np.zeros(1), bias])
    return np.ascontiguousarray(weight), bias


def _log_odds(members: np.ndarray) -> np.ndarray:
    """Centered log-probabilities, ln p minus its mean over the classes: (K, N, C) → (N, K·C) float64."""
    logs = np.log(np.clip(members, CLIP, 1, dtype=np.float64))
    return _side_by_side(logs - logs.mean(axis=2, keepdims=True))


def _side_by_side(members: np.ndarray) -> np.ndarray:
    """Concatenate the members' columns: (K, N, C) → (N, K·C)."""
    return members.transpose(1, 0, 2).reshape(members.shape[1], -1)
