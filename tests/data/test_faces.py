"""The largest face: found where it is, looked for once, and no accident when there is none."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from tellapart.data import cache as module
from tellapart.data import faces
from tellapart.data.cache import CorruptImages, PixelCache, resolve_inputs
from tellapart.data.decode import decode_to, find_region
from tellapart.data.faces import find_face
from tellapart.data.memory import from_arrays, from_bytes
from tellapart.data.scan import scan
from tellapart.errors import DataError, ImageError
from tellapart.recipe.schema import FaceRegion, Inputs

#: Where the face of the photograph of Eileen Collins (NASA, public domain; in scikit-image) lies: between brow, chin and ears.
MIDDLE, SIDE = np.array([224, 112]), 100


def shipped(name: str) -> Path:
    spec = importlib.util.find_spec("skimage")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "data" / name


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """(512, 512, 3) uint8."""
    return np.asarray(Image.open(shipped("astronaut.png")).convert("RGB"))


@pytest.fixture(scope="module")
def cat() -> np.ndarray:
    """(300, 451, 3) uint8: a face, but no human one."""
    return np.asarray(Image.open(shipped("chelsea.png")).convert("RGB"))


def encoded(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def is_face(found: np.ndarray, scale: float = 1.0) -> bool:
    middle, side = (found[:2] + found[2:]) / 2 / scale, (found[2:] - found[:2]) / scale
    return bool((np.abs(middle - MIDDLE) < 15).all() and (np.abs(side - SIDE) < 25).all())


def inputs(**rule) -> Inputs:
    return Inputs.model_validate({"size": 32, "mode": "rgb", "region": {"face": rule}})


@pytest.mark.parametrize("side", [200, 512, 1400])
def test_the_face_of_a_photograph(portrait: np.ndarray, side: int) -> None:
    shown = np.asarray(Image.fromarray(portrait).resize((side, side)))
    assert is_face(find_face(shown, FaceRegion()), side / 512)


def test_it_moves_with_the_picture(portrait: np.ndarray) -> None:
    moved = np.zeros((700, 900, 3), np.uint8)
    moved[150:662, 300:812] = portrait
    found = find_face(moved, FaceRegion(smallest=0.05))
    assert is_face(found - [300, 150, 300, 150])


def test_the_largest_of_two(portrait: np.ndarray) -> None:
    both = np.zeros((512, 800, 3), np.uint8)
    both[:256, :256] = np.asarray(Image.fromarray(portrait).resize((256, 256)))
    both[:, 288:] = portrait
    assert is_face(find_face(both, FaceRegion(smallest=0.05)) - [288, 0, 288, 0])
    assert is_face(find_face(np.ascontiguousarray(both[:, :256]), FaceRegion(smallest=0.05)), 0.5)


def test_none_is_an_answer(cat: np.ndarray, portrait: np.ndarray) -> None:
    for pixels in (cat, portrait[::-1], np.zeros((64, 64, 3), np.uint8)):
        assert np.isnan(find_face(np.ascontiguousarray(pixels), FaceRegion())).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (19, 19), (4, 2000)])
def test_pictures_that_hold_no_face_at_all(shape: tuple[int, int]) -> None:
    assert np.isnan(find_face(np.full((*shape, 3), 128, np.uint8), FaceRegion())).all()


@pytest.mark.parametrize(("shape", "smallest"), [((64, 500_000), 0.1), ((2_000, 2_000), 0.001)])
def test_no_more_than_two_million_pixels_are_searched(
    shape: tuple[int, int], smallest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long thin pictures, and tiny faces in large ones."""
    searched: list[int] = []

    def spy(self: Any, pixels: np.ndarray, least: float) -> np.ndarray:
        searched.append(pixels.shape[0] * pixels.shape[1])
        return np.empty((0, 4))

    monkeypatch.setattr(faces._Haar, "__call__", spy)
    assert np.isnan(find_face(np.zeros((*shape, 3), np.uint8), FaceRegion(smallest=smallest))).all()
    assert len(searched) == 1 and 1_900_000 < searched[0] < 2_200_000


def test_a_face_in_a_long_picture(portrait: np.ndarray) -> None:
    """Ten times as wide as high: searched as it always was."""
    panorama = np.zeros((256, 2560, 3), np.uint8)
    panorama[:, 1000:1256] = np.asarray(Image.fromarray(portrait).resize((256, 256)))
    assert is_face(find_face(panorama, FaceRegion()) - [1000, 0, 1000, 0], 0.5)


def test_faces_and_other_things_of_a_public_set() -> None:
    """scikit-image's `lfw_subset`: 100 faces and 100 pictures of other things, 25×25."""
    pictures = (np.load(shipped("lfw_subset.npy")).clip(0, 1) * 255).astype(np.uint8)
    found = []
    for picture in pictures:
        larger = np.pad(np.asarray(Image.fromarray(picture).resize((50, 50), Image.Resampling.BICUBIC)), 25, mode="symmetric")
        found.append(not np.isnan(find_face(np.repeat(larger[..., None], 3, axis=2), FaceRegion())).any())
    assert sum(found[:100]) >= 95 and sum(found[100:]) <= 2


