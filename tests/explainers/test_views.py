"""Nearest training images and frequencies, beside scikit-learn and scipy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import fft, ndimage
from sklearn.neighbors import NearestNeighbors

import tellapart as ta
from tellapart.errors import DataError, ImageError
from tellapart.explainers._frequency import Spectra
from tellapart.features.base import FitContext
from tellapart.features.embedding import Embedding
from tellapart.inference.embedding import Embedder
from tellapart.workflows.explain import explain_views


def pixels(path: Path | str) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_neighbors_beside_scikit_learn(home, neighbors, settings) -> None:
    image = home / "images" / "red-19.png"
    (found,) = explain_views(neighbors, [image], ["nearest"], settings=settings)
    train = neighbors.table().where(split="train")
    X = np.stack([pixels(Path(train.root) / p) for p in train.paths]).reshape(len(train), -1).astype(float)
    search = NearestNeighbors().fit(X)
    distance, rows = search.kneighbors(pixels(image).reshape(1, -1), 5)
    near = found.nearest
    assert near is not None and near.by == "the run's own descriptors" and near.training == len(train) == 24
    assert [one.id for one in near.found] == [train.ids[row] for row in rows[0]]
    np.testing.assert_allclose([one.distance for one in near.found], distance[0], rtol=1e-4)
    assert {one.class_name for one in near.found} == {"red"}
    among, _ = search.kneighbors(X, 2)
    assert near.usual == pytest.approx(np.median(among[:, 1]), rel=1e-4)
    np.testing.assert_array_equal(near.pictures[0], pixels(Path(train.root) / train.paths[rows[0][0]]))


def test_the_vectors_of_a_network_are_those_of_the_descriptor(home, network, settings) -> None:
    vectors = Embedder(network, settings)
    train = network.table().where(split="train")
    images = vectors.context.cache.images(train, vectors.inputs)
    descriptor = Embedding(Embedding.Options(run=str(network.folder)))
    descriptor.fit(images, train.labels, FitContext())
    assert vectors.by == "the network's features before its head"
    np.testing.assert_array_equal(vectors.embed(train), descriptor(images.get()))
    one = vectors.embed_one((home / "images" / train.paths[3]).read_bytes(), "one")
    np.testing.assert_allclose(one, vectors.embed(train)[3], atol=1e-6)
    found = explain_views(
        ta.calibrate(network.id, how="temperature", settings=settings),
        [home / "images" / "red-19.png"],
        ["nearest"],
        settings=settings,
    )
    assert found[0].nearest is not None and found[0].nearest.by == vectors.by  # what a calibrated run stands on


def test_spectra_beside_scipy(home, neighbors, settings) -> None:
    train = neighbors.table().where(split="train")
    of_class = [pixels(Path(train.root) / p) for p, label in zip(train.paths, train.labels, strict=True) if label == 1]
    gray = [np.asarray(Image.fromarray(p).convert("L")) / 255 for p in of_class]
    power = np.mean([10 * np.log10(np.abs(fft.fftshift(fft.fft2(g, norm="ortho"))) ** 2 + 1e-6) for g in gray], axis=0)
    spectra = Spectra(neighbors, settings)
    usual = spectra.classes["red"]
    assert usual.n == 12 and list(spectra.classes) == ["other", "red"]
    np.testing.assert_allclose(usual.power, power, atol=0.01)
    image = home / "images" / "red-19.png"
    found = spectra.compute(image.read_bytes(), pixels(image), "red")
    assert found.distance["red"] < found.distance["other"] and found.distance["red"] < 2
    soft = ndimage.gaussian_filter(pixels(image).astype(float), (2, 2, 0)).astype(np.uint8)
    assert spectra.compute(soft, soft, "soft").distance["red"] > 3 * found.distance["red"]
    kernel = np.array([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]]) / 4
    grain = np.mean([ndimage.correlate(pixels(image)[..., c].astype(float), kernel)[1:-1, 1:-1] for c in range(3)], axis=0)
    np.testing.assert_allclose(found.residual, grain, atol=1e-3)


def test_a_wave_stands_at_its_frequency(neighbors, settings) -> None:
    x = np.arange(24)
    wave = (
        np.repeat(np.rint(127 + 100 * np.cos(2 * np.pi * 6 * x / 24))[None, :, None], 24, axis=0)
        .repeat(3, axis=2)
        .astype(np.uint8)
    )
    found = Spectra(neighbors, settings).compute(wave, wave, "wave")
    row, column = np.unravel_index(np.where(np.hypot(*np.mgrid[-12:12, -12:12]) < 2, -99, found.power).argmax(), (24, 24))
    assert row == 12 and abs(column - 12) == 6
    highest = np.argsort(found.rings[2:])[-1] + 2
    radius = 6 / 24 / (0.5 * np.sqrt(2))
    assert abs((highest + 0.5) / len(found.rings) - radius) < 1.5 / len(found.rings)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (400, 300)])
def test_any_size_of_picture(size: tuple[int, int], tmp_path, neighbors, settings) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size, 3)).astype(np.uint8)).save(tmp_path / "p.png")
    (found,) = explain_views(neighbors, [tmp_path / "p.png"], settings=settings)
    content = json.loads(json.dumps(found.to_dicts(), allow_nan=False))
    assert [one["view"] for one in content] == ["nearest", "frequency"]
    assert max(found.pixels.shape) <= 256
    assert (content[1]["residual_sd"] is None) == (min(size) < 3)
    assert len(content[1]["decibels"]) == len(content[1]["classes"]["red"]["decibels"])


def test_views_refuse_in_words(home, neighbors, settings, tmp_path) -> None:
    with pytest.raises(DataError, match="did you mean 'nearest'"):
        explain_views(neighbors, [home / "images" / "red-19.png"], ["nearst"], settings=settings)
    (tmp_path / "half.png").write_bytes((home / "images" / "red-19.png").read_bytes()[:90])
    with pytest.raises(ImageError, match=r"half\.png"):
        explain_views(neighbors, [tmp_path / "half.png"], settings=settings)
