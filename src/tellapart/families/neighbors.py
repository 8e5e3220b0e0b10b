"""k nearest neighbours: exact, by blocked matrix products (Euclidean, cosine) or scikit-learn (Manhattan, Chebyshev)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file, save_file

from tellapart.families._features import FeatureFamily
from tellapart.recipe import Section

_BLOCK = 1024  # queries at a time: 1,024 × 60,000 distances are 245 MB


class Neighbors(FeatureFamily):
    """The share of the k nearest training images that bear each label."""

    class Options(Section):
        """Options of `family: neighbors`."""

        k: int = Field(default=5, ge=1, description="neighbours asked; more than there are training images are clipped")
        metric: Literal["euclidean", "cosine", "manhattan", "chebyshev"] = Field(default="euclidean", description="distance")
        weights: Literal["uniform", "distance"] = Field(default="distance", description="distance: a vote weighs 1 / distance")

    def _learn(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray) -> None:
        del X_valid, y_valid
        self.X, self.y = X, y

    def _answer(self, X: np.ndarray) -> np.ndarray:
        distance, index = self._nearest(X)
        if self.options.weights == "uniform":
            weight = np.ones_like(distance)
        else:
            same = distance <= 1e-6 * max(float(distance.max()), 1e-12)  # an identical image outvotes all others
            weight = np.where(same.any(axis=1, keepdims=True), same, 1 / np.maximum(distance, 1e-12))
        proba = np.zeros((len(X), len(self.classes)))
        np.add.at(proba, (np.arange(len(X))[:, None], self.y[index]), weight)
        return proba

    def _nearest(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances and rows of the k nearest training vectors: (N, k) float64, (N, k) int64."""
        k = min(self.options.k, len(self.X))
        if self.options.metric in ("manhattan", "chebyshev"):
            from sklearn.neighbors import NearestNeighbors

            return NearestNeighbors(n_neighbors=k, algorithm="brute", metric=self.options.metric).fit(self.X).kneighbors(X)
        cosine = self.options.metric == "cosine"
        base = _unit(self.X) if cosine else self.X
        squares = np.einsum("ij,ij->i", base, base)
        found = [_block_nearest(_unit(q) if cosine else q, base, squares, k) for q in _blocks(X)]
        distance, index = (np.concatenate(part) for part in zip(*found, strict=True))
        return (distance**2 / 2 if cosine else distance), index

    @property
    def parameters(self) -> int:
        """Stored training values."""
        return int(self.X.size)

    def _save_model(self, folder: Path) -> None:
        save_file({"X": self.X, "y": self.y}, folder / "weights.safetensors")

    def _load_model(self, folder: Path) -> None:
        arrays = load_file(folder / "weights.safetensors")
        self.X, self.y = arrays["X"], arrays["y"]


def _block_nearest(queries: np.ndarray, base: np.ndarray, squares: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of `base`, ordered by distance, then by row. Candidates by float32 products, distances exactly anew."""
    rough = squares - 2 * (queries @ base.T)
    spare = min(k + 8, len(base))  # the products round: some candidates more, then exact distances decide
    candidates = np.sort(np.argpartition(rough, spare - 1, axis=1)[:, :spare], axis=1)
    gap = queries[:, None, :].astype(np.float64) - base[candidates]
    exact = np.sqrt(np.einsum("ijk,ijk->ij", gap, gap))
    order = np.argsort(exact, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(exact, order, axis=1), np.take_along_axis(candidates, order, axis=1)


def _blocks(X: np.ndarray) -> list[np.ndarray]:
    return [X[start : start + _BLOCK] for start in range(0, len(X), _BLOCK)]


def _unit(X: np.ndarray) -> np.ndarray:
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)
