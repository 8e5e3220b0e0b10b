"""Exact k-nearest-neighbor search: approximate distances select few candidates, precise distances decide among them.

No neighbor can be lost, by an error bound. Let u = 2⁻²⁴ be the rounding unit of single precision and D the length of a vector;
in any order of summation, a product of two vectors has an error of at most D · u · |a| · |b| (Higham 2002, "Accuracy and
Stability of Numerical Algorithms", section 3.1; 2 % more covers the terms in u²). If no approximate distance has an error of
more than s, all rows that may be among the k nearest lie within 2 s of the k-th approximate distance; all of them are measured
again in double precision.

Integers from 0 to 255, unscaled pixels, are stored as uint8 and compared exactly: after subtracting 128, the products of 1,024
of them sum to at most 1,024 · 128² = 2²⁴, so single precision holds every intermediate sum; only the last differences round.
Of rows at equal distances the earlier one is nearer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np

from tellapart.classifiers.feature_classifier import CORES

_UNIT = 2.0**-24
_TINY = 1e-44  # bound on what single precision loses by underflow, per value
_EXACT = 1_024  # columns of integers whose products single precision sums exactly
_WIDEST = 32_768  # columns up to which squared distances of integers fit into 31 bits
_QUERIES, _CELLS = 1_024, 1 << 25  # queries at a time, and distances between them and all rows (134 MB)
_GROUPS = 1_024  # columns of a group; the group minima bound the k-th distance in one pass over the matrix
_GATHERED = 1 << 22  # values of candidates that are measured again at a time
_TILE = 1_024  # rows of uint8 that OpenCV processes at a time
_SPARE = 16  # candidates besides the k that OpenCV keeps

Nearest = tuple[np.ndarray, np.ndarray]
Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]


def to_uint8(X: np.ndarray) -> np.ndarray:
    """(N, D) as uint8 if all values are integers from 0 to 255; otherwise X itself."""
    if X.dtype == np.uint8 or X.shape[1] > _WIDEST or not _whole(X[:1]):
        return X
    blocks = range(0, len(X), _QUERIES)
    return X.astype(np.uint8) if all(_whole(X[start : start + _QUERIES]) for start in blocks) else X


def _whole(X: np.ndarray) -> bool:
    return bool(((X >= 0) & (X <= 255)).all()) and bool((X == np.rint(X)).all())


def search_by(metric: str, base: np.ndarray) -> Search:
    """The search for the nearest rows of `base`, (N, D) uint8 or float32, N ≥ 1, by a metric."""
    if metric == "manhattan" and base.dtype == np.uint8:
        return WholeManhattan(base)
    return {"euclidean": Euclidean, "cosine": Cosine, "manhattan": Manhattan, "chebyshev": Chebyshev}[metric](base)


class Search(ABC):
    """Finds the nearest rows of `base`; queries have the dtype of `base`."""

    def __init__(self, base: np.ndarray) -> None:
        self.base = base

    def nearest(self, queries: np.ndarray, k: int) -> Nearest:
        """Distances and rows of the k nearest, nearest first: (M, k) float64, (M, k) int64; k ≤ N."""
        distance, index = np.empty((len(queries), k)), np.empty((len(queries), k), np.int64)
        size = max(1, min(_QUERIES, _CELLS // len(self.base)))
        for start in range(0, len(queries), size):
            part = slice(start, start + size)
            distance[part], index[part] = self._nearest(queries[part], k)
        return distance, index

    @abstractmethod
    def _nearest(self, queries: np.ndarray, k: int) -> Nearest:
        """The same for one block of queries."""

    def _in_batches(self, rows: np.ndarray, columns: np.ndarray, measure: Measure) -> np.ndarray:
        """Measure pairs in batches, to bound the memory for their vectors."""
        size = max(1, _GATHERED // self.base.shape[1])
        starts = range(0, len(rows), size)
        return np.concatenate([measure(rows[i : i + size], columns[i : i + size]) for i in starts])


class _ProductSearch(Search):
    """Approximate distances by matrix products: bias − vector · query, in single precision.

    Attributes:
        vectors: (P, D) float32, padded with zeros from row N to P, a multiple of `_GROUPS`.
        bias: (P,) float32; infinite from N on.
        columns: Number of columns multiplied at a time.
    """

    def _hold(self, vectors: np.ndarray, bias: np.ndarray | float, columns: int) -> None:
        count, padded = len(vectors), -(-len(vectors) // _GROUPS) * _GROUPS
        self.vectors = np.zeros((padded, vectors.shape[1]), np.float32)
        self.vectors[:count] = vectors
        self.bias = np.full(padded, np.inf, np.float32)
        self.bias[:count] = bias
        self.columns = max(1, columns)

    def _rough(self, queries: np.ndarray) -> np.ndarray:
        """Approximate distances of queries (B, D) float32: (B, P) float32."""
        found = queries[:, : self.columns] @ self.vectors[:, : self.columns].T
        np.subtract(self.bias, found, out=found)
        for start in range(self.columns, queries.shape[1], self.columns):
            part = slice(start, start + self.columns)
            found -= queries[:, part] @ self.vectors[:, part].T
        return found


class _EuclideanSearch(_ProductSearch):
    """Approximate distance |x|² / 2 − x · q: half the squared distance without |q|² / 2; vectors are centered first."""

    def __init__(self, base: np.ndarray) -> None:
        super().__init__(base)
        self.whole = base.dtype == np.uint8
        self.shift = np.float32(128) if self.whole else base.mean(axis=0, dtype=np.float64).astype(np.float32)
        vectors = base.astype(np.float32)
        vectors -= self.shift
        squares = _squares(vectors)
        self.longest = float(np.sqrt(squares.max()))
        self._hold(vectors, squares / 2, _EXACT if self.whole else base.shape[1])

    def _screen(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Approximate distances (B, P), their error bounds (B,), and |q|² (B,) of the shifted queries."""
        shifted = queries.astype(np.float32) - self.shift
        squares = _squares(shifted)
        width = queries.shape[1]
        if self.whole:
            # products are exact: only the bias and the differences round, all below 2 · D · 128²
            slack = np.full(len(queries), (-(-width // _EXACT) + 1) * width * 2.0**15 * _UNIT)
        else:
            slack = _UNIT * self.longest * ((1.02 * width + 8) * np.sqrt(squares) + 4 * self.longest) + width * _TINY
        return self._rough(shifted), slack, squares

    def _measure(self, queries: np.ndarray) -> Measure:
        def distances(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
            return np.sqrt(_squares(queries[rows].astype(np.float64) - self.base[columns]))

        return lambda rows, columns: self._in_batches(rows, columns, distances)


class Euclidean(_EuclideanSearch):
    """Euclidean distance √Σ d²; for integer vectors the root of an exact integer."""

    def _nearest(self, queries: np.ndarray, k: int) -> Nearest:
        rough, slack, _ = self._screen(queries)
        return _refine(rough, slack, k, self._measure(queries))


class WholeManhattan(_EuclideanSearch):
    """Manhattan distance of integers, by OpenCV, for the rows that the Euclidean distance does not exclude.

    No difference exceeds 255, so Σ |d| ≥ Σ d² / 255. On Fashion-MNIST a ninth of the rows remain.
    """

    def _nearest(self, queries: np.ndarray, k: int) -> Nearest:
        rough, slack, squares = self._screen(queries)
        # the k nearest by Euclidean distance are k rows: the k nearest by this distance are no farther than the farthest of
        # them
        _, index = _refine(rough, slack, k, self._measure(queries))
        pairs = np.repeat(np.arange(len(queries)), k), index.ravel()
        within = self._in_batches(*pairs, _absolute(queries, self.base)).reshape(-1, k).max(axis=1)
        limit = _rounded_up((255 * within - squares) / 2 + slack, np.float32)
        return self._nearest_of(rough[:, : len(self.base)] <= limit[:, None], queries, k)

    def _nearest_of(self, near: np.ndarray, queries: np.ndarray, k: int) -> Nearest:
        """The k nearest of the rows where `near` (B, N) is true. OpenCV keeps them sorted, and equal ones in row order."""
        import cv2

        distance: Any = None
        index: Any = None
        # tiles that fit into a core's cache take a third of the time of all rows at once; each must hold k rows
        edges = np.linspace(0, len(self.base), max(1, len(self.base) // max(_TILE, k)) + 1).astype(int)
        for start, end in pairwise(edges.tolist()):
            mask = np.ascontiguousarray(near[:, start:end]).view(np.uint8)
            distance, index = cv2.batchDistance(
                queries, self.base[start:end], cv2.CV_32S, distance, index, cv2.NORM_L1, k, mask, start
            )
        return distance.astype(np.float64), index


class Cosine(_ProductSearch):
    """Cosine distance, 1 − cos; 1 for a zero vector, which has no angle. Approximate distance: −(unit x · unit q).

    For integers, sin² = (|x|² |q|² − (x · q)²) / (|x|² |q|²) is one division of integers, so equal angles give equal distances
    up to the rounding of double precision, and a multiple of a vector has distance 0.
    """

    def __init__(self, base: np.ndarray) -> None:
        super().__init__(base)
        self._hold(_unit(base), 0.0, base.shape[1])

    def _nearest(self, queries: np.ndarray, k: int) -> Nearest:
        slack = np.full(len(queries), (1.02 * queries.shape[1] + 8) * _UNIT)
        whole = self.base.dtype == np.uint8
        measure = (_whole_angles if whole else _angles)(queries, self.base)
        rough = self._rough(_unit(queries))
        return _refine(rough, slack, k, lambda rows, columns: self._in_batches(rows, columns, measure))


class Manhattan(Search):
    """Manhattan distance: OpenCV keeps more than k candidates in single precision; undecided queries are measured in full."""

    def _nearest(self, queries: np.ndarray, k: int) -> Nearest:
        import cv2

        kept = min(k + _SPARE, len(self.base))
        rough, columns = cv2.batchDistance(queries, self.base, cv2.CV_32F, None, None, cv2.NORM_L1, kept)
        rows = np.repeat(np.arange(len(queries)), kept)
        exact = self._in_batches(rows, columns.ravel(), _absolute(queries, self.base))
        distance, index = _first(rows, columns.ravel().astype(np.int64), exact, len(queries), k)
        error = (1.02 * queries.shape[1] + 8) * _UNIT
        beyond = (
            rough[:, -1] * (1 - error) - queries.shape[1] * _TINY
        )  # lower bound on the distance of the rows that OpenCV dropped
        for row in np.flatnonzero((beyond <= distance[:, -1]) & (kept < len(self.base))):
            distance[row], index[row] = self._in_full(queries[row : row + 1], k)
        return distance, index

    def _in_full(self, query: np.ndarray, k: int) -> Nearest:
        columns = np.arange(len(self.base))
        exact = self._in_batches(np.zeros_like(columns), columns, _absolute(query, self.base))
        order = np.argsort(exact, kind="stable")[:k]
        return exact[order], order


class Chebyshev(Search):
    """Chebyshev distance, the largest difference, by scipy in double precision."""

    def _nearest(self, queries: np.ndarray, k: int) -> Nearest:
        from scipy.spatial.distance import cdist

        exact = np.empty((len(queries), len(self.base)))
        exact_queries = queries.astype(np.float64)

        def fill(start: int) -> None:
            part = slice(start, start + _GROUPS)
            exact[:, part] = cdist(exact_queries, self.base[part].astype(np.float64), "chebyshev")

        with ThreadPoolExecutor(CORES) as pool:  # scipy releases the GIL
            list(pool.map(fill, range(0, len(self.base), _GROUPS)))
        return _refine(exact, np.zeros(len(queries)), k, lambda rows, columns: exact[rows, columns])


def _refine(rough: np.ndarray, slack: np.ndarray, k: int, measure: Measure, start: int = 0) -> Nearest:
    """The k nearest of each query by precise distances, among the candidates that approximate distances allow.

    Args:
        rough: (B, P), approximate distances, or values in the same order.
        slack: (B,), bound on the error of each.
        k: Number of neighbors.
        measure: Computes precise distances of pairs (query of the block, column).
        start: Index in the block of the first query of `rough`.
    """
    rows_count, width = rough.shape
    grouped = width % _GROUPS == 0 and width >= 4 * _GROUPS and k <= _GROUPS // 8
    groups = _GROUPS if grouped else width
    cells = rough.reshape(rows_count, -1, groups)
    least = cells.min(axis=1)  # the k-th smallest of these minima is an upper bound of the k-th distance
    limit = _rounded_up(np.partition(least, k - 1, axis=1)[:, k - 1] + 2 * slack, rough.dtype)
    hits = least <= limit[:, None]
    if np.count_nonzero(hits) * cells.shape[1] > _GATHERED and rows_count > 1:  # many equal distances
        half = rows_count // 2
        parts = (
            _refine(rough[:half], slack[:half], k, measure, start),
            _refine(rough[half:], slack[half:], k, measure, start + half),
        )
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    rows, group = np.nonzero(hits)
    found, place = np.nonzero(cells[rows, :, group] <= limit[rows, None])
    rows, columns = rows[found], place * groups + group[found]
    return _first(rows, columns, measure(rows + start, columns), rows_count, k)


def _first(rows: np.ndarray, columns: np.ndarray, distance: np.ndarray, count: int, k: int) -> Nearest:
    """The k nearest of each of `count` queries, from pairs in any order: sorted by distance, then by column."""
    order = np.lexsort((columns, distance, rows))
    starts = np.searchsorted(rows[order], np.arange(count))
    taken = order[starts[:, None] + np.arange(k)]
    return distance[taken], columns[taken]


def _absolute(queries: np.ndarray, base: np.ndarray) -> Measure:
    return lambda rows, columns: np.abs(queries[rows].astype(np.float64) - base[columns]).sum(axis=1)


def _angles(queries: np.ndarray, base: np.ndarray) -> Measure:
    def distances(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        a, b = _unit(queries[rows], np.float64), _unit(base[columns], np.float64)
        none = ~(a.any(axis=1) & b.any(axis=1))
        return np.where(none, 1.0, _squares(a - b) / 2)

    return distances


def _whole_angles(queries: np.ndarray, base: np.ndarray) -> Measure:
    def distances(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        a, b = queries[rows].astype(np.float64), base[columns].astype(np.float64)
        product = np.einsum("ij,ij->i", a, b).astype(np.int64)
        lengths = _squares(a).astype(np.int64) * _squares(b).astype(np.int64)
        sine = (lengths - product**2) / np.maximum(lengths, 1)
        return np.where(lengths == 0, 1.0, sine / (1 + np.sqrt(1 - sine)))

    return distances


def _squares(X: np.ndarray) -> np.ndarray:
    """Squared length of each row, (N,) float64."""
    return np.einsum("ij,ij->i", X, X, dtype=np.float64)


def _unit(X: np.ndarray, dtype: type = np.float32) -> np.ndarray:
    """Rows scaled to length 1; a row of zeros is unchanged."""
    lengths = np.sqrt(_squares(X))
    return np.divide(X, np.where(lengths == 0, 1, lengths)[:, None], dtype=dtype, casting="same_kind")


def _rounded_up(limit: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
    return np.nextafter(limit.astype(dtype), np.array(np.inf, dtype))
