"""What stands beneath a run is what is explained; layers by name; pictures of every kind and size."""

from __future__ import annotations

import io
import resource
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tellapart as ta
from tellapart.classifiers.base import Context
from tellapart.errors import ImageError, RunError
from tellapart.explainers._geometry import resize_for_explaining, resize_mask
from tellapart.explainers._model import ExplainedModel
from tellapart.explainers.grad_cam import GradCam
from tellapart.inference.context import load_classifier
from tellapart.recipe.schema import Inputs
from tellapart.runs.store import open_run


@pytest.fixture(scope="module")
def calibrated(network: ta.Run, settings: ta.Settings) -> ta.Run:
    return ta.calibrate(network.id, how="temperature", settings=settings)


def finder(settings: ta.Settings) -> Context:
    return Context(parents=lambda name: open_run(name, settings.runs).folder)


def test_a_calibrated_network_is_explained_by_what_it_stands_on(home, network, calibrated, settings) -> None:
    images = [home / "images" / "red-19.png"]
    ours, beneath = (ta.explain(run, images, class_name="red", settings=settings)[0] for run in (calibrated, network))
    assert ours.heatmap.method == beneath.heatmap.method == "grad_cam"
    np.testing.assert_array_equal(ours.heatmap.values, beneath.heatmap.values)
    assert ours.proba != beneath.proba and ours.heatmap.values.any()
    judged = ta.explain(calibrated, images, score=True, settings=settings)[0]
    assert set(judged.scores) == {"grad_cam", "noise", "untrained"}


def test_an_ensemble_is_asked(home, network, neighbors, settings) -> None:
    both = ta.combine([network.id, neighbors.id], how="mean", settings=settings)
    images = [home / "images" / "red-19.png"]
    mixed, *single = (
        ta.explain(run, images, class_name="red", methods=["occlusion"], settings=settings)[0]
        for run in (both, network, neighbors)
    )
    assert mixed.proba["red"] == pytest.approx(np.mean([one.proba["red"] for one in single]), abs=1e-5)
    assert ta.explain(both, images, settings=settings)[0].heatmap.method == "occlusion"
    with pytest.raises(RunError, match="is not a network"):
        ta.explain(both, images, methods=["grad_cam"], settings=settings)


def test_a_layer_by_its_name(home, network, settings) -> None:
    image = np.asarray(Image.open(home / "images" / "red-19.png"))
    subject = ExplainedModel(load_classifier(network), finder(settings), "net")

    def explain(layer: str | None) -> np.ndarray:
        return GradCam(GradCam.Options(layer=layer))(subject, image, 1).values

    last = explain(None)
    assert subject.layers[""].startswith("body.trunk.1")
    np.testing.assert_array_equal(explain("body.trunk.1"), last)
    assert np.abs(explain("body.trunk.0.0") - last).max() > 0.1  # before the pooling: another map, finer
    np.testing.assert_array_equal(explain(None), last)  # the choice of one does not stick to the other
    with pytest.raises(RunError, match="did you mean .*'body.trunk.1'"):
        explain("body.trunk.11")
    with pytest.raises(RunError, match="is not a map") as caught:
        explain("body.head")
    assert "body.trunk.1" in caught.value.hint


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(np.random.default_rng(0).integers(0, 65535, (30, 20), dtype=np.uint16)),
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 20), dtype=np.uint8)),
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 20, 3), dtype=np.uint8)).quantize(16),
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 20, 4), dtype=np.uint8)),
        Image.new("RGB", (1, 1), (200, 0, 0)),
        Image.new("1", (3, 2)),
    ],
    ids=["16-bit", "gray", "palette", "alpha", "1x1", "bits"],
)
def test_pictures_of_every_kind(picture: Image.Image, tmp_path: Path, network, settings) -> None:
    picture.save(tmp_path / "Bild ü.png")
    methods = ["grad_cam", "occlusion"]
    for one in ta.explain(network, [tmp_path / "Bild ü.png"], methods=methods, score=True, settings=settings):
        assert one.heatmap.values.shape == (picture.height, picture.width) == one.pixels.shape[:2]
        table = ta.from_bytes([(tmp_path / "Bild ü.png").read_bytes()], [None], classes=network.classes)
        proba = ta.predict(network, table, settings=settings).proba[0]
        assert list(one.proba.values()) == pytest.approx(proba.tolist(), abs=1e-6)


