"""Feature pipeline of the classical classifiers: descriptors, standardization, PCA.

Memory: the matrix itself plus what one block of images needs, independent of the number of images.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
from safetensors.numpy import load_file

from tellapart import registry
from tellapart.data.cache import DecodedImages
from tellapart.features._pca import decompose
from tellapart.features._vectors import Named, side_by_side, vector_blocks
from tellapart.features.base import Descriptor, FitContext
from tellapart.io import write_arrays
from tellapart.progress import Progress
from tellapart.recipe.schema import Features

_CONSTANT = 1e-6  # standard deviation up to which a feature counts as constant
_ROWS = 1_024  # rows of the matrix that are standardized at a time


class FeaturePipeline:
    """The `features` section of a recipe, fitted on the training images.

    Attributes:
        arrays: `mean`, `scale` (D,) and, with PCA, `components` (K, D), `center` (D,), `explained` (K,), all float32.
        descriptors: Descriptors, in the order of the recipe.
        notes: Deviations from what was requested, and other remarks.
    """

    def __init__(self, features: Features, seed: int) -> None:
        self.features = features
        self.seed = seed
        self.arrays: dict[str, np.ndarray] = {}
        self.descriptors = _build(features)
        self.notes: list[str] = []

    def fit_transform(self, images: DecodedImages, labels: np.ndarray, context: FitContext | None = None) -> np.ndarray:
        """Fit to `images` and return their features, (N, D or K) float32.

        Raises:
            DataError: A descriptor returns values that are not finite.
        """
        context = context or FitContext(self.seed)
        self.descriptors, self.notes = _build(self.features), context.notes
        for descriptor in self.descriptors:
            descriptor.fit(images, labels, context)
        X = self._describe(images, context.progress)
        self._standardize(X)
        if self.features.pca:
            self.arrays |= decompose(X, self._components(X.shape), self.seed)
            X = self._project(X)
        return X

    def transform(self, images: DecodedImages) -> np.ndarray:
        """Features of other images, (N, D or K) float32."""
        blocks = list(self.transform_blocks(images))
        return np.concatenate(blocks) if blocks else np.empty((0, self.width), np.float32)

    def transform_blocks(self, images: DecodedImages) -> Iterator[np.ndarray]:
        """The same, block by block."""
        for vectors in vector_blocks(self._named, images, self.notes):
            yield self._standardized(vectors)

    def transform_block(self, images: np.ndarray) -> np.ndarray:
        """images: (B, H, W, C) uint8 → (B, D or K) float32."""
        return self._standardized(side_by_side(self._named, [descriptor(images) for descriptor in self.descriptors]))

    def _standardized(self, X: np.ndarray) -> np.ndarray:
        X -= self.arrays["mean"]
        X /= self.arrays["scale"]
        return self._project(X) if "components" in self.arrays else X

    @property
    def width(self) -> int:
        """Length of a feature vector."""
        return len(self.arrays.get("components", self.arrays["mean"]))

    @property
    def pretrained(self) -> str:
        """Sources of the pretrained weights of the descriptors; "no" if there are none."""
        return "; ".join(dict.fromkeys(d.pretrained for d in self.descriptors if d.pretrained != "no")) or "no"

    def with_components(self, count: int) -> Self:
        """A copy with the first `count` components, equal to a fit with `pca: count`."""
        fewer = copy.copy(self)
        fewer.features = self.features.model_copy(update={"pca": count})
        fewer.arrays = self.arrays | {name: self.arrays[name][:count] for name in ("components", "explained")}
        return fewer

    def save(self, path: Path) -> None:
        """Write everything that was fitted."""
        fitted = {f"{i}.{name}": array for i, d in enumerate(self.descriptors) for name, array in d.arrays.items()}
        write_arrays(path, self.arrays | fitted)

    @classmethod
    def load(cls, path: Path, features: Features, seed: int) -> Self:
        """Read what `save` wrote."""
        extractor = cls(features, seed)
        for key, array in load_file(path).items():
            place, dot, name = key.partition(".")
            if dot:
                extractor.descriptors[int(place)].arrays[name] = array
            else:
                extractor.arrays[key] = array
        return extractor

    def _describe(self, images: DecodedImages, progress: Progress) -> np.ndarray:
        X, start = np.empty((0, 1), np.float32), 0
        with progress.task("descriptors", len(images), "img") as task:
            for vectors in vector_blocks(self._named, images, self.notes):
                if not start:  # one allocation: a list of blocks and their concatenation would need twice the memory
                    X = np.empty((len(images), vectors.shape[1]), np.float32)
                X[start : start + len(vectors)] = vectors
                start += len(vectors)
                task.advance(len(vectors))
        return X

    @property
    def _named(self) -> list[Named]:
        """The descriptors with their names."""
        return [(next(iter(entry)), d) for d, entry in zip(self.descriptors, self.features.descriptors, strict=True)]

    def _standardize(self, X: np.ndarray) -> None:
        """Standardize X in place and store mean and scale; without standardization they are 0 and 1."""
        self.arrays = {"mean": np.zeros(X.shape[1], np.float32), "scale": np.ones(X.shape[1], np.float32)}
        if not self.features.standardize or not len(X):
            return
        mean = X.mean(axis=0, dtype=np.float64)
        spread = np.sqrt(sum(((X[i : i + _ROWS] - mean) ** 2).sum(axis=0) for i in range(0, len(X), _ROWS)) / len(X))
        constant = spread <= _CONSTANT
        if constant.any():
            self.notes.append(
                f"{constant.sum():,} of {X.shape[1]:,} features are constant over the training images and carry no information"
            )
        self.arrays = {"mean": mean.astype(np.float32), "scale": np.where(constant, 1, spread).astype(np.float32)}
        X -= self.arrays["mean"]
        X /= self.arrays["scale"]

    def _components(self, shape: tuple[int, ...]) -> int:
        wanted = self.features.pca or 0
        if (count := min(wanted, *shape)) < wanted:
            self.notes.append(f"PCA kept {count} components instead of {wanted}: the matrix is {shape[0]} × {shape[1]}")
        return count

    def _project(self, X: np.ndarray) -> np.ndarray:
        """(B, D) → (B, K); the center is subtracted from the products instead of from a copy of X."""
        return X @ self.arrays["components"].T - self.arrays["components"] @ self.arrays["center"]


def _build(features: Features) -> list[Descriptor]:
    found = []
    for entry in features.descriptors:
        ((name, options),) = entry.items()
        kind = registry.find("features", name)
        found.append(kind(kind.Options.model_validate(options)))
    return found
