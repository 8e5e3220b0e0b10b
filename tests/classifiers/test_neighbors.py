"""Neighbors against every distance measured plainly, against scikit-learn, and against what was worked out by hand."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.datasets import make_blobs
from sklearn.neighbors import KNeighborsClassifier

from tellapart.classifiers import _knn_search
from tellapart.classifiers._knn_search import Euclidean, Manhattan, search_by, to_uint8
from tellapart.classifiers.feature_classifier import FeatureSet
from tellapart.classifiers.knn import Knn
from tellapart.recipe import load as recipes

METRICS = ("euclidean", "manhattan", "cosine", "chebyshev")
PLAIN: dict[str, Any] = {"euclidean": "euclidean", "manhattan": "cityblock", "cosine": "cosine", "chebyshev": "chebyshev"}


def _neighbors(k: int, metric: str = "euclidean", weights: str = "uniform", classes: int = 4) -> Knn:
    options = {"family": "knn", "k": k, "metric": metric, "weights": weights}
    found = Knn(recipes.parse({"classifier": options}))
    found.classes, found.notes = tuple(str(c) for c in range(classes)), []
    return found


def _learnt(X: np.ndarray, y: np.ndarray, *settings: Any, classes: int = 4) -> Knn:
    found = _neighbors(*settings, classes=classes)
    found._fit_vectors(X, y, X[:0], y[:0])
    return found


def _blobs(classes: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found: Any = make_blobs(300, 6, centers=classes, cluster_std=4, random_state=0)
    X, y, *_ = found
    return X[:240].astype(np.float32), y[:240].astype(np.int64), X[240:].astype(np.float32)


def _integers(high: int, width: int, rows: int = 400, queries: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whole numbers below `high` as float32, labels of 4 classes, queries."""
    draw = np.random.default_rng(width)
    X = draw.integers(high, size=(rows + queries, width)).astype(np.float32)
    return X[:rows], draw.integers(4, size=rows), X[rows:]


def _plainly(X: np.ndarray, asked: np.ndarray, metric: str, k: int) -> tuple[np.ndarray, np.ndarray]:
    """All distances in double precision, in a stable order."""
    distance = np.asarray(cdist(asked.astype(float), X.astype(float), PLAIN[metric]))
    if metric == "cosine":  # scipy knows no angle to a zero vector; equal angles differ in its last bits
        distance = np.nan_to_num(distance, nan=1.0).round(12)
    index = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distance, index, axis=1), index


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("high", "width"), [(3, 4), (5, 9), (256, 50), (256, 1_500)])
def test_of_equal_distances_of_whole_numbers_the_earlier_row_is_nearer(metric: str, high: int, width: int) -> None:
    X, _, asked = _integers(high, width)
    assert (to_uint8(X).dtype, to_uint8(X[:3] + np.float32(0.5)).dtype) == (np.uint8, np.float32)
    for base, queries in ((to_uint8(X), to_uint8(asked)), (X, asked)):
        distance, index = search_by(metric, base).nearest(queries, 12)
        plain, rows = _plainly(X, asked, metric, 12)
        np.testing.assert_allclose(distance, plain, atol=1e-11)
        if metric != "cosine" or base.dtype == np.uint8:  # equal angles of floats are equal to rounding only
            np.testing.assert_array_equal(index, rows)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("whole", [True, False])