def test_a_photograph_is_shrunk_and_says_so(tmp_path: Path, network, settings) -> None:
    rng = np.random.default_rng(0)
    pixels = np.kron(rng.integers(0, 255, (24, 36, 3)), np.ones((100, 100, 1))).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg")
    masks = tmp_path / "masks"
    masks.mkdir()
    Image.fromarray(((np.arange(3600) < 1800) * np.full((2400, 1), 255)).astype(np.uint8)).save(masks / "photo.png")
    (one,) = ta.explain(network, [tmp_path / "photo.jpg"], masks=masks, settings=settings)
    height, width = one.pixels.shape[:2]
    assert one.shrunk_from == (2400, 3600) and height * width <= 2048 * 2048 and width / height == pytest.approx(1.5, abs=0.01)
    assert one.heatmap.values.shape == (height, width) and one.mask_share == pytest.approx(0.5, abs=0.001)
    assert one.to_dict()["shrunk_from"] == [2400, 3600]


def test_own_pixels_are_not_shrunk() -> None:
    pixels = np.zeros((5001, 5000, 3), np.uint8)
    assert resize_for_explaining(pixels[:5000], Inputs(size=32, resize="center"), "p").shape == (5000, 5000, 3)
    for resize in ("center", "none"):
        with pytest.raises(ImageError, match=r"25 megapixels, above the limit of 25(.|\n)*crop it first") as caught:
            resize_for_explaining(pixels, Inputs(size=32, resize=resize), "huge.png")
        assert caught.value.path == "huge.png"
    assert resize_for_explaining(pixels, Inputs(size=32, resize="pad"), "p").shape[0] == 2048
    strip = np.zeros((1, 30_000_000, 3), np.uint8)
    assert resize_for_explaining(strip, Inputs(size=32), "p").shape[0] == 1
    assert resize_mask(np.tri(100, dtype=bool), 10, 10).sum() in (45, 50, 55)


def test_a_picture_of_400_megapixels_is_refused_by_its_header(tmp_path: Path, network, settings) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer, rows = zlib.compressobj(1), io.BytesIO()
    for _ in range(20_000):
        rows.write(packer.compress(bytes(2_501)))
    rows.write(packer.flush())
    head = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows.getvalue()) + chunk(b"IEND", b"")
    (tmp_path / "wall.png").write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError, match="400 megapixels, over the limit"):
        ta.explain(network, [tmp_path / "wall.png"], settings=settings)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_a_part_that_is_read_is_what_is_explained(home, neighbors, settings, tmp_path) -> None:
    """A run that reads a box, or the center where a row has none: loose files have none."""
    classifier: Any = load_classifier(neighbors)
    region = {"box": {"missing": "center"}}
    content = classifier.recipe.inputs.model_dump() | {"region": region, "keep": 0.5}
    inputs = Inputs.model_validate(content)
    classifier.recipe = classifier.recipe.model_copy(update={"inputs": inputs})
    subject = ExplainedModel(classifier, finder(settings))
    assert subject.original.recipe.inputs.region is not None and subject.inputs.region is None and subject.inputs.keep == 1
    from tellapart.workflows.explain import ImageToExplain

    path = home / "images" / "red-19.png"
    asked = ImageToExplain.read(subject, path.read_bytes(), "red-19.png")
    assert asked.crop == (6, 6, 18, 18) and asked.pixels.shape == (12, 12, 3) and asked.full_size == (24, 24)
    np.testing.assert_array_equal(asked.pixels, np.asarray(Image.open(path))[6:18, 6:18])
    np.testing.assert_allclose(subject.predict([asked.pixels])[0], asked.proba, atol=1e-6)  # the part is not cut again
