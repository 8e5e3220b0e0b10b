"""Stored feature vectors: computed once, equal to fresh ones, and computed again when anything behind them changes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tellapart as ta
from tellapart.data.cache import DecodedImages, PixelCache
from tellapart.errors import SystemLimitError
from tellapart.features import _store
from tellapart.features._store import VectorStore
from tellapart.features.color_histogram import ColorHistogram
from tellapart.features.lbp import LBP
from tellapart.features.pipeline import FeaturePipeline
from tellapart.recipe.schema import Features, Inputs

FEATURES = Features(descriptors=[{"lbp": {}}, {"color_histogram": {}}])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve images of two classes."""
    rng = np.random.default_rng(0)
    for i in range(12):
        path = tmp_path / "data" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    return tmp_path / "data"


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each call of a descriptor has described."""
    counts: list[int] = []
    for kind in (LBP, ColorHistogram):
        monkeypatch.setattr(kind, "__call__", _counting(kind.__call__, counts))
    return counts


def _counting(call: Callable[..., np.ndarray], counts: list[int]) -> Callable[..., np.ndarray]:
    def counted(self: object, images: np.ndarray) -> np.ndarray:
        counts.append(len(images))
        return call(self, images)

    return counted


def _images(folder: Path, rows: np.ndarray | None = None, inputs: Inputs | None = None) -> DecodedImages:
    table = ta.scan(folder)
    table = table if rows is None else table.take(rows)
    return PixelCache(folder.parent / "cache").images(table, inputs or Inputs(size=16, mode="rgb"))


def _fitted(images: DecodedImages, features: Features = FEATURES) -> tuple[FeaturePipeline, np.ndarray]:
    pipeline = FeaturePipeline(features, 0)
    return pipeline, pipeline.fit_transform(images, np.arange(len(images)) % 2)


def test_vectors_are_computed_once_for_all_recipes_and_folds(folder: Path, described: list[int]) -> None:
    images = _images(folder)
    _, fresh = _fitted(DecodedImages(images.pixels, images.positions))
    described.clear()
    _, first = _fitted(_images(folder, np.arange(8)))
    assert described == [8, 8]
    pipeline, second = _fitted(_images(folder))
    assert described == [8, 8, 4, 4]
    pipeline.transform(_images(folder, np.array([11, 2, 3])))
    assert described == [8, 8, 4, 4]
    np.testing.assert_array_equal(second, fresh)
    assert first.shape == (8, fresh.shape[1])


def test_one_pixel_one_option_and_one_weight_are_noticed(folder: Path, described: list[int]) -> None:
    _fitted(_images(folder))
    described.clear()
    path = next(folder.rglob("0.png"))
    pixels = np.asarray(Image.open(path)).copy()
    pixels[3, 3, 1] ^= 1
    Image.fromarray(pixels).save(path)
    _, found = _fitted(_images(folder))
    assert described == [1, 1]
    images = _images(folder)
    np.testing.assert_array_equal(found, _fitted(DecodedImages(images.pixels, images.positions))[1])
    described.clear()
    _fitted(images, Features(descriptors=[{"lbp": {"radius": 2.0}}, {"color_histogram": {}}]))
    assert described == [12]
    described.clear()
    _fitted(_images(folder, inputs=Inputs(size=12, mode="rgb")))
    assert described == [12, 12]
    lbp = LBP(LBP.Options())
    digests = set()
    for weight in (0.0, 1.0):
        lbp.arrays = {"weights": np.array([weight, 2.0], np.float32)}
        digests.add(VectorStore(folder, "way", "lbp", lbp).path)
    assert len(digests) == 2


def test_a_change_of_the_code_is_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = VectorStore(folder, "way", "lbp", LBP(LBP.Options())).path
    monkeypatch.setattr(_store, "_code", lambda kind: b"other")
    assert VectorStore(folder, "way", "lbp", LBP(LBP.Options())).path != before


def test_two_processes_fill_one_store(tmp_path: Path) -> None:
    """Both opened it when it was empty; the second to write keeps what the first wrote, and adds nothing twice."""
    one, two = (VectorStore(tmp_path, "way", "lbp", LBP(LBP.Options())) for _ in range(2))
    keys = np.arange(1, 7, dtype=np.uint64)
    vectors = np.arange(18, dtype=np.float32).reshape(6, 3)
    one.get(keys[:4], lambda rows: vectors[:4][rows])
    two.get(keys[2:], lambda rows: vectors[2:][rows])
    one.flush()
    two.flush()
    third = VectorStore(tmp_path, "way", "lbp", LBP(LBP.Options()))
    np.testing.assert_array_equal(third.get(keys[::-1], _never), vectors[::-1])
    assert third.path.stat().st_size == 64 + 6 * 3 * 4


def test_processes_that_write_at_once_keep_every_vector(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=_fill, args=(tmp_path, first)) for first in (0, 100)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    found = VectorStore(tmp_path, "way", "lbp", LBP(LBP.Options()))
    keys = np.arange(300, dtype=np.uint64)
    np.testing.assert_array_equal(found.get(keys, _never), _vectors_of(keys))
    assert found.path.stat().st_size == 64 + 300 * 5 * 4


def _fill(folder: Path, first: int) -> None:
    """200 vectors, written ten at a time."""
    store = VectorStore(folder, "way", "lbp", LBP(LBP.Options()))
    for start in range(first, first + 200, 10):
        keys = np.arange(start, start + 10, dtype=np.uint64)
        store.get(keys, lambda rows, keys=keys: _vectors_of(keys[rows]))
        store.flush()


def _vectors_of(keys: np.ndarray) -> np.ndarray:
    return keys[:, None].astype(np.float32) + np.arange(5, dtype=np.float32) / 8


def test_large_vectors_are_written_while_others_are_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_store, "_PENDING", 100)
    store, keys = VectorStore(tmp_path, "way", "lbp", LBP(LBP.Options())), np.arange(100, dtype=np.uint64)
    for start in range(0, 100, 10):
        some = keys[start : start + 10]
        np.testing.assert_array_equal(store.get(some, lambda rows, some=some: _vectors_of(some[rows])), _vectors_of(some))
    store.flush()
    np.testing.assert_array_equal(store.get(keys, _never), _vectors_of(keys))


def _never(rows: np.ndarray) -> np.ndarray:
    raise ValueError(f"{len(rows)} vectors are computed again")


@pytest.mark.parametrize(
    "harm", ["vectors cut", "keys cut", "keys gone", "vectors gone", "vectors empty", "garbage", "other generation"]
)
def test_damaged_files_are_not_believed(tmp_path: Path, harm: str) -> None:
    keys = np.arange(1, 7, dtype=np.uint64)
    vectors = np.random.default_rng(0).random((6, 3), dtype=np.float32)
    store = VectorStore(tmp_path, "way", "lbp", LBP(LBP.Options()))
    store.get(keys, lambda rows: vectors[rows])
    store.flush()
    path = store.path if harm.startswith(("vectors", "garbage")) else store.path.with_suffix(".keys")
    content = path.read_bytes()
    if harm.endswith("gone"):
        path.unlink()
    else:
        changed = {"vectors cut": content[:-5], "keys cut": content[:-5], "vectors empty": b"", "garbage": bytes(200)}
        path.write_bytes(changed.get(harm, content[:25] + b"?" + content[26:]))
    for _ in range(2):  # what was lost is computed again, and kept
        again = VectorStore(tmp_path, "way", "lbp", LBP(LBP.Options()))
        np.testing.assert_array_equal(again.get(keys, lambda rows: vectors[rows]), vectors)
        again.flush()
    np.testing.assert_array_equal(VectorStore(tmp_path, "way", "lbp", LBP(LBP.Options())).get(keys, _never), vectors)


def test_a_full_disk_ends_the_storing_and_not_the_work(
    folder: Path, described: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = _images(folder)

    def refuse(*_: object, **__: object) -> None:
        raise SystemLimitError("the disk is full")

    monkeypatch.setattr(_store, "make_room", refuse)
    pipeline, found = _fitted(images)
    pipeline.transform(images)
    assert pipeline.notes.count("feature vectors are not kept: the disk is full") == 1
    np.testing.assert_array_equal(found, _fitted(DecodedImages(images.pixels, images.positions))[1])


def test_pixels_are_not_stored(folder: Path) -> None:
    _fitted(_images(folder), Features(descriptors=[{"pixels": {}}]))
    assert not list((folder.parent / "cache").glob("*.vectors"))
