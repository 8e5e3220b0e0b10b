"""Principal components: exact if the shorter side of the matrix is at most 8,000, randomized otherwise.

With fewer rows than columns the eigenvectors of the (N, N) matrix of inner products give the components (Turk & Pentland 1991,
"Eigenfaces for Recognition"): 30,000 columns cost no more than the product. One decomposition with the largest count serves all
smaller counts: its first k components are those of a decomposition with k.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_EXACT = 8_000  # shorter side up to which the Gram or covariance matrix is decomposed exactly
_BLOCK = 2_048  # columns at a time: the copy in double precision stays small


def decompose(X: np.ndarray, count: int, seed: int) -> dict[str, np.ndarray]:
    """The `count` first principal components of X.

    Args:
        X: (N, D) float32.
        count: Number of components, at most min(N, D).
        seed: Random seed of the randomized method (Halko et al. 2011), used if both sides are longer than 8,000.

    Returns:
        `components` (count, D), `center` (D,), `explained` (count,), the explained variance ratios in [0, 1]; all float32.
    """
    center = X.mean(axis=0, dtype=np.float64).astype(np.float32)
    if min(X.shape) > _EXACT:
        from sklearn.decomposition import PCA

        pca: Any = PCA(count, svd_solver="randomized", random_state=seed).fit(X)
        return _arrays(pca.components_, center, pca.explained_variance_ratio_)
    if len(X) < X.shape[1]:
        values, vectors, total = _largest(_products(X, center), count)
        components = vectors.T.astype(np.float32) @ X
        components -= (vectors.sum(axis=0)[:, None] * center).astype(np.float32)  # of X − center, without a copy of X
        components /= np.maximum(np.linalg.norm(components, axis=1, keepdims=True), 1e-12)
    else:
        values, vectors, total = _largest(_covariance(X, center), count)
        components = vectors.T
    return _arrays(components, center, values / max(total, 1e-12))


def _arrays(components: np.ndarray, center: np.ndarray, explained: np.ndarray) -> dict[str, np.ndarray]:
    """Fix the signs: the largest value of each component is positive, so equal data give equal components."""
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    components = np.where(largest < 0, -1, 1) * components
    found = {"components": components, "center": center, "explained": explained}
    return {name: np.ascontiguousarray(value, np.float32) for name, value in found.items()}


def _products(X: np.ndarray, center: np.ndarray) -> np.ndarray:
    """(X − center)(X − center)ᵀ: (N, N) float64, summed over blocks of columns."""
    total = np.zeros((len(X), len(X)))
    for start in range(0, X.shape[1], _BLOCK):
        block = X[:, start : start + _BLOCK] - center[start : start + _BLOCK]
        total += block @ block.T
    return total


def _covariance(X: np.ndarray, center: np.ndarray) -> np.ndarray:
    """(X − center)ᵀ(X − center): (D, D) float64, summed over blocks of rows."""
    total = np.zeros((X.shape[1], X.shape[1]))
    for start in range(0, len(X), _BLOCK):
        block = X[start : start + _BLOCK] - center
        total += block.T @ block
    return total


def _largest(matrix: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, float]:
    """The largest eigenvalues in descending order, their eigenvectors as columns, and the sum of all eigenvalues."""
    from scipy.linalg import eigh

    total = float(np.trace(matrix))
    values, vectors = eigh(matrix, subset_by_index=(len(matrix) - count, len(matrix) - 1), overwrite_a=True, check_finite=False)
    return values[::-1].clip(min=0), vectors[:, ::-1], total
