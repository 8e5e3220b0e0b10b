"""k nearest neighbors: exact, by the distances of `_distances`.

Fix & Hodges 1951, "Discriminatory Analysis: Nonparametric Discrimination"; Cover & Hart 1967, "Nearest Neighbor Pattern
Classification". Of training images at equal distance the earlier row is nearer; of classes with equal votes the first in order
is the answer. Members of a study that share a distance are answered from one search, for the largest k: the others take the
head of each list.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file, save_file

from tellapart.classifiers._knn_search import Nearest, Search, search_by, to_uint8
from tellapart.classifiers.feature_classifier import FeatureClassifier, FeatureSet
from tellapart.recipe.schema import OptionsModel


class Knn(FeatureClassifier):
    """The share of the k nearest training images that bear each label."""

    class Options(OptionsModel):
        """Options of `family: knn`."""

        k: int = Field(default=5, ge=1, description="neighbors asked; more than there are training images are clipped")
        metric: Literal["euclidean", "cosine", "manhattan", "chebyshev"] = Field(default="euclidean", description="distance")
        weights: Literal["uniform", "distance"] = Field(default="distance", description="distance: a vote weighs 1 / distance")

    def _fit_vectors(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray) -> None:
        del X_valid, y_valid
        self._keep(to_uint8(X), y)
        if (k := self.options.k) > len(X):
            self.notes.append(f"{len(X):,} neighbors were asked, not {k:,}: there are no more training images")

    def _keep(self, X: np.ndarray, y: np.ndarray) -> None:
        """X: (N, D) uint8 where `compact` could, float32 otherwise."""
        self.X, self.y = X, y
        self.searches: dict[np.dtype, Search] = {}

    @classmethod
    def _fit_many(
        cls, members: Sequence[Knn], vectors: FeatureSet
    ) -> Iterator[tuple[int, float, tuple[np.ndarray, np.ndarray]]]:
        """See `FeatureFamily`. One search a distance; a training image is its own neighbor, as where it is asked."""
        v, X = vectors, to_uint8(vectors.X)
        for member in members:
            member._fit_vectors(X, v.y, v.X_valid, v.y_valid)
        for metric in dict.fromkeys(m.options.metric for m in members):
            places = [i for i, m in enumerate(members) if m.options.metric == metric]
            widest = max((members[i] for i in places), key=lambda m: m.options.k)
            found = widest._nearest(X), widest._nearest(v.X_valid)
            widest.searches = {}  # as large as the training vectors
            for place in places:
                start = time.perf_counter()
                train, valid = (members[place]._vote(part) for part in found)
                yield place, time.perf_counter() - start, (train, valid)

    def _predict_vectors(self, X: np.ndarray) -> np.ndarray:
        return self._vote(self._nearest(X))

    def _vote(self, nearest: Nearest) -> np.ndarray:
        """(N, C) float64 from lists of at least k neighbors."""
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
        """Stored training values."""
        return int(self.X.size)

    def _save_model(self, folder: Path) -> None:
        save_file({"X": self.X, "y": self.y}, folder / "weights.safetensors")

    def _load_model(self, folder: Path) -> None:
        arrays = load_file(folder / "weights.safetensors")
        self._keep(arrays["X"], arrays["y"])
