from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.reports.thumbnails import LONGEST, ThumbnailCache, embed, mistakes, samples
from tellapart.types import Predictions


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_small_pictures_keep_every_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (28, 40, 3), dtype=np.uint8)
    picture = embed(pixels)
    assert picture.tiny and np.array_equal(np.asarray(opened(picture.uri)), pixels)


@pytest.mark.parametrize("shape", [(720, 1280, 3), (3000, 20, 3), (65, 65, 3)])
def test_large_pictures_are_bounded_and_keep_their_shape(shape):
    picture = embed(np.zeros(shape, dtype=np.uint8))
    assert max(picture.width, picture.height) == min(LONGEST, max(shape))
    assert opened(picture.uri).size == (picture.width, picture.height)
    assert picture.uri.startswith("data:image/jpeg;base64,") and not picture.tiny


def test_samples_are_bounded_and_of_their_class(world):
    table = world([f"c{i}" for i in range(15)], per_class=20).table
    with ThumbnailCache(table) as album:
        found = samples(album)
    assert [s.name for s in found] == [f"c{i}" for i in range(12)]
    label = dict(zip(table.ids, table.labels, strict=True))
    split = dict(zip(table.ids, table.frame["split"], strict=True))
    for c, sample in enumerate(found):
        assert len(sample.pictures) == 6 and sample.count == 20
        assert {label[p.id] for p in sample.pictures} == {c} and {split[p.id] for p in sample.pictures} == {"train"}


def test_a_broken_file_is_named_with_its_reason(world):
    place = world(["cat", "dog"])
    table = place.table
    (Path(table.root) / table.paths[0]).write_bytes(b"not an image")
    with ThumbnailCache(table) as album:
        picture = album.picture(str(table.ids[0]))
        assert not picture.uri and "not an image" in picture.reason
        assert not album.picture("unheard of").uri
        assert len(album.missing()) == 2


def test_mistakes_are_wrong_and_sorted_and_bounded(world):
    table = world(["a", "b", "c"]).table
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(3), len(table)).astype(np.float32)
    predictions = Predictions(table.ids, proba, table.labels, table.classes)
    with ThumbnailCache(table) as album:
        found = mistakes(predictions, album)
    assert len(found) == 12
    assert all(m.true != m.predicted and m.proba >= m.proba_true for m in found)
    assert [m.proba for m in found] == sorted((m.proba for m in found), reverse=True)
    right = predictions.predicted == predictions.labels
    assert found[0].proba == pytest.approx(proba.max(axis=1)[~right].max())


def test_no_mistakes_no_pictures(world):
    table = world(["a", "b"]).table
    proba = np.eye(2, dtype=np.float32)[table.labels]
    with ThumbnailCache(table) as album:
        assert mistakes(Predictions(table.ids, proba, table.labels, table.classes), album) == []
