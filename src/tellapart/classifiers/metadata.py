"""The metadata baseline: a classifier that uses the metadata of the files only, not the pixels.

It is part of every leaderboard. If it scores well, the classes differ in how their files were written, and a classifier on
pixels that is not better has not been shown to use the pixels. Gradient boosting on the values of `data/metadata.py`. If the
data set has no files (IDX, arrays), it predicts the class frequencies of the training split and adds a note.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file

from tellapart.classifiers._sklearn_io import load_estimator, proba_of, save_estimator
from tellapart.classifiers.base import Classifier, Context
from tellapart.data.metadata import NAMES, metadata_features
from tellapart.data.reader import ImageReader
from tellapart.io import write_arrays
from tellapart.recipe.schema import OptionsModel
from tellapart.types import ImageTable

PRIOR_NOTE = "the metadata baseline predicts the class prior: this data set has no files with metadata"


class Metadata(Classifier):
    """Gradient boosting on file metadata."""

    class Options(OptionsModel):
        """Options of `family: metadata`."""

        rounds: int = Field(default=60, ge=1, description="number of boosting rounds")
        leaves: int = Field(default=15, ge=2, description="maximum number of leaves per tree")
        learning_rate: float = Field(default=0.1, gt=0, description="shrinkage of each round")

    options: Options

    def _fit(self, train: ImageTable, valid: ImageTable, context: Context) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier

        del valid
        self.prior: np.ndarray = np.bincount(train.labels, minlength=len(self.classes)) / len(train)
        self.estimator: Any = None
        self.known: np.ndarray = np.zeros(0, dtype=bool)
        if not train.has_files:
            context.notes.append(PRIOR_NOTE)
        elif np.count_nonzero(self.prior) > 1:
            o = self.options
            self.estimator = HistGradientBoostingClassifier(
                max_iter=o.rounds, max_leaf_nodes=o.leaves, learning_rate=o.learning_rate, min_samples_leaf=_leaf(len(train)),
                random_state=self.recipe.seed,
                early_stopping=False,  # pyright: ignore[reportArgumentType] (inferred from the default "auto")
            )  # fmt: skip
            X = _metadata(train, context)
            self.known = np.asarray(np.isfinite(X).any(axis=0))  # scikit-learn cannot bin a column without any value
            self.estimator.fit(X[:, self.known], train.labels)

    def _proba(self, table: ImageTable, context: Context) -> np.ndarray:
        if self.estimator is None or not len(table) or not table.has_files:
            return np.tile(self.prior, (len(table), 1))
        return proba_of(self.estimator, _metadata(table, context)[:, self.known], len(self.classes))

    def _save(self, folder: Path) -> None:
        write_arrays(folder / "weights.safetensors", {"prior": self.prior, "known": self.known})
        if self.estimator is not None:
            save_estimator(self.estimator, folder / "model.skops")

    def _load(self, folder: Path) -> None:
        arrays = load_file(folder / "weights.safetensors")
        self.prior, self.known = arrays["prior"], np.zeros(len(NAMES), bool)
        self.known[: len(arrays["known"])] = arrays["known"]  # an older run had fewer features
        path = folder / "model.skops"
        self.estimator = load_estimator(path) if path.exists() else None

    @property
    def parameters(self) -> int:
        """Number of nodes of all trees, or of classes if it predicts the prior."""
        if self.estimator is None:
            return len(self.prior)
        return sum(len(tree.nodes) for stage in self.estimator._predictors for tree in stage)


def _leaf(images: int) -> int:
    """Minimum number of images in a leaf: scikit-learn's 20, less for tiny data sets, where 20 would prevent every split."""
    return max(1, min(20, images // 10))


def _metadata(table: ImageTable, context: Context) -> np.ndarray:
    """Metadata features of every file: (N, len(NAMES)) float64, NaN for missing values."""
    rows = []
    with ImageReader(table) as reader, context.progress.task("reading headers", len(table), "img") as task:
        for path in table.paths:
            content = reader.get(path)
            if not isinstance(content, bytes):
                raise TypeError(f"{path} has no header")  # `has_files` was True: an internal error
            rows.append(metadata_features(content, str(path)))
            task.advance()
    return np.stack(rows)
