"""Bag of visual words: a histogram of the kinds of patches in an image.

Csurka et al. 2004, "Visual Categorization with Bags of Keypoints"; soft assignment: van Gemert et al. 2010, "Visual Word
Ambiguity"; spatial pyramid: Lazebnik, Schmid & Ponce 2006, "Beyond Bags of Features"; signed square roots: Perronnin, Sánchez &
Mensink 2010, "Improving the Fisher Kernel". The patches of all images are never in memory at once: the vocabulary is fitted to
a bounded sample of patches, everything else to a bounded number of images.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from tellapart.data.cache import DecodedImages
from tellapart.features._patches import Patches, PatchOptions, describe_blocks
from tellapart.features.base import Descriptor, FitContext

_CORES = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
_EACH = 20  # maximum number of patches per image in the sample: neighboring ones are similar, other images add more
_WEIGHED = 10_000  # maximum number of images used to select and weight words
_MEASURED = 256  # number of images used to measure the distance of patches from their words
_TREES = 100
_SCORES = 1 << 21  # scores of vectors and words held at a time: 8 MiB

_Count = Annotated[int, Field(ge=1)]
#: Words (V, E) float32; number of images without a keypoint; number of images read.
_Vocabulary = tuple[np.ndarray, int, int]


class VisualWords(Descriptor):
    """Bag of visual words: D = words · cells of the pyramid, or the last number of `select`."""

    class Options(PatchOptions):
        """Options of the bag of visual words."""

        words: int = Field(default=1500, ge=2, description="number of words in the vocabulary")
        vocabulary: Literal["sample", "batches"] = Field(
            default="sample",
            description="sample: one k-means of patches of all images; batches: one k-means per batch of images",
        )
        sample: int = Field(default=200_000, ge=100, description="sample: maximum number of patches")
        batch_images: int = Field(default=200, ge=1, description="batches: number of images in a batch")
        batch_words: int = Field(
            default=10, ge=1, description="batches: number of words per batch; more if there are too few batches"
        )
        histogram: Literal["counts", "tfidf", "soft"] = Field(
            default="counts",
            description="counts; tfidf: give rare words more weight; soft: assign a patch to its nearest words",
        )
        nearest: int = Field(default=4, ge=2, le=64, description="soft: number of words that a patch is assigned to")
        norm: Literal["none", "l1", "l2", "power", "range"] = Field(
            default="power",
            description="normalization of a histogram: l1: sum 1; l2: length 1; power: square roots, then length 1; range: "
            "divide each word by its maximum over the training images",
        )
        pyramid: list[_Count] = Field(
            default=[1],
            min_length=1,
            description="spatial pyramid; [1, 2]: one histogram of the whole image and one of each of 2 × 2 cells",
        )
        select: list[_Count] | None = Field(
            default=None,
            min_length=1,
            description="feature selection by random forests: columns kept in each round; uses labels",
        )

    options: Options

    def fit(self, images: DecodedImages, labels: np.ndarray, context: FitContext) -> None:
        """Fit the vocabulary, then the weights and the selection of words, if requested."""
        o, self.arrays = self.options, {}
        rng = np.random.default_rng(context.seed)
        words, missing, seen = (self._from_batches if o.vocabulary == "batches" else self._from_sample)(images, rng, context)
        self.arrays = {"words": words}
        if len(words) < o.words:
            context.notes.append(f"visual_words: found {len(words):,} distinct words instead of {o.words:,}")
        if missing:
            count = f"{missing:,} of {seen:,} training images"
            context.notes.append(f"visual_words: {count} have no keypoint; {o.description.upper()} of the whole image is used")
        rows = rng.permutation(len(images))[:_WEIGHED]
        if o.histogram == "soft":
            self._measure_spread(_rows(images, rows[:_MEASURED]), context)
        if o.histogram == "tfidf" or o.norm == "range" or o.select:
            self._weigh(_rows(images, rows), labels[rows], context)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """images: (B, H, W, C) uint8 → (B, D) float32, at least 0."""
        found = [self._histograms(p) for p in describe_blocks(iter([images]), self.options, _CORES)]
        X = self._normalized(np.concatenate(found))
        return np.minimum(X / self.arrays["most"], 1) if "most" in self.arrays else X

    def _from_sample(self, images: DecodedImages, rng: np.random.Generator, context: FitContext) -> _Vocabulary:
        """Fit one k-means to a sample of patches: of some images for a grid, of as many as possible for keypoints."""
        o = self.options
        wanted = o.sample // _EACH if o.detector == "dense" else o.sample
        chosen = _rows(images, np.sort(rng.permutation(len(images))[:wanted]))
        each = max(1, o.sample // len(chosen))
        kept, missing = [], 0
        for patches in self._found(chosen, context, "patches"):
            kept.append(patches.vectors[_pick(patches.owner, each, rng)].astype(np.uint8))
            missing += int(patches.missing.sum())
        vectors = np.concatenate(kept).astype(np.float32)
        return fit_words(vectors, o.words, context.seed), missing, len(chosen)

    def _from_batches(self, images: DecodedImages, rng: np.random.Generator, context: FitContext) -> _Vocabulary:
        """Fit one k-means per batch of images, in random order, and merge the vocabularies."""
        o = self.options
        batches = max(1, min(-(-o.words // o.batch_words), len(images) // o.batch_images))
        each = -(-o.words // batches)
        chosen = _rows(images, rng.permutation(len(images))[: batches * o.batch_images])
        held: list[np.ndarray] = []
        groups: list[np.ndarray] = []
        missing = count = 0
        for patches in self._found(chosen, context, "patches", o.batch_images):
            held.append(patches.vectors)
            missing, count = missing + int(patches.missing.sum()), count + len(patches.missing)
            if count >= min((len(groups) + 1) * o.batch_images, len(chosen)):
                groups.append(fit_words(np.concatenate(held), each, context.seed + len(groups)))
                held = []
        return merge_vocabularies(groups, o.words), missing, len(chosen)

    def _found(self, images: DecodedImages, context: FitContext, what: str, size: int | None = None) -> Iterator[Patches]:
        with context.progress.task(what, len(images), "img") as task:
            for patches in describe_blocks(images.blocks(size), self.options, _CORES):
                task.advance(len(patches.missing))
                yield patches

    def _measure_spread(self, images: DecodedImages, context: FitContext) -> None:
        """Measure the mean squared distance of patches from their nearest words."""
        words = self.arrays["words"]
        gaps = [nearest_words(p.vectors, words)[1] for p in self._found(images, context, "spread")]
        self.arrays["spread"] = np.array([max(float(np.concatenate(gaps).mean()), 1.0)], np.float32)

    def _weigh(self, images: DecodedImages, labels: np.ndarray, context: FitContext) -> None:
        """Fit the weights of the words on a bounded number of images: rarity, selection, maxima."""
        o = self.options
        X = np.concatenate([self._histograms(p) for p in self._found(images, context, "histograms")])
        if o.histogram == "tfidf":
            self.arrays["rarity"] = (np.log((1 + len(X)) / (1 + (X > 0).sum(axis=0))) + 1).astype(np.float32)
        X = self._normalized(X)
        if o.select:
            self.arrays["kept"] = kept = _select(X, labels, o.select, context.seed)
            X = X[:, kept]
        if o.norm == "range":
            self.arrays["most"] = np.maximum(X.max(axis=0), 1e-6)

    def _histograms(self, patches: Patches) -> np.ndarray:
        """Unnormalized histograms, one column per word and cell of the pyramid: (B, words · cells) float32."""
        o, words = self.options, self.arrays["words"]
        count = min(o.nearest, len(words)) if o.histogram == "soft" else 1
        places, gaps = nearest_words(patches.vectors, words, count)
        weights = _closeness(gaps, self.arrays["spread"][0]) if "spread" in self.arrays else np.ones_like(gaps)
        images, parts = len(patches.missing), []
        for grid in o.pyramid:
            cell = np.minimum((patches.centers * grid).astype(np.int64), grid - 1) @ np.array([grid, 1])
            index = (patches.owner * grid**2 + cell)[:, None] * len(words) + places
            sums = np.bincount(index.ravel(), weights.ravel(), images * grid**2 * len(words))
            parts.append(sums.reshape(images, grid**2 * len(words)).astype(np.float32))
        return np.concatenate(parts, axis=1)

    def _normalized(self, X: np.ndarray) -> np.ndarray:
        """Normalize each row: (B, words · cells) → (B, D)."""
        o = self.options
        if "rarity" in self.arrays:
            X = X * self.arrays["rarity"]
        if o.norm == "power":
            X = np.sqrt(X)
        if o.norm == "l1":
            X = X / np.maximum(X.sum(axis=1, keepdims=True), 1e-12)
        if o.norm in ("l2", "power"):
            X = X / np.maximum(np.sqrt((X * X).sum(axis=1, keepdims=True)), 1e-12)
        return X[:, self.arrays["kept"]] if "kept" in self.arrays else X


def _rows(images: DecodedImages, rows: np.ndarray) -> DecodedImages:
    return DecodedImages(images.pixels, images.positions[rows])


def _pick(owner: np.ndarray, each: int, rng: np.random.Generator) -> np.ndarray:
    """At most `each` random positions of every owner: (K',) int64, in ascending order."""
    order = np.lexsort((rng.random(len(owner)), owner))
    rank = np.arange(len(owner)) - np.searchsorted(owner, owner)  # `owner` is sorted, and stays sorted in this order
    return np.sort(order[rank < each])


def _closeness(gaps: np.ndarray, spread: float) -> np.ndarray:
    """Weights of the nearest words, (K, count), rows sum to 1: a Gaussian of the distance, `spread` its width."""
    weights = np.exp((gaps[:, :1] - gaps) / spread)
    return weights / weights.sum(axis=1, keepdims=True)


def _select(X: np.ndarray, labels: np.ndarray, rounds: list[int], seed: int) -> np.ndarray:
    """Columns of the highest importance in a random forest (Breiman 2001), fewer in each round: (D,) int64, ascending."""
    from sklearn.ensemble import RandomForestClassifier

    kept = np.arange(X.shape[1])
    for count in rounds:
        forest = RandomForestClassifier(_TREES, random_state=seed, n_jobs=_CORES).fit(X[:, kept], labels)
        best = np.argsort(-forest.feature_importances_, kind="stable")[:count]
        kept = np.sort(kept[best])
    return kept


def fit_words(vectors: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Fit at most `count` distinct words by k-means, (V, E) float32; fewer if there are fewer distinct vectors."""
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    distinct = np.unique(vectors.astype(np.uint8), axis=0)
    if len(distinct) <= count:
        return distinct.astype(np.float32)
    one: Any = 1  # scikit-learn's annotation allows only text
    batch = max(4_096, 3 * count)
    machine = MiniBatchKMeans(count, random_state=seed, n_init=one, batch_size=batch, init_size=batch, max_iter=20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        centers = machine.fit(vectors).cluster_centers_
    return np.unique(np.rint(centers), axis=0).astype(np.float32)


def merge_vocabularies(groups: Iterable[np.ndarray], count: int) -> np.ndarray:
    """Merge vocabularies into one of at most `count` distinct words, (V, E) float32; surplus words are dropped evenly."""
    words = np.unique(np.concatenate(list(groups)), axis=0)
    return words[np.linspace(0, len(words) - 1, min(count, len(words))).round().astype(np.int64)]


def nearest_words(vectors: np.ndarray, words: np.ndarray, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The nearest words of each vector, nearest first; ties go to the earlier word.

    Args:
        vectors: (K, E) float32, integers in 0 … 255.
        words: (V, E) float32, integers in 0 … 255.
        count: Number of words per vector.

    Returns:
        (K, count) int64, and their squared distances (K, count) float32.
    """
    places, gaps = np.empty((len(vectors), count), np.int64), np.empty((len(vectors), count), np.float32)
    half = np.einsum("ij,ij->i", words, words) / 2
    size = max(1, _SCORES // len(words))
    for start in range(0, len(vectors), size):
        part = vectors[start : start + size]
        scores = part @ words.T
        scores -= half  # −½ squared distance, without the term of the vector's own length
        rows, length = np.arange(len(part)), np.einsum("ij,ij->i", part, part)
        for rank in range(count):
            best = scores.argmax(axis=1)
            places[start : start + size, rank] = best
            gaps[start : start + size, rank] = np.maximum(length - 2 * scores[rows, best], 0)
            scores[rows, best] = -np.inf
    return places, gaps