def test_many_rows_in_groups(metric: str, whole: bool) -> None:
    """Beyond 4,096 rows the k-th distance is bounded by the minima of groups."""
    draw = np.random.default_rng(0)
    X = draw.integers(30, size=(6_000, 20)).astype(np.float32) if whole else draw.normal(size=(6_000, 20)).astype(np.float32)
    asked = X[::300] + np.float32(1 if whole else 0.1)
    distance, index = search_by(metric, to_uint8(X)).nearest(to_uint8(asked), 12)
    plain, rows = _plainly(X, asked, metric, 12)
    np.testing.assert_allclose(distance, plain, atol=1e-9)
    np.testing.assert_array_equal(index, rows)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_thousand_copies_of_each_vector(metric: str, dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_knn_search, "_GATHERED", 2_000)  # too few for all that are equally near: halved until they fit
    few = np.random.default_rng(0).integers(1, 50, size=(5, 8)).astype(dtype)
    X = np.tile(few, (1_000, 1))
    distance, index = search_by(metric, X).nearest(few, 3)
    np.testing.assert_array_equal(distance, np.zeros((5, 3)))
    np.testing.assert_array_equal(index, np.arange(5)[:, None] + [0, 5, 10])


def test_the_largest_whole_numbers_there_may_be_are_exact() -> None:
    """32,768 columns of 0 and 255: the squares fill 31 bits, and one unit in one column decides."""
    X = np.zeros((4, 32_768), np.uint8)
    X[1:3] = 255
    X[2, 7] = 254
    asked = np.full((1, 32_768), 255, np.uint8)
    distance, index = search_by("euclidean", X).nearest(asked, 4)
    np.testing.assert_array_equal(index, [[1, 2, 0, 3]])
    np.testing.assert_allclose(distance**2, [[0, 1, 32_768 * 255**2, 32_768 * 255**2]], rtol=1e-15)
    distance, index = search_by("manhattan", X).nearest(asked, 4)
    np.testing.assert_array_equal(distance, [[0, 1, 32_768 * 255, 32_768 * 255]])
    np.testing.assert_array_equal(index, [[1, 2, 0, 3]])


@pytest.mark.parametrize("k", [900, 1_300, 2_500])
def test_more_neighbors_than_a_tile_or_a_group_has(k: int) -> None:
    X, _, asked = _integers(256, 12, rows=2_500, queries=3)
    for metric in ("euclidean", "manhattan"):
        plain, rows = _plainly(X, asked, metric, k)
        distance, index = search_by(metric, to_uint8(X)).nearest(to_uint8(asked), k)
        np.testing.assert_array_equal(index, rows)
        np.testing.assert_allclose(distance, plain, rtol=1e-15)


@pytest.mark.parametrize("whole", [True, False])
def test_cheap_distances_are_off_by_no_more_than_is_said(whole: bool) -> None:
    """Sums of 20,000 products of one sign, far beyond what single precision holds exactly."""
    draw = np.random.default_rng(0)
    X = draw.integers(240, 256, (9, 20_000)).astype(np.uint8) if whole else draw.uniform(2, 3, (9, 20_000)).astype(np.float32)
    search = Euclidean(X)
    rough, slack, squares = search._screen(X)
    half = cdist(X.astype(float), X.astype(float), "sqeuclidean") / 2
    off = np.abs(rough[:, :9] + squares[:, None] / 2 - half)
    assert (off <= slack[:, None]).all() and np.isinf(rough[:, 9:]).all()


def test_manhattan_finds_what_euclid_puts_last() -> None:
    """One difference of 255 is nearer by Manhattan than 300 of 1, and the farthest that Euclid's bound lets through."""
    X = np.zeros((3, 300), np.uint8)
    X[0], X[1, :2], X[2, 5] = 1, 200, 255
    distance, index = search_by("manhattan", X).nearest(np.zeros((1, 300), np.uint8), 2)
    assert (index.tolist(), distance.tolist()) == ([[2, 0]], [[255, 300]])
    assert search_by("manhattan", X).nearest(np.zeros((1, 300), np.uint8), 1)[1] == [[2]]


