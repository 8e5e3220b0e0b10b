"""Visual words: learnt from a sample of patches, and looked up.

Sivic & Zisserman 2003, "Video Google: a Text Retrieval Approach to Object Matching in Videos"; k-means in mini-batches: Sculley
2010, "Web-scale k-means clustering". Words are rounded to whole numbers, as the vectors are (`_patches.py`): distances are then
exact, and equally near words are told apart by their order alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

_SCORES = 1 << 21  # of vectors against words, held at a time: 8 MiB


def learn_words(vectors: np.ndarray, count: int, seed: int) -> np.ndarray:
    """At most `count` words, (V, E) float32, distinct; fewer where there are fewer distinct vectors."""
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    distinct = np.unique(vectors.astype(np.uint8), axis=0)
    if len(distinct) <= count:
        return distinct.astype(np.float32)
    one: Any = 1  # scikit-learn says this is text
    batch = max(4_096, 3 * count)
    machine = MiniBatchKMeans(count, random_state=seed, n_init=one, batch_size=batch, init_size=batch, max_iter=20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        centers = machine.fit(vectors).cluster_centers_
    return np.unique(np.rint(centers), axis=0).astype(np.float32)


def merge_vocabularies(groups: Iterable[np.ndarray], count: int) -> np.ndarray:
    """Words of several vocabularies as one: (V, E) float32, distinct; of more than `count`, some are left out evenly."""
    words = np.unique(np.concatenate(list(groups)), axis=0)
    return words[np.linspace(0, len(words) - 1, min(count, len(words))).round().astype(np.int64)]


def nearest_words(vectors: np.ndarray, words: np.ndarray, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The nearest words of each vector, nearest first, of equally near ones the earlier.

    Args:
        vectors: (K, E) float32, whole numbers.
        words: (V, E) float32, whole numbers.
        count: How many.

    Returns:
        (K, count) int64, and their squared distances (K, count) float32.
    """
    places, gaps = np.empty((len(vectors), count), np.int64), np.empty((len(vectors), count), np.float32)
    half = np.einsum("ij,ij->i", words, words) / 2
    size = max(1, _SCORES // len(words))
    for start in range(0, len(vectors), size):
        part = vectors[start : start + size]
        scores = part @ words.T
        scores -= half  # half a squared distance, negated, but for the vector's own length
        rows, length = np.arange(len(part)), np.einsum("ij,ij->i", part, part)
        for rank in range(count):
            best = scores.argmax(axis=1)
            places[start : start + size, rank] = best
            gaps[start : start + size, rank] = np.maximum(length - 2 * scores[rows, best], 0)
            scores[rows, best] = -np.inf
    return places, gaps
