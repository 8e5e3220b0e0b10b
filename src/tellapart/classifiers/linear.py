"""Linear classifiers, logistic regression or ridge; validation selects the strength of the L2 penalty.

Logistic: multinomial, scikit-learn's L-BFGS solver. Ridge: least squares on one-hot targets in closed form (Hoerl & Kennard
1970, "Ridge Regression"), all penalties from one product; a temperature, fitted on the validation split, turns its values into
probabilities.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from tellapart.classifiers._linear_softmax import Plane, SoftmaxClassifier
from tellapart.classifiers._ridge_solver import ridge_solver, xtx
from tellapart.recipe.schema import OptionsModel


class Linear(SoftmaxClassifier):
    """Logistic regression or ridge classifier."""

    class Options(OptionsModel):
        """Options of `family: linear`."""

        loss: Literal["logistic", "ridge"] = Field(
            default="logistic", description="logistic: log loss; ridge: squared error, in closed form"
        )
        C: list[Annotated[float, Field(gt=0)]] = Field(
            default=[0.001, 0.01, 0.1, 1.0],
            min_length=1,
            description="candidates for the inverse penalty (ridge: 1 / λ); validation selects one",
        )
        iterations: int = Field(default=300, ge=1, description="logistic: maximum number of L-BFGS iterations per fit")

    options: Options

    def _fit_vectors(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray) -> None:
        if self._reset(X, y):
            ridge = self.options.loss == "ridge"
            candidates = _ridges(X, y, self.options.C) if ridge else self._logistic(X, y)
            self._take_best(candidates, X_valid, y_valid, soften=ridge)

    def _logistic(self, X: np.ndarray, y: np.ndarray) -> Iterator[Plane]:
        from sklearn.linear_model import LogisticRegression

        # from the strongest penalty to the weakest, each starting from the last solution
        model = LogisticRegression(max_iter=self.options.iterations, tol=1e-3, warm_start=True)
        for C in sorted(self.options.C):
            yield _refit(model.set_params(C=C), X, y)


def _refit(model: Any, X: np.ndarray, y: np.ndarray) -> Plane:
    """Weights (S, D) and biases (S,), one row per class of `y`."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # a fit that stops before it converges is regularized by that; validation compares the results
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    weight, bias = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
    if len(weight) == 1:  # two classes: scikit-learn keeps only the logit of the second one
        weight, bias = np.vstack([np.zeros_like(weight), weight]), np.concatenate([np.zeros(1), bias])
    return np.ascontiguousarray(weight), bias


def _ridges(X: np.ndarray, y: np.ndarray, inverse: list[float]) -> Iterator[Plane]:
    """Least squares on one-hot targets for each penalty, the strongest first; the bias is not penalized."""
    center = X.mean(axis=0, dtype=np.float64)
    target = (y[:, None] == np.unique(y)).astype(np.float64)
    share = target.mean(axis=0)
    X = X - center.astype(np.float32)
    solve = ridge_solver(X, "linear with loss: ridge")
    right = xtx(X, target - share)
    for C in sorted(inverse):
        weight = solve(1 / C, right).T
        yield weight, share - weight @ center
