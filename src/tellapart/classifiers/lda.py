"""Linear discriminant analysis: one Gaussian per class with a shared covariance, shrunk towards a multiple of the identity.

Fisher 1936, "The Use of Multiple Measurements in Taxonomic Problems"; shrinkage as in Ledoit & Wolf 2004, "A Well-Conditioned
Estimator for Large-Dimensional Covariance Matrices": (1 − s) Σ + s · mean variance · I, with s selected on the validation split
instead of by their formula. A temperature, fitted on the validation split, corrects the probabilities, which are overconfident
if features are redundant.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import Field

from tellapart.classifiers._linear_softmax import Plane, SoftmaxClassifier
from tellapart.classifiers._ridge_solver import ridge_solver
from tellapart.recipe.schema import OptionsModel


class LDA(SoftmaxClassifier):
    """Linear discriminant analysis with shrinkage."""

    class Options(OptionsModel):
        """Options of `family: lda`."""

        shrinkage: list[Annotated[float, Field(gt=0, le=1)]] = Field(
            default=[0.001, 0.01, 0.03, 0.1, 0.3, 1.0], min_length=1, description="shrinkage candidates; validation selects one"
        )

    options: Options

    def _fit_vectors(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray) -> None:
        if self._reset(X, y):
            self._take_best(_discriminants(X, y, self.options.shrinkage), X_valid, y_valid, soften=True)


def _discriminants(X: np.ndarray, y: np.ndarray, shrinkages: list[float]) -> Iterator[Plane]:
    """Weights and biases for each shrinkage, the largest first."""
    seen, place, counts = np.unique(y, return_inverse=True, return_counts=True)
    means = np.stack([X[place == i].mean(axis=0, dtype=np.float64) for i in range(len(seen))])
    center = counts @ means / len(X)
    within = X - means[place].astype(np.float32)
    solve = ridge_solver(within, "lda")
    mean_variance = max(float(np.square(within).mean(dtype=np.float64)), 1e-12)
    gaps = means - center
    for shrinkage in sorted(shrinkages, reverse=True):
        ridge, rest = shrinkage * mean_variance, (1 - shrinkage) / len(X)
        # Σ is WᵀW / N, W the features minus their class means
        weight = (solve(ridge / rest, gaps.T) / rest if rest else gaps.T / ridge).T
        bias = np.log(counts / len(X)) - np.einsum("ij,ij->i", gaps, weight) / 2 - weight @ center
        yield weight, bias