def test_angles_are_compared_as_fractions() -> None:
    """Multiples of a vector are at one angle however long; the order is that of the squared cosine as a fraction."""
    X = np.array([[2, 4, 6], [1, 2, 3], [0, 0, 0], [5, 1, 0], [80, 160, 240], [10, 2, 0], [3, 3, 4]], np.uint8)
    asked = np.array([[2, 2, 3], [3, 6, 9]], np.uint8)
    distance, index = search_by("cosine", X).nearest(asked, 7)

    def cosine(row: int, query: np.ndarray) -> Fraction:
        x, q = X[row].tolist(), query.tolist()
        product = sum(a * b for a, b in zip(x, q, strict=True))
        return Fraction(product**2, (sum(a * a for a in x) * sum(b * b for b in q)) or 1)

    assert index.tolist() == [sorted(range(7), key=lambda row: (-cosine(row, q), row)) for q in asked]
    assert index[1].tolist() == [0, 1, 4, 6, 3, 5, 2]
    assert distance[1, :3].tolist() == [0, 0, 0] and distance[1, -1] == 1 and distance[1, 4] == distance[1, 5]


def test_manhattan_measures_in_full_what_candidates_do_not_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 rows nearer to each other than single precision tells: more than the candidates that are kept."""
    draw = np.random.default_rng(0)
    X = (1_000 + draw.normal(size=(60, 30)) * 1e-3).astype(np.float32)
    asked = np.zeros((3, 30), np.float32)
    full: list[int] = []
    plainly = Manhattan._in_full
    monkeypatch.setattr(Manhattan, "_in_full", lambda self, query, k: (full.append(k), plainly(self, query, k))[1])
    distance, index = search_by("manhattan", X).nearest(asked, 3)
    expected, rows = _plainly(X, asked, "manhattan", 3)
    np.testing.assert_array_equal(index, rows)
    np.testing.assert_allclose(distance, expected, rtol=1e-15)
    assert full == [3, 3, 3]


def test_euclid_far_from_the_origin_is_measured_again() -> None:
    """One far row lengthens the bound for all; differences of a unit in the last place still decide."""
    draw = np.random.default_rng(0)
    X = (500 + draw.normal(size=(5_000, 12)) * 1e-2).astype(np.float32)
    X[77] = 1e5
    distance, index = search_by("euclidean", X).nearest(X[:20], 5)
    expected, rows = _plainly(X, X[:20], "euclidean", 5)
    np.testing.assert_array_equal(index, rows)
    np.testing.assert_allclose(distance, expected, rtol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_shares_are_scikit_learns(metric: str, weights: str) -> None:
    X, y, asked = _blobs()
    ours = _learnt(X, y, 7, metric, weights)
    theirs = KNeighborsClassifier(7, metric=metric, weights=weights, algorithm="brute").fit(X.astype(float), y)
    np.testing.assert_allclose(ours._predict_vectors(asked), theirs.predict_proba(asked.astype(float)), atol=1e-4)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 4, 9])
def test_answers_are_scikit_learns_where_its_own_are_certain(metric: str, k: int) -> None:
    """Many equal distances. Which of the rows that tie for the last place vote is chance in scikit-learn: its answers change
    with the number of threads, and for cosine with what else is asked. Elsewhere its answer must be ours, equal votes too.
    """
    X, y, asked = _integers(60 if metric == "chebyshev" else 4, 6, rows=600)
    ours = _learnt(X, y, k, metric)._predict_vectors(asked).argmax(axis=1)
    theirs = KNeighborsClassifier(k, metric=metric, algorithm="brute").fit(X, y).predict(asked)
    distance, index = _plainly(X, asked, metric, len(X))
    last = distance[:, k - 1 : k]
    inside, tied = distance < last - 1e-9, np.abs(distance - last) <= 1e-9
    certain = np.array([len(set(y[i[t]])) == 1 or (s | t).sum() == k for i, s, t in zip(index, inside, tied, strict=True)])
    assert certain.sum() >= 20 and (tied.sum(axis=1) > 1).sum() >= 20
    np.testing.assert_array_equal(ours[certain], theirs[certain])
    votes = np.array([np.bincount(y[i[:k]], minlength=4) for i in index])  # everywhere: the earlier rows, the first class
    np.testing.assert_array_equal(ours, votes.argmax(axis=1))
    if k > 1:
        assert ((votes == votes.max(axis=1, keepdims=True)).sum(axis=1) > 1).sum() >= 20


def test_votes_by_hand() -> None:
    X, y = np.array([[0.0], [1], [3], [4], [9]], np.float32), np.array([2, 0, 1, 1, 3])
    asked = np.array([[2.0], [0.0]], np.float32)
    np.testing.assert_allclose(_learnt(X, y, 3)._predict_vectors(asked), [[1 / 3, 1 / 3, 1 / 3, 0], [1 / 3, 1 / 3, 1 / 3, 0]])
    # at 2: rows 1, 2 at distance 1, then rows 0 and 3 at 2, of which 0 is the earlier: 1, 1 and 1/2
    weighted = _learnt(X, y, 3, "manhattan", "distance")._predict_vectors(asked)
    np.testing.assert_allclose(weighted, [[0.4, 0.4, 0.2, 0], [0, 0, 1, 0]])


def test_an_identical_image_outvotes_all_others() -> None:
    X, y, _ = _blobs()
    for metric in METRICS:
        assert (_learnt(X, y, 5, metric, "distance")._predict_vectors(X[:50]).argmax(axis=1) == y[:50]).all()


@pytest.mark.parametrize("whole", [True, False])
def test_a_study_answers_as_each_member_alone(whole: bool) -> None:
    X, y, asked = _integers(20, 10) if whole else _blobs()
    settings = [(k, m, w) for k in (3, 6, 11, 500) for m in METRICS for w in ("uniform", "distance")]
    members = [_neighbors(*setting) for setting in settings]
    trials = {place: proba for place, _, proba in Knn._fit_many(members, FeatureSet(X, y, asked, y[: len(asked)]))}
    assert sorted(trials) == list(range(len(settings)))
    for place, setting in enumerate(settings):
        alone = _learnt(X, y, *setting)
        for found, part in zip(trials[place], (X, asked), strict=True):
            np.testing.assert_array_equal(found, alone._predict_vectors(part))
        assert members[place].notes == alone.notes


def test_a_study_searches_once_a_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, asked = _integers(20, 10)
    searches: list[int] = []
    nearest = _knn_search.Search.nearest
    monkeypatch.setattr(_knn_search.Search, "nearest", lambda self, q, k: (searches.append(k), nearest(self, q, k))[1])
    members = [_neighbors(k, m) for k in (3, 11, 5) for m in METRICS[:3]]
    list(Knn._fit_many(members, FeatureSet(X, y, asked[:0], y[:0])))
    assert searches == [11] * 6  # training and validation part, three distances


def test_more_neighbors_than_training_images_are_clipped_and_said() -> None:
    X, y, asked = _blobs()
    ours = _learnt(X[:6], y[:6], 9)
    assert ours.notes == ["used 6 neighbors instead of 9: there are no more training images"]
    np.testing.assert_allclose(ours._predict_vectors(asked), np.tile(np.bincount(y[:6], minlength=4) / 6, (len(asked), 1)))


@pytest.mark.parametrize("whole", [True, False])
def test_what_is_saved_answers_the_same(whole: bool, tmp_path: Path) -> None:
    X, y, asked = _integers(20, 10) if whole else _blobs()
    ours = _learnt(X, y, 5, "cosine", "distance")
    ours._save_model(tmp_path)
    again = _neighbors(5, "cosine", "distance")
    again._load_model(tmp_path)
    assert again.X.dtype == (np.uint8 if whole else np.float32)
    for part in (asked, asked + np.float32(0.25), asked[:0]):  # others than whole numbers, too; and none
        np.testing.assert_array_equal(again._predict_vectors(part), ours._predict_vectors(part))
    np.testing.assert_allclose(
        ours._predict_vectors(asked + np.float32(0.25)),
        _learnt(X.astype(float), y, 5, "cosine", "distance")._predict_vectors(asked + 0.25),
        atol=1e-9,
    )