def test_too_small_a_face_does_not_count(portrait: np.ndarray) -> None:
    assert is_face(find_face(portrait, FaceRegion(smallest=0.15)))
    assert np.isnan(find_face(portrait, FaceRegion(smallest=0.3))).all()


# --- in decoding ------------------------------------------------------------------------------------------------------


def test_the_face_with_its_margin_is_what_is_decoded(portrait: np.ndarray) -> None:
    left, top, right, bottom = find_face(portrait, FaceRegion()).round().astype(int)
    more = int(np.ceil(0.5 * (right - left)))
    cut = Image.fromarray(portrait[top - more : bottom + more, left - more : right + more])
    wanted = np.asarray(cut.resize((32, 32), Image.Resampling.BICUBIC))
    for content in (portrait, encoded(portrait)):
        found = decode_to(content, inputs(margin=0.5))
        assert np.abs(found.astype(int) - wanted).mean() < 3  # the cut is whole pixels, outwards
    assert (decode_to(portrait, inputs(margin=0)) != decode_to(portrait, inputs(margin=1))).any()


def test_every_kind_of_file(portrait: np.ndarray) -> None:
    gray = np.asarray(Image.fromarray(portrait).convert("L"))
    deep = gray.astype(np.uint16) * 257
    sideways = Image.Exif()
    sideways[0x0112] = 6  # the file lies on its side; shown upright it is the portrait
    for content in (
        gray,
        encoded(gray),
        encoded(deep),
        encoded(portrait, "JPEG", quality=90),
        encoded(np.ascontiguousarray(np.rot90(portrait)), "PNG", exif=sideways),
    ):
        assert is_face(find_region(content, inputs()))


def test_without_a_face_the_option_decides(cat: np.ndarray) -> None:
    plain = Inputs(size=32, mode="rgb")
    assert (decode_to(cat, inputs(missing="whole")) == decode_to(cat, plain)).all()
    center = Inputs.model_validate(
        {**inputs(missing="whole").model_dump(), "keep": 0.5, "region": {"face": {"missing": "center"}}}
    )
    assert (decode_to(cat, center) == decode_to(cat, Inputs(size=32, mode="rgb", keep=0.5))).all()
    with pytest.raises(ImageError, match="cat.png: no face found"):
        decode_to(cat, inputs(missing="error"), "cat.png")


def test_auto_is_the_size_of_faces(portrait: np.ndarray) -> None:
    table = from_bytes([encoded(portrait)] * 3, [0, 1, 0], ["a", "b"])
    found = resolve_inputs(Inputs.model_validate({"region": {"face": {"margin": 0}}}), table)
    assert isinstance(found.size, tuple) and np.abs(np.array(found.size) - SIDE).max() < 25
    assert found.mode == "rgb"


