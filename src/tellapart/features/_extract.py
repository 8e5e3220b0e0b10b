"""From images to the matrix a classical classifier learns from: descriptors, standardising, PCA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from tellapart import registry
from tellapart.data.cache import DecodedImages
from tellapart.features._contract import Descriptor
from tellapart.progress import SILENT, Progress
from tellapart.recipe import Features

_EXACT = 2_000  # widest matrix whose covariance is decomposed exactly; beyond, randomised (Halko et al. 2011)


class Extractor:
    """The `features` section of a recipe, fitted on the training images.

    Attributes:
        arrays: `mean`, `scale` (D,) and, with PCA, `components` (K, D), `centre` (D,), `explained` (K,), all float32.
        notes: What was done otherwise than asked.
    """

    def __init__(self, features: Features, seed: int) -> None:
        self.features = features
        self.seed = seed
        self.arrays: dict[str, np.ndarray] = {}
        self.notes: list[str] = []

    def fit_transform(self, images: DecodedImages, progress: Progress = SILENT) -> np.ndarray:
        """Fit on `images` and give their vectors: (N, D or K) float32."""
        self.notes = []
        X = self._describe(images, progress)
        self.arrays = {"mean": np.zeros(X.shape[1], np.float32), "scale": np.ones(X.shape[1], np.float32)}
        if self.features.standardise:
            spread = X.std(axis=0, dtype=np.float64).astype(np.float32)
            self.arrays = {
                "mean": X.mean(axis=0, dtype=np.float64).astype(np.float32),
                "scale": np.where(spread > 1e-6, spread, 1),
            }
            X -= self.arrays["mean"]
            X /= self.arrays["scale"]
        return self._fit_pca(X) if self.features.pca else X

    def transform(self, images: DecodedImages) -> np.ndarray:
        """Vectors of other images: (N, D or K) float32."""
        blocks = [self.transform_block(block) for block in images.blocks()]
        width = len(self.arrays.get("components", self.arrays["mean"]))
        return np.concatenate(blocks) if blocks else np.empty((0, width), np.float32)

    def transform_block(self, images: np.ndarray) -> np.ndarray:
        """images: (B, H, W, C) uint8 → (B, D or K) float32."""
        X = (self._vectors(images) - self.arrays["mean"]) / self.arrays["scale"]
        if "components" in self.arrays:
            X = (X - self.arrays["centre"]) @ self.arrays["components"].T
        return X

    def save(self, path: Path) -> None:
        """Write the fitted arrays."""
        save_file({k: np.ascontiguousarray(v) for k, v in self.arrays.items()}, path)

    @classmethod
    def load(cls, path: Path, features: Features, seed: int) -> Extractor:
        """Read what `save` wrote."""
        extractor = cls(features, seed)
        extractor.arrays = load_file(path)
        return extractor

    def _describe(self, images: DecodedImages, progress: Progress) -> np.ndarray:
        X: np.ndarray | None = None
        done = 0
        with progress.task("descriptors", len(images), "img") as task:
            for block in images.blocks():
                vectors = self._vectors(block)
                if X is None:  # one allocation: a list of blocks and their concatenation would need twice the memory
                    X = np.empty((len(images), vectors.shape[1]), np.float32)
                X[done : done + len(block)] = vectors
                done += len(block)
                task.advance(len(block))
        return X if X is not None else np.empty((0, 1), np.float32)

    def _vectors(self, images: np.ndarray) -> np.ndarray:
        return np.concatenate([describe(images) for describe in self._descriptors()], axis=1)

    def _descriptors(self) -> list[Descriptor]:
        found = []
        for entry in self.features.descriptors:
            ((name, options),) = entry.items()
            kind = registry.find("features", name)
            found.append(kind(kind.Options.model_validate(options)))
        return found

    def _fit_pca(self, X: np.ndarray) -> np.ndarray:
        from sklearn.decomposition import PCA

        wanted = self.features.pca or 0
        count = min(wanted, *X.shape)
        if count < wanted:
            self.notes.append(f"PCA kept {count} components, not {wanted}: there are {X.shape[0]} rows of {X.shape[1]} values")
        solver = "covariance_eigh" if X.shape[1] <= _EXACT else "randomized" if count < 0.8 * min(X.shape) else "full"
        pca: Any = PCA(count, svd_solver=solver, random_state=self.seed).fit(X)
        self.arrays |= {
            "components": pca.components_.astype(np.float32),
            "centre": pca.mean_.astype(np.float32),
            "explained": pca.explained_variance_ratio_.astype(np.float32),
        }
        return (X - self.arrays["centre"]) @ self.arrays["components"].T
