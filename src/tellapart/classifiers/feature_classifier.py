"""Base class of the families that classify feature vectors; it computes descriptors, standardizes and applies PCA.

A family implements `_fit_vectors(X, y, X_valid, y_valid)` and `_predict_vectors(X)`. `fit_many` fits many recipes at once, for
sweeps: each descriptor is computed once, one PCA serves all numbers of components, and candidates are fitted in parallel.
"""

from __future__ import annotations

import os
import sys
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from tellapart.classifiers.base import Classifier, Context
from tellapart.features.base import FitContext
from tellapart.features.pipeline import FeaturePipeline
from tellapart.recipe.load import Recipe
from tellapart.recipe.schema import Features
from tellapart.types import ImageTable

CORES = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@dataclass(frozen=True)
class FittedCandidate:
    """One candidate of a sweep, fitted, with its predictions.

    Attributes:
        index: Index of its recipe.
        train: (N, C) float64, probabilities on the training split, in [0, 1].
        valid: (M, C) float64, probabilities on the validation split.
        seconds: Time of this candidate alone, without the shared steps.
        facts: Further figures, such as `explained_variance`, the fraction of the variance that the components keep.
        notes: Deviations from what was requested.
    """

    index: int
    train: np.ndarray
    valid: np.ndarray
    seconds: float
    facts: dict[str, float]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class FeatureSet:
    """Training and validation features with their labels.

    Attributes:
        X: (N, D) float32.
        y: (N,) int64.
        X_valid: (M, D) float32; M may be 0.
        y_valid: (M,) int64; may lack classes.
    """

    X: np.ndarray
    y: np.ndarray
    X_valid: np.ndarray
    y_valid: np.ndarray


class FeatureClassifier(Classifier):
    """Base class of families that classify (N, D) float32 feature vectors.

    Attributes:
        extractor: The fitted `features` section.
        notes: Sentences reported with the result; `_fit_vectors` may append.
    """

    sections: ClassVar[frozenset[str]] = frozenset({"features"})
    extractor: FeaturePipeline
    notes: list[str]

    def _fit(self, train: ImageTable, valid: ImageTable, context: Context) -> None:
        vectors = self._extract(train, valid, context)
        self.notes = context.notes
        self._fit_vectors(vectors.X, vectors.y, vectors.X_valid, vectors.y_valid)

    def _extract(self, train: ImageTable, valid: ImageTable, context: Context) -> FeatureSet:
        self.extractor = FeaturePipeline(self.recipe.features or Features(), self.recipe.seed)
        fit_context = FitContext(self.recipe.seed, context.progress, context.parents, context.notes)
        X = self.extractor.fit_transform(self._images(train, context), train.labels, fit_context)
        return FeatureSet(X, train.labels, self.extractor.transform(self._images(valid, context)), valid.labels)

    def _proba(self, table: ImageTable, context: Context) -> np.ndarray:
        images = self._images(table, context)
        blocks = [self._predict_vectors(block) for block in self.extractor.transform_blocks(images)]
        return np.concatenate(blocks) if blocks else np.empty((0, len(self.classes)))

    @classmethod
    def fit_many(
        cls, recipes: Sequence[Recipe], train: ImageTable, valid: ImageTable, context: Context
    ) -> Iterator[FittedCandidate]:
        """Fit many recipes of this family and predict both splits, with the results of `fit` and `predict`, in any order.

        Args:
            recipes: Resolved recipes, with resolved inputs.
            train: Training split.
            valid: Validation split.
            context: Context; notes that concern all candidates are added to its `notes`.
        """
        for same_features in _grouped(range(len(recipes)), lambda i: _feature_key(recipes[i])):
            most = max(same_features, key=lambda i: _components(recipes[i]))
            full = cls(recipes[most])
            full.classes = train.classes
            vectors = full._extract(train, valid, context)
            for same in _grouped(same_features, lambda i: _components(recipes[i])):
                extractor, fewer = _keep_components(full.extractor, vectors, _components(recipes[same[0]]))
                candidates = [cls._prepared(recipes[i], train.classes, extractor) for i in same]
                facts = {"explained_variance": float(extractor.arrays["explained"].sum())} if extractor.features.pca else {}
                for place, seconds, proba in cls._fit_many(candidates, fewer):
                    yield FittedCandidate(same[place], *proba, seconds, facts, tuple(candidates[place].notes))

    @classmethod
    def _prepared(cls, recipe: Recipe, classes: tuple[str, ...], extractor: FeaturePipeline) -> Self:
        """A candidate with a fitted feature pipeline."""
        candidate = cls(recipe)
        candidate.classes, candidate.extractor, candidate.notes = classes, extractor, []
        return candidate

    @classmethod
    def _fit_many(
        cls, candidates: Sequence[Self], vectors: FeatureSet
    ) -> Iterator[tuple[int, float, tuple[np.ndarray, np.ndarray]]]:
        """Fit candidates that share their features: yields (index, seconds, probabilities on train and valid)."""
        yield from run_parallel(lambda candidate: candidate._fit_and_predict(vectors), candidates)

    def _fit_and_predict(self, v: FeatureSet) -> tuple[np.ndarray, np.ndarray]:
        self._fit_vectors(v.X, v.y, v.X_valid, v.y_valid)
        return self._predict_vectors(v.X), self._predict_vectors(v.X_valid)

    @property
    def pretrained(self) -> str:
        """Sources of the pretrained weights of the descriptors."""
        return self.extractor.pretrained

    def _save(self, folder: Path) -> None:
        self.extractor.save(folder / "features.safetensors")
        self._save_model(folder)

    def _load(self, folder: Path) -> None:
        self.extractor = FeaturePipeline.load(
            folder / "features.safetensors", self.recipe.features or Features(), self.recipe.seed
        )
        self._load_model(folder)

    @abstractmethod
    def _fit_vectors(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray) -> None:
        """Fit to X (N, D) float32 and y (N,) int64; the validation split may be empty or lack classes."""

    @abstractmethod
    def _predict_vectors(self, X: np.ndarray) -> np.ndarray:
        """Predict (N, C) probabilities for X (N, D) float32."""

    @abstractmethod
    def _save_model(self, folder: Path) -> None:
        """Write what `_fit_vectors` fitted; the feature pipeline is written already."""

    @abstractmethod
    def _load_model(self, folder: Path) -> None:
        """Read what `_save_model` wrote."""


