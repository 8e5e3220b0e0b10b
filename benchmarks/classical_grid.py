"""The SVM study of row A10, 28 fits on pixels: shared here, one after the other in scikit-learn. Seconds, and the same table.

    python benchmarks/classical_grid.py ../shared/data --rounds 3 --json grid.json

3,200 training and 800 validation pictures of `deepfake5`, 100×100 in color, decoded beforehand for both; 200, 300, 400 and 500
components by seven C; every cell scored on both parts. The reference is `GridSearchCV` over a `Pipeline` of StandardScaler, PCA
and SVC as people write it: a predefined split, two jobs, no cache. Each side runs in a process of its own, in turns; medians.
The cells are then compared with scikit-learn's own SVC on its own exact PCA (`svd_solver="full"`): the reference's PCA is
randomized by default, and its table moves with the seed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import tellapart as ta
from tellapart import registry
from tellapart.classifiers.base import Context
from tellapart.data.cache import PixelCache
from tellapart.recipe import load as recipes
from tellapart.runs.environment import describe_environment

COUNTS, PRICES = (200, 300, 400, 500), (0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
Cells = dict[str, tuple[float, float]]


def parts(data: Path, rows: int) -> tuple[ta.ImageTable, ta.ImageTable]:
    """Four fifths to learn from, one fifth to validate: (train, valid)."""
    table = ta.scan(data / "deepfake5.tar")
    order = np.random.default_rng(0).permutation(np.flatnonzero(table.labels >= 0))[:rows]
    cut = len(order) * 4 // 5
    return table.take(np.sort(order[:cut])), table.take(np.sort(order[cut:]))


def resolved(count: int, price: float) -> Any:
    """The recipe of one cell."""
    return recipes.load("svm-pca-rbf", [f"features.pca={count}", f"classifier.C={price}", "inputs.size=100", "inputs.mode=rgb"])


def ours(data: Path, rows: int) -> tuple[float, Cells]:
    """Seconds and cells (train, validation accuracy) of the shared study."""
    train, valid = parts(data, rows)
    context = Context(PixelCache())
    grid = [(count, price) for count in COUNTS for price in PRICES]
    candidates = [resolved(*cell) for cell in grid]
    context.cache.images(train, candidates[0].inputs), context.cache.images(valid, candidates[0].inputs)
    family = registry.find("classifiers", "svm")
    start = time.perf_counter()
    cells = {}
    for trial in family.fit_many(candidates, train, valid, context):
        scores = [np.mean(p.argmax(1) == t.labels) for p, t in ((trial.train, train), (trial.valid, valid))]
        cells[name(*grid[trial.index])] = (float(scores[0]), float(scores[1]))
    return time.perf_counter() - start, cells


def pixels(data: Path, rows: int) -> tuple[np.ndarray, np.ndarray, int]:
    """(N, 30,000) float32 in [0, 1], labels, and how many of the rows are for training."""
    both = parts(data, rows)
    cache, inputs = PixelCache(), resolved(200, 1.0).inputs
    X = np.concatenate([cache.images(t, inputs).get().reshape(len(t), -1) for t in both]).astype(np.float32) / 255
    return X, np.concatenate([t.labels for t in both]), len(both[0])


def reference(data: Path, rows: int) -> tuple[float, Cells]:
    """The same with GridSearchCV; decoding is not counted."""
    from sklearn.decomposition import PCA
    from sklearn.model_selection import GridSearchCV, PredefinedSplit
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    X, y, cut = pixels(data, rows)
    fold = np.where(np.arange(len(X)) < cut, -1, 0)
    pipeline = Pipeline([("scale", StandardScaler()), ("pca", PCA(random_state=0)), ("svm", SVC(kernel="rbf"))])
    grid = {"pca__n_components": COUNTS, "svm__C": PRICES}
    search = GridSearchCV(pipeline, grid, cv=PredefinedSplit(fold), n_jobs=2, refit=False, return_train_score=True)
    start = time.perf_counter()
    found = search.fit(X, y).cv_results_
    seconds = time.perf_counter() - start
    pairs = zip(found["params"], found["mean_train_score"], found["mean_test_score"], strict=True)
    return seconds, {name(p["pca__n_components"], p["svm__C"]): (float(a), float(b)) for p, a, b in pairs}


def exact(data: Path, rows: int) -> tuple[float, Cells]:
    """scikit-learn's cells on its exact PCA, each fit on its own."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    X, y, cut = pixels(data, rows)
    start = time.perf_counter()
    scaler = StandardScaler().fit(X[:cut])
    pca = PCA(max(COUNTS), svd_solver="full").fit(scaler.transform(X[:cut]))
    Z, cells = pca.transform(scaler.transform(X)), {}
    for count in COUNTS:
        for price in PRICES:
            machine = SVC(C=price, break_ties=True).fit(Z[:cut, :count], y[:cut])
            scores = [machine.score(Z[part, :count], y[part]) for part in (slice(cut), slice(cut, None))]
            cells[name(count, price)] = (float(scores[0]), float(scores[1]))
    return time.perf_counter() - start, cells


def name(count: int, price: float) -> str:
    """Of a cell."""
    return f"{count} components, C {price:g}"


def apart(work: Any, *arguments: Any) -> tuple[float, Cells]:
    """The result of `work` in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:  # one that may have children: two jobs
        return pool.submit(work, *arguments).result()


def measure(data: Path, rounds: int, rows: int = 4_000) -> dict[str, Any]:
    """Both sides `rounds` times, and the cells against scikit-learn's exact ones."""
    sides: dict[str, list[tuple[float, Cells]]] = {"tellapart": [], "GridSearchCV": []}
    for _ in range(rounds):
        sides["tellapart"].append(apart(ours, data, rows))
        sides["GridSearchCV"].append(apart(reference, data, rows))
    seconds = {side: [round(s, 1) for s, _ in found] for side, found in sides.items()}
    mine, theirs = sides["tellapart"][0][1], apart(exact, data, rows)[1]
    counts = [len(part) for part in parts(data, rows)]
    off = {}
    for i, part in enumerate(("train", "valid")):
        off[part] = max(round(abs(mine[k][i] - theirs[k][i]) * counts[i]) for k in theirs)
    return {
        "images": rows, "fits": len(theirs), "seconds": seconds,
        "times as fast": round(statistics.median(seconds["GridSearchCV"]) / statistics.median(seconds["tellapart"]), 2),
        "cells": {k: {"train": mine[k][0], "valid": mine[k][1]} for k in mine},
        "images that a cell is off scikit-learn's on the exact PCA, at most": off,
    }  # fmt: skip


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=4_000)
    parser.add_argument("--json", type=Path, default=Path("grid.json"))
    asked = parser.parse_args()
    content = {"machine": describe_environment("cpu"), "rounds": asked.rounds, **measure(asked.data, asked.rounds, asked.rows)}
    asked.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
