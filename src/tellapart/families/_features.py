"""The adapter for classifiers on feature vectors: descriptors, standardising and PCA are done here.

A family gives `_learn(X, y, X_valid, y_valid)` and `_answer(X)`; `FeatureFamily` does the rest.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np

from tellapart.families._contract import Classifier, Context
from tellapart.features._extract import Extractor
from tellapart.recipe import Features
from tellapart.types import ImageTable


class FeatureFamily(Classifier):
    """Base of families that see (N, D) float32 vectors."""

    sections: ClassVar[frozenset[str]] = frozenset({"features"})

    def _fit(self, train: ImageTable, valid: ImageTable, context: Context) -> None:
        self.extractor = Extractor(self.recipe.features or Features(), self.recipe.seed)
        X = self.extractor.fit_transform(self._images(train, context), context.progress)
        context.notes.extend(self.extractor.notes)
        X_valid = self.extractor.transform(self._images(valid, context))
        self._learn(X, train.labels, X_valid, valid.labels)

    def _proba(self, table: ImageTable, context: Context) -> np.ndarray:
        images = self._images(table, context)
        blocks = [self._answer(self.extractor.transform_block(block)) for block in images.blocks()]
        return np.concatenate(blocks) if blocks else np.empty((0, len(self.classes)))

    def _save(self, folder: Path) -> None:
        self.extractor.save(folder / "features.safetensors")
        self._save_model(folder)

    def _load(self, folder: Path) -> None:
        self.extractor = Extractor.load(folder / "features.safetensors", self.recipe.features or Features(), self.recipe.seed)
        self._load_model(folder)

    @abstractmethod
    def _learn(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray) -> None:
        """X: (N, D) float32, y: (N,) int64; the validation part may be empty or lack classes."""

    @abstractmethod
    def _answer(self, X: np.ndarray) -> np.ndarray:
        """(N, C) probabilities for X: (N, D) float32."""

    @abstractmethod
    def _save_model(self, folder: Path) -> None: ...

    @abstractmethod
    def _load_model(self, folder: Path) -> None: ...
