"""Neighbors, SVM answers and block spectra against scikit-learn and scipy on the same input: seconds and difference.

    python benchmarks/answering.py [--rounds 3] > answering.json

20,000 training and 4,000 test vectors of 100 (SVM) and 784 (neighbors) values in 10 noisy classes; 256 images of
100×100×3 for the spectra; the two take turns, medians over rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.fft import dctn
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from tellapart import registry
from tellapart.recipe import load as recipes
from tellapart.runs.environment import describe_environment

TRAIN, TEST, CLASSES = 20_000, 4_000, 10


def vectors(width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training vectors, labels, test vectors."""
    generator = np.random.default_rng(0)
    labels = generator.integers(CLASSES, size=TRAIN + TEST)
    X = generator.normal(size=(CLASSES, width))[labels] * 0.35 + generator.normal(size=(TRAIN + TEST, width))
    return X[:TRAIN].astype(np.float32), labels[:TRAIN], X[TRAIN:].astype(np.float32)


def fitted(name: str, X: np.ndarray, y: np.ndarray) -> Any:
    """Our classifier of a packaged recipe, fitted on vectors."""
    resolved = recipes.load(name)
    classifier = registry.find("classifiers", resolved.classifier.family)(resolved)
    classifier.classes = tuple(str(c) for c in range(CLASSES))
    classifier._learn(X, y, X[:500], y[:500])
    return classifier


def duel(ours: Callable[[], np.ndarray], theirs: Callable[[], np.ndarray], rounds: int) -> dict[str, Any]:
    """Seconds of both, alternating, and how far the results are apart."""
    seconds: dict[str, list[float]] = {"ours": [], "reference": []}
    answers = {}
    for _ in range(rounds):
        for name, ask in (("ours", ours), ("reference", theirs)):
            start = time.perf_counter()
            answers[name] = ask()
            seconds[name].append(time.perf_counter() - start)
    median = {name: round(statistics.median(s), 3) for name, s in seconds.items()}
    difference = float(np.abs(answers["ours"] - answers["reference"]).max())
    agree = float((answers["ours"].argmax(1) == answers["reference"].argmax(1)).mean())
    ratio = round(median["reference"] / median["ours"], 2)
    return {"median seconds": median, "times as fast": ratio, "largest difference": difference, "same answer": agree}


def scipy_spectra(images: np.ndarray) -> np.ndarray:
    """A transform of every block, with scipy: (B, 2 · 16 · 16 · 3)."""
    windows = np.lib.stride_tricks.sliding_window_view(images.astype(np.float32) / 255, (16, 16), axis=(1, 2))[:, ::8, ::8]
    spectrum = np.log(np.abs(dctn(windows, axes=(4, 5), norm="ortho", workers=-1)) + 1e-3).swapaxes(4, 5)
    return np.stack([spectrum.mean(axis=(1, 2)), spectrum.std(axis=(1, 2))], axis=1).reshape(len(images), -1)


def main(rounds: int) -> None:
    """Print both duels."""
    X, y, asked = vectors(784)
    ours, theirs = fitted("knn", X, y), KNeighborsClassifier(5, weights="distance", algorithm="brute").fit(X, y)

    def neighbors() -> np.ndarray:
        votes = np.concatenate([ours._answer(asked[i : i + 1024]) for i in range(0, TEST, 1024)])
        return votes / votes.sum(axis=1, keepdims=True)

    found = {"knn": duel(neighbors, lambda: theirs.predict_proba(asked), rounds)}
    X, y, asked = vectors(100)
    machine = fitted("svm-pca-rbf", X, y)
    gamma = float(machine.arrays["gamma"][0])
    reference = SVC(C=10, gamma=gamma, break_ties=True, cache_size=2000).fit(X.astype(np.float64), y)

    def decisions() -> np.ndarray:
        return machine._decide(machine._kernel_with_support(asked))

    found["svm decisions"] = duel(decisions, lambda: reference.decision_function(asked), rounds)
    images = np.random.default_rng(0).integers(256, size=(256, 100, 100, 3), dtype=np.uint8)
    describe = registry.find("features", "spectrum")
    describe = describe(describe.Options(block=16))
    found["block spectra"] = duel(lambda: describe(images), lambda: scipy_spectra(images), rounds)
    print(json.dumps({"machine": describe_environment("cpu"), "rounds": rounds, **found}, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    main(parser.parse_args().rounds)