def run_parallel(work: Any, members: Sequence[Any]) -> Iterator[tuple[int, float, Any]]:
    """Call `work` on every member, in threads on all cores; yields (index, seconds, result) in their order.

    Threads are enough: the libraries release the GIL in the slow steps.
    """
    from threadpoolctl import threadpool_limits

    def timed(member: Any) -> tuple[float, Any]:
        start = time.perf_counter()
        found = work(member)
        return time.perf_counter() - start, found

    # one thread each: two fits side by side do more than one fit on two threads; of one member, too, since sums on more threads
    # round otherwise, and a sweep that is resumed with its last candidate must give the same numbers
    with threadpool_limits(1), ThreadPoolExecutor(min(len(members), CORES)) as pool:
        for place, (seconds, found) in enumerate(pool.map(timed, members)):
            yield place, seconds, found


def _feature_key(recipe: Recipe) -> str:
    features = recipe.features or Features()
    described = features.model_copy(update={"pca": features.pca and 1})
    return f"{recipe.inputs.model_dump_json()} {described.model_dump_json()} {recipe.seed}"


def _components(recipe: Recipe) -> int:
    return (recipe.features or Features()).pca or 0


def _keep_components(extractor: FeaturePipeline, v: FeatureSet, count: int) -> tuple[FeaturePipeline, FeatureSet]:
    """Pipeline and features of a fit with `count` components; 0: no PCA."""
    if not count or count >= extractor.width:
        return extractor, v
    return extractor.with_components(count), FeatureSet(v.X[:, :count], v.y, v.X_valid[:, :count], v.y_valid)


def _grouped(items: Iterable[int], key: Any) -> list[list[int]]:
    groups: dict[Any, list[int]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())
