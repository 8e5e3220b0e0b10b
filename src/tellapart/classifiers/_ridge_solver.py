"""Solver of (XᵀX + penalty · I) W = R for several penalties, in the shorter dimension of X.

The product is computed once; each penalty costs one Cholesky decomposition. Six of them take a fraction of the time of one
eigendecomposition, which would serve all penalties.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tellapart.errors import RecipeError

_LONGEST = 10_000  # maximum of the shorter side: its matrix takes 0.8 GB in double precision
_BLOCK = 2_048  # rows converted to double precision at a time
_SINGULAR = 1e-10  # minimum penalty, as a fraction of the trace: less would leave directions without variance to rounding


def ridge_solver(X: np.ndarray, family: str) -> Callable[[float, np.ndarray], np.ndarray]:
    """A function that returns W (D, S) float64 for a penalty > 0 and R (D, S).

    Args:
        X: (N, D) float32.
        family: Name for the error message.

    Raises:
        RecipeError: Both sides are longer than 10,000.
    """
    from scipy.linalg import cho_factor, cho_solve

    if min(X.shape) > _LONGEST:
        raise RecipeError(
            f"{family}: {X.shape[0]:,} images of {X.shape[1]:,} values are too many for an exact solution",
            hint="set features.pca, for example to 500",
        )
    wide = X.shape[1] > X.shape[0]
    product = xtx(X.T, X.T) if wide else xtx(X, X)
    least = max(_SINGULAR * np.trace(product), 1e-12)

    def solve(penalty: float, right: np.ndarray) -> np.ndarray:
        penalty = max(penalty, least)
        factor = cho_factor(product + penalty * np.eye(len(product)), lower=True, overwrite_a=True)
        if not wide:
            return cho_solve(factor, right)
        return (right - xtx(X, cho_solve(factor, xtx(X.T, right)))) / penalty

    return solve


def xtx(X: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Xᵀ R of (N, D) and (N, S): (D, S) float64; blocks of rows are converted to double precision one at a time."""
    total = np.zeros((X.shape[1], right.shape[1]))
    for start in range(0, len(X), _BLOCK):
        rows = slice(start, start + _BLOCK)
        total += X[rows].astype(np.float64).T @ right[rows].astype(np.float64, copy=False)
    return total
