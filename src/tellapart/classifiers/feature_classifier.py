"""The adapter for classifiers on feature vectors: descriptors, standardising and PCA are done here.

A family gives `_fit_vectors(X, y, X_valid, y_valid)` and `_predict_vectors(X)`; `FeatureFamily` does the rest, and `study`
answers many recipes at once: each descriptor runs once, one decomposition serves all numbers of components, and candidates run
side by side.
"""

from __future__ import annotations

import os
import sys
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
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
    """One candidate of a study, fitted and asked.

    Attributes:
        index: Which of the recipes.
        train: (N, C) float64 probabilities on the training part.
        valid: The same on the validation part.
        seconds: For this candidate alone, without what it shares.
        facts: Figures beside the settings, such as `explained_variance`, the share that the components keep.
        notes: What was done otherwise than asked.
    """

    index: int
    train: np.ndarray
    valid: np.ndarray
    seconds: float
    facts: dict[str, float]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class FeatureSet:
    """What a family learns from: training and validation vectors with their labels.

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
    """Base of families that see (N, D) float32 vectors."""

    sections: ClassVar[frozenset[str]] = frozenset({"features"})

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
        blocks = [self._predict_vectors(self.extractor.transform_block(block)) for block in images.blocks()]
        return np.concatenate(blocks) if blocks else np.empty((0, len(self.classes)))

    @classmethod
    def fit_many(
        cls, recipes: Sequence[Recipe], train: ImageTable, valid: ImageTable, context: Context
    ) -> Iterator[FittedCandidate]:
        """Fit many recipes of this family and ask each about both parts; as `fit` and `predict` would, in any order.

        Args:
            recipes: Resolved; their inputs too.
            train: Learnt from.
            valid: Chosen by.
            context: `notes` takes what concerns all.
        """
        for alike in _grouped(range(len(recipes)), lambda i: _described_by(recipes[i])):
            most = max(alike, key=lambda i: _count(recipes[i]))
            whole = cls(recipes[most])
            whole.classes = train.classes
            vectors = whole._extract(train, valid, context)
            for same in _grouped(alike, lambda i: _count(recipes[i])):
                extractor, fewer = _cut(whole.extractor, vectors, _count(recipes[same[0]]))
                members = [cls._prepared(recipes[i], train.classes, extractor) for i in same]
                facts = {"explained_variance": float(extractor.arrays["explained"].sum())} if extractor.features.pca else {}
                for place, seconds, proba in cls._fit_many(members, fewer):
                    yield FittedCandidate(same[place], *proba, seconds, facts, tuple(members[place].notes))

    @classmethod
    def _prepared(cls, recipe: Recipe, classes: tuple[str, ...], extractor: FeaturePipeline) -> Self:
        member = cls(recipe)
        member.classes, member.extractor, member.notes = classes, extractor, []
        return member

    @classmethod
    def _fit_many(
        cls, members: Sequence[Self], vectors: FeatureSet
    ) -> Iterator[tuple[int, float, tuple[np.ndarray, np.ndarray]]]:
        """Fit members that see the same vectors: (place, seconds, probabilities on train and valid) of each."""
        yield from run_parallel(lambda member: member._fit_and_predict(vectors), members)

    def _fit_and_predict(self, v: FeatureSet) -> tuple[np.ndarray, np.ndarray]:
        self._fit_vectors(v.X, v.y, v.X_valid, v.y_valid)
        return self._predict_vectors(v.X), self._predict_vectors(v.X_valid)

    def _save(self, folder: Path) -> None:
        self.extractor.save(folder / "features.safetensors")
        self._save_model(folder)

    def _load(self, folder: Path) -> None:
        self.extractor = FeaturePipeline.load(
            folder / "features.safetensors", self.recipe.features or Features(), self.recipe.seed
        )
        self._load_model(folder)

    #: Sentences that belong beside the result; `_fit_vectors` may append.
    notes: list[str]

    @abstractmethod
    def _fit_vectors(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray) -> None:
        """X: (N, D) float32, y: (N,) int64; the validation part may be empty or lack classes."""

    @abstractmethod
    def _predict_vectors(self, X: np.ndarray) -> np.ndarray:
        """(N, C) probabilities for X: (N, D) float32."""

    @abstractmethod
    def _save_model(self, folder: Path) -> None: ...

    @abstractmethod
    def _load_model(self, folder: Path) -> None: ...


def run_parallel(work: Any, members: Sequence[Any]) -> Iterator[tuple[int, float, Any]]:
    """(place, seconds, work(member)) of each, on all cores; libraries release the interpreter where the time goes."""
    from threadpoolctl import threadpool_limits

    def timed(member: Any) -> tuple[float, Any]:
        start = time.perf_counter()
        found = work(member)
        return time.perf_counter() - start, found

    workers = min(len(members), CORES)
    # one thread each: two fits side by side do more than one fit on two threads
    with threadpool_limits(1 if workers > 1 else None), ThreadPoolExecutor(workers) as pool:
        places = {pool.submit(timed, member): place for place, member in enumerate(members)}
        for done in as_completed(places):
            yield places[done], *done.result()


def _described_by(recipe: Recipe) -> str:
    features = recipe.features or Features()
    described = features.model_copy(update={"pca": features.pca and 1})
    return f"{recipe.inputs.model_dump_json()} {described.model_dump_json()} {recipe.seed}"


def _count(recipe: Recipe) -> int:
    return (recipe.features or Features()).pca or 0


def _cut(extractor: FeaturePipeline, v: FeatureSet, count: int) -> tuple[FeaturePipeline, FeatureSet]:
    """What a fit with `count` components would give; 0: no PCA."""
    if not count or count >= extractor.width:
        return extractor, v
    return extractor.with_components(count), FeatureSet(v.X[:, :count], v.y, v.X_valid[:, :count], v.y_valid)


def _grouped(items: Iterable[int], key: Any) -> list[list[int]]:
    groups: dict[Any, list[int]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())
