"""k nearest neighbors, exact, by the search of `_knn_search`.

Fix & Hodges 1951, "Discriminatory Analysis: Nonparametric Discrimination"; Cover & Hart 1967, "Nearest Neighbor Pattern
Classification". Of training images at equal distance the earlier row is nearer; of classes with equal votes the first one is
predicted. Candidates of a sweep with the same metric share one search, for the largest k; the others use the first k of each
list.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file

from tellapart.classifiers._knn_search import Nearest, Search, search_by, to_uint8
from tellapart.classifiers.feature_classifier import FeatureClassifier, FeatureSet
from tellapart.io import write_arrays
from tellapart.recipe.schema import OptionsModel


class Knn(FeatureClassifier):
    """Predicts the fraction of the k nearest training images that have each label."""

    class Options(OptionsModel):
        """Options of `family: knn`."""

        k: int = Field(default=5, ge=1, description="number of neighbors; at most the number of training images is used")
        metric: Literal["euclidean", "cosine", "manhattan", "chebyshev"] = Field(
            default="euclidean", description="distance metric"
        )
        weights: Literal["uniform", "distance"] = Field(
            default="distance", description="weight of a neighbor: uniform, or 1 / distance"
        )

    options: Options

    def _fit_vectors(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray) -> None:
        del X_valid, y_valid
        self._keep(to_uint8(X), y)
        if (k := self.options.k) > len(X):
            self.notes.append(f"used {len(X):,} neighbors instead of {k:,}: there are no more training images")

    def _keep(self, X: np.ndarray, y: np.ndarray) -> None:
        """Store X, (N, D) uint8 if `to_uint8` could convert it, otherwise float32."""
        self.X, self.y = X, y
        self.searches: dict[np.dtype, Search] = {}

    @classmethod
    def _fit_many(
        cls, candidates: Sequence[Knn], vectors: FeatureSet
    ) -> Iterator[tuple[int, float, tuple[np.ndarray, np.ndarray]]]:
        """See `FeatureClassifier`. One search per metric; a training image is its own nearest neighbor, as in `predict`."""
        v, X = vectors, to_uint8(vectors.X)
        for candidate in candidates:
            candidate._fit_vectors(X, v.y, v.X_valid, v.y_valid)
        for metric in dict.fromkeys(c.options.metric for c in candidates):
            places = [i for i, c in enumerate(candidates) if c.options.metric == metric]
            widest = max((candidates[i] for i in places), key=lambda c: c.options.k)
            found = widest._nearest(X), widest._nearest(v.X_valid)
            widest.searches = {}  # free its memory: as much as the training vectors
            for place in places:
                start = time.perf_counter()
                train, valid = (candidates[place]._vote(part) for part in found)
                yield place, time.perf_counter() - start, (train, valid)

    def _predict_vectors(self, X: np.ndarray) -> np.ndarray:
        return self._vote(self._nearest(X))

    def _vote(self, nearest: Nearest) -> np.ndarray:
        """Probabilities (N, C) float64 from lists of at least k neighbors."""
        distance, index = (part[:, : self.options.k] for part in nearest)
        weight = np.ones_like(distance)
        if self.options.weights == "distance":
            same = distance == 0  # identical images outvote all others
            weight = np.where(same.any(axis=1, keepdims=True), same, 1 / np.where(same, 1, distance))
        cells = np.arange(len(index))[:, None] * len(self.classes) + self.y[index]
        votes = np.bincount(cells.ravel(), weight.ravel(), len(index) * len(self.classes)).reshape(-1, len(self.classes))
        return votes / votes.sum(axis=1, keepdims=True)

    def _nearest(self, X: np.ndarray) -> Nearest:
        """Distances and rows of the k nearest training vectors: (N, k) float64, (N, k) int64."""
        queries = to_uint8(X) if self.X.dtype == np.uint8 else X
        if queries.dtype not in self.searches:
            self.searches = {queries.dtype: search_by(self.options.metric, self.X.astype(queries.dtype, copy=False))}
        return self.searches[queries.dtype].nearest(queries, min(self.options.k, len(self.X)))

    @property
    def parameters(self) -> int:
        """Number of stored training values."""
        return int(self.X.size)

    def _save_model(self, folder: Path) -> None:
        write_arrays(folder / "weights.safetensors", {"X": self.X, "y": self.y})

    def _load_model(self, folder: Path) -> None:
        arrays = load_file(folder / "weights.safetensors")
        self._keep(arrays["X"], arrays["y"])