# --- in the cache -----------------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path, portrait: np.ndarray, cat: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three portraits and three cats, small."""
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    for name, pixels in (("portrait", portrait), ("cat", cat)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(3):
            shown = Image.fromarray(pixels).resize((240 + 8 * number, 240 + 8 * number))
            shown.save(tmp_path / "data" / name / f"{number}.png")
    return tmp_path / "data"


def test_faces_are_looked_for_once(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, looked = scan(photos), []

    def spy(content, asked, path="image"):
        looked.append(path)
        return find_region(content, asked, path)

    monkeypatch.setattr(module, "find_region", spy)
    cache = PixelCache()
    first = cache.images(table, inputs()).get()
    assert len(looked) == 6
    part = np.array([4, 1])
    assert (cache.images(table.take(part), inputs()).get() == first[part]).all()
    cache.images(table, inputs(margin=0.9))
    PixelCache().images(table, Inputs.model_validate({**inputs().model_dump(), "size": 16}))
    assert len(looked) == 6, "another margin, size, part or process must not look again"
    PixelCache().images(table, inputs(smallest=0.2))
    assert len(looked) == 12, "another rule finds other faces"


def test_what_was_found_is_told_in_row_order(photos: Path) -> None:
    table, cache = scan(photos), PixelCache()
    found = cache.found(table, inputs())
    assert found is not None and found.shape == (6, 4) and found.dtype == np.float32
    has_face = ~np.isnan(found).any(axis=1)
    assert has_face.tolist() == [path.startswith("portrait") for path in table.paths]
    backwards = np.arange(6)[::-1]
    np.testing.assert_array_equal(cache.found(table.take(backwards), inputs()), found[backwards])
    assert cache.found(table, Inputs(size=8, mode="rgb")) is None


def test_pixels_differ_by_region(photos: Path) -> None:
    table, cache = scan(photos), PixelCache()
    whole = cache.images(table, Inputs(size=32, mode="rgb")).get()
    faces = cache.images(table, inputs()).get()
    cats = np.array([path.startswith("cat") for path in table.paths])
    assert (whole[cats] == faces[cats]).all() and (whole[~cats] != faces[~cats]).any(axis=(1, 2, 3)).all()


def test_missing_error_names_all_of_them(photos: Path) -> None:
    with pytest.raises(CorruptImages, match="no face found") as caught:
        PixelCache().images(scan(photos), inputs(missing="error"))
    assert [p.where for p in caught.value.problems] == ["cat/0.png", "cat/1.png", "cat/2.png"]


def test_a_corrupt_file_is_named(portrait: np.ndarray) -> None:
    with pytest.raises(CorruptImages, match="#1"):
        PixelCache().images(from_bytes([encoded(portrait), b"no picture"], [0, 1], ["a", "b"]), inputs())


def test_bare_arrays(portrait: np.ndarray) -> None:
    table = from_arrays(np.stack([portrait, portrait[::-1]]), [0, 1], ["a", "b"])
    found = PixelCache().found(table, inputs())
    assert found is not None and is_face(found[0]) and np.isnan(found[1]).all()


# --- YuNet ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def yunet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with the outputs of YuNet, made here, as its weights cannot be had: it takes bright cells of 8×8 pixels for
    the middle of faces of 16×16."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    nodes, constants, outputs = [], [], []

    def constant(name: str, values: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(values, name))
        return name

    def output(name: str, stride: int, weights: np.ndarray, bias: np.ndarray) -> None:
        last = len(bias)
        w, b = constant(f"{name}_w", weights.astype(np.float32)), constant(f"{name}_b", bias.astype(np.float32))
        shape = constant(f"{name}_s", np.array([1, -1, last], np.int64))
        nodes.append(helper.make_node("Conv", [f"pooled_{stride}", w, b], [f"{name}_c"]))
        nodes.append(helper.make_node("Transpose", [f"{name}_c"], [f"{name}_t"], perm=[0, 2, 3, 1]))
        nodes.append(helper.make_node("Reshape", [f"{name}_t", shape], [name]))
        outputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, None, last]))

    for stride in (8, 16, 32):
        pooled = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
        nodes.append(helper.make_node("AveragePool", ["input"], [f"pooled_{stride}"], **pooled))
    for kind, last in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
        for stride in (8, 16, 32):
            weights, bias = np.zeros((last, 3, 1, 1)), np.zeros(last)
            if kind in ("cls", "obj") and stride == 8:
                weights[:] = 1 / 765  # the mean of three channels, as a share of white
            if kind == "bbox":
                bias = np.array([0.5, 0.5, np.log(2), np.log(2)])
            output(f"{kind}_{stride}", stride, weights, bias)
    shape = helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1, 3, 320, 320])
    graph = helper.make_graph(nodes, "as yunet", [shape], outputs, constants)
    path = tmp_path_factory.mktemp("nets") / "yunet.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8), path)
    return path


def test_yunet_from_a_local_file(yunet: Path) -> None:
    dark = np.zeros((200, 264, 3), np.uint8)
    rule = FaceRegion(detector="yunet", model=str(yunet), smallest=0.05)
    assert np.isnan(find_face(dark, rule)).all()
    dark[80:88, 64:72] = 255
    np.testing.assert_allclose(find_face(dark, rule), [60, 76, 76, 92], atol=0.01)
    dark[160:168, 200:208] = 255  # a second one of the same size: the upper one counts
    np.testing.assert_allclose(find_face(dark, rule), [60, 76, 76, 92], atol=0.01)
    assert np.isnan(find_face(np.zeros((1, 1, 3), np.uint8), rule)).all()


def test_a_missing_file_says_that_nothing_is_downloaded(tmp_path: Path, portrait: np.ndarray) -> None:
    rule = {"detector": "yunet", "model": str(tmp_path / "no.onnx")}
    with pytest.raises(DataError, match="no such file") as caught:
        PixelCache().images(from_arrays(portrait[None], [0], ["a"]), inputs(**rule))
    assert "nothing is downloaded" in (caught.value.hint or "")


@pytest.mark.filterwarnings("ignore")
def test_a_file_that_is_no_detector_is_named(tmp_path: Path, portrait: np.ndarray) -> None:
    (tmp_path / "odd.onnx").write_bytes(b"no network at all")
    level = cv2.utils.logging.setLogLevel(0)  # OpenCV writes to the terminal what it then raises
    try:
        with pytest.raises(DataError, match="odd.onnx cannot be read as YuNet"):
            find_face(portrait, FaceRegion(detector="yunet", model=str(tmp_path / "odd.onnx")))
    finally:
        cv2.utils.logging.setLogLevel(level)
