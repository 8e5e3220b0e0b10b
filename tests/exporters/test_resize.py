"""The graph's pixels against Pillow's, as `data.decode` makes them: every one equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from tellapart.data.decode import decode_to, target_size
from tellapart.exporters._onnx_builder import IR_VERSION, OPSET, GraphBuilder
from tellapart.exporters._onnx_preprocess import preprocess
from tellapart.recipe.schema import Inputs

ODD = [(1, 1), (1, 9), (7, 1), (2, 3), (513, 77), (64, 64), (63, 65), (100, 100), (31, 200), (200, 31), (480, 640), (1, 700)]
TARGETS = [64, (48, 31), (5, 90), 1]


def session(inputs: Inputs) -> onnxruntime.InferenceSession:
    """Preprocessing alone, as a graph of its own."""
    nodes = GraphBuilder("pre")
    found = preprocess(nodes, "images", inputs)
    taken = helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["batch", "height", "width", 3])
    given = helper.make_tensor_value_info(found, onnx.TensorProto.UINT8, ["batch", "height out", "width out", "channels"])
    graph = helper.make_graph(nodes.nodes, "preprocess", [taken], [given], nodes.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def pictures(seed: int, height: int, width: int, count: int = 2) -> np.ndarray:
    """Noise, and black and white checks, which overshoot."""
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    found[-1] = np.where(rng.random((height, width, 1)) < 0.5, 0, 255)
    return found


def assert_equal(inputs: Inputs, asked: onnxruntime.InferenceSession, images: np.ndarray) -> None:
    expected = np.stack([decode_to(image, inputs) for image in images])
    found = np.asarray(asked.run(None, {"images": images})[0])
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected, err_msg=f"{images.shape} {inputs}")


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad", "center"])
@pytest.mark.parametrize("size", TARGETS, ids=str)
def test_pixels_are_those_of_pillow(resize: Any, size: Any) -> None:
    inputs = Inputs(size=size, mode="rgb", resize=resize)
    asked, rng = session(inputs), np.random.default_rng(1)
    random = [tuple(int(side) for side in rng.integers(1, 300, 2)) for _ in range(12)]
    for seed, (height, width) in enumerate(ODD + random):
        assert_equal(inputs, asked, pictures(seed, height, width))


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad", "center"])
@pytest.mark.parametrize("mode", ["rgb", "gray"])
@pytest.mark.parametrize("keep", [0.01, 0.55, 0.875])
def test_the_border_and_gray(resize: Any, mode: Any, keep: float) -> None:
    inputs = Inputs(size=(30, 41), mode=mode, resize=resize, keep=keep)
    asked = session(inputs)
    for seed, (height, width) in enumerate([*ODD, (30, 41), (55, 75)]):
        assert_equal(inputs, asked, pictures(seed, height, width))


def test_every_gray_of_every_color() -> None:
    """Luma is a rounded sum of three: all levels of each against corners of the others."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, 512, 512, 3), dtype=np.uint8)
    inputs = Inputs(size=512, mode="gray")
    assert_equal(inputs, session(inputs), image)


def test_a_picture_of_another_size_is_refused() -> None:
    """`resize: none` with `keep`: sides whose kept part is the net's size pass, others do not."""
    inputs = Inputs(size=(8, 6), mode="rgb", resize="none", keep=0.5)
    asked = session(inputs)
    for height, width in ((16, 12), (17, 12)):
        assert_equal(inputs, asked, pictures(0, height, width))
    for height, width in ((19, 12), (12, 16), (8, 6), (1, 1)):
        with pytest.raises(Exception, match="resize: none, so the kept part of an image must be 8 x 6"):
            asked.run(None, {"images": pictures(0, height, width)})


def test_what_the_targets_are() -> None:
    assert [target_size(Inputs(size=size)) for size in TARGETS] == [(64, 64), (48, 31), (5, 90), (1, 1)]
