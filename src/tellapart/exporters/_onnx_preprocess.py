"""Preprocessing of images of any size as ONNX nodes: the steps of `data.decode` after decoding, in their order.

`keep`, then the rule of `resize`, then gray. An image of the net's size is not resampled, as in `data.decode`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tellapart.data.decode import target_size
from tellapart.exporters._onnx_builder import GraphBuilder
from tellapart.exporters._onnx_resize import Axis, resized
from tellapart.recipe.schema import Inputs

_LUMA = (19595.0, 38470.0, 7471.0)  # in units of 2⁻¹⁶: ITU-R 601-2, rounded as in Pillow


def preprocess(nodes: GraphBuilder, images: str, inputs: Inputs) -> str:
    """Preprocess images: (B, H, W, 3) uint8 RGB → (B, height, width, C) uint8, as in the cache.

    Args:
        nodes: Graph to extend in place.
        images: Name of the images.
        inputs: Resolved `inputs` section.
    """
    height, width = target_size(inputs)
    pixels = nodes.add("Transpose", images, perm=[0, 3, 1, 2])
    pixels = _middle(nodes, pixels, inputs.keep) if inputs.keep < 1 else pixels
    if inputs.resize == "none":
        pixels = _refuse_others(nodes, pixels, height, width)
    else:
        pixels = _sized(nodes, pixels, inputs.resize, height, width)
    if inputs.mode == "gray":
        pixels = _gray(nodes, pixels)
    return nodes.add("Transpose", pixels, perm=[0, 2, 3, 1])


def any_size(inputs: Inputs) -> bool:
    """Whether images of several sizes are accepted, so that the sides of the graph's input are dynamic."""
    return inputs.resize != "none" or inputs.keep < 1


def _side(nodes: GraphBuilder, pixels: str, axis: int) -> str:
    """Length of an axis: scalar int64."""
    return nodes.add("Squeeze", nodes.add("Shape", pixels, start=axis, end=axis + 1))


def _middle(nodes: GraphBuilder, pixels: str, share: float) -> str:
    """Crop to the center: the fraction `share` of each side, at least one pixel."""
    whole = nodes.add("Shape", pixels, start=2, end=4)
    kept = nodes.add("Round", nodes.add("Mul", nodes.cast(whole, np.float64), nodes.constant(share)))
    kept = nodes.cast(nodes.add("Max", kept, nodes.constant(1)), np.int64)
    start = nodes.add("Div", nodes.add("Sub", whole, kept), nodes.constant(2, np.int64))
    return nodes.add("Slice", pixels, start, nodes.add("Add", start, kept), nodes.constant([2, 3], np.int64))


def _same_size(nodes: GraphBuilder, pixels: str, height: int, width: int) -> str:
    """Whether images have the net's size: scalar bool."""
    found = nodes.add("Equal", nodes.add("Shape", pixels, start=2, end=4), nodes.constant([height, width], np.int64))
    return nodes.cast(nodes.add("ReduceMin", nodes.cast(found, np.int32), keepdims=0), np.bool_)


def _refuse_others(nodes: GraphBuilder, pixels: str, height: int, width: int) -> str:
    """Return images of the net's size; for other sizes, a gather fails whose name states the reason."""
    wrong = nodes.cast(nodes.add("Not", _same_size(nodes, pixels, height, width)), np.int64)
    zero = nodes.add("Gather", nodes.constant([0], np.int64), wrong)
    nodes.nodes[-1].name = f"resize: none, so the kept part of an image must be {height} x {width}"
    start = nodes.add("Add", nodes.constant([0, 0], np.int64), zero)
    return nodes.add("Slice", pixels, start, nodes.constant([height, width], np.int64), nodes.constant([2, 3], np.int64))


def _sized(nodes: GraphBuilder, pixels: str, how: str, height: int, width: int) -> str:
    """Resize by a rule of `Inputs.resize` other than none; images of the right size are not computed again."""
    other, as_is = GraphBuilder(f"{nodes.prefix}/resize"), GraphBuilder(f"{nodes.prefix}/as_is")
    sides = _side(other, pixels, 2), _side(other, pixels, 3)
    if how == "center":
        result = _centered(other, pixels, sides, (height, width))
    else:
        result = resized(other, pixels, *_axes(other, how, sides, (height, width)))
    untouched = as_is.add("Identity", pixels)
    condition = _same_size(nodes, pixels, height, width)
    return nodes.branch(condition, (as_is, untouched), (other, result), np.uint8, ["batch", 3, height, width])


def _axes(nodes: GraphBuilder, how: str, sides: tuple[str, str], targets: tuple[int, int]) -> tuple[Axis, Axis]:
    """Source and target ranges of both axes, (rows, columns), computed as in Pillow's `ImageOps.fit` and `ImageOps.pad`."""
    zero = nodes.constant(0)
    lengths = [nodes.cast(side, np.float64) for side in sides]
    counts: list[Any] = [nodes.constant(target) for target in targets]
    if how == "crop":
        boxes = _fitted_box(nodes, lengths, targets)
        return tuple(  # type: ignore[return-value]
            Axis(side, *box, count, zero, target)
            for side, box, count, target in zip(sides, boxes, counts, targets, strict=True)
        )
    places = [zero, zero]
    if how == "pad":
        counts, places = _contained(nodes, lengths, targets)
    return tuple(Axis(s, zero, *of) for s, *of in zip(sides, lengths, counts, places, targets, strict=True))  # type: ignore[return-value]


def _fitted_box(nodes: GraphBuilder, lengths: list[str], targets: tuple[int, int]) -> list[tuple[str, str]]:
    """(start, length) of rows and columns of the largest centered box with the target's shape; in float32, as in Pillow."""
    add, (high, wide), ratio = nodes.add, lengths, nodes.constant(targets[1] / targets[0])
    found = add("Div", wide, high)
    equal, wider = add("Equal", found, ratio), add("GreaterOrEqual", found, ratio)
    columns = add("Where", add("And", wider, add("Not", equal)), add("Mul", ratio, high), wide)
    rows = add("Where", wider, high, add("Div", wide, ratio))
    boxes = []
    for whole, kept in ((high, rows), (wide, columns)):
        first = add("Mul", add("Sub", whole, kept), nodes.constant(0.5))
        ends = [nodes.cast(end, np.float32) for end in (first, add("Add", first, kept))]
        boxes.append((nodes.cast(ends[0], np.float64), nodes.cast(add("Sub", ends[1], ends[0]), np.float64)))
    return boxes


def _contained(nodes: GraphBuilder, lengths: list[str], targets: tuple[int, int]) -> tuple[list[str], list[str]]:
    """Counts and positions of rows and columns: the longer side fills its target, the other is centered."""
    add, (high, wide), ratio = nodes.add, lengths, nodes.constant(targets[1] / targets[0])
    full = [nodes.constant(target) for target in targets]
    found = add("Div", wide, high)
    rows = add("Round", add("Mul", add("Div", high, wide), full[1]))
    columns = add("Round", add("Mul", add("Div", wide, high), full[0]))
    counts = [
        add("Where", add("Greater", found, ratio), rows, full[0]),
        add("Where", add("Less", found, ratio), columns, full[1]),
    ]
    half = nodes.constant(0.5)
    places = [add("Round", add("Mul", add("Sub", f, c), half)) for f, c in zip(full, counts, strict=True)]
    return counts, places


def _centered(nodes: GraphBuilder, pixels: str, sides: tuple[str, str], targets: tuple[int, int]) -> str:
    """Crop to the center, and pad smaller images by reflection, repeatedly if needed, without resampling."""
    add = nodes.add
    for axis, (side, target) in enumerate(zip(sides, targets, strict=True), 2):
        two, wanted = nodes.constant(2, np.int64), nodes.constant(target, np.int64)
        first = add("Div", add("Sub", side, wanted), two)  # towards zero
        place = add("Add", nodes.constant(np.arange(target), np.int64), first)
        place = add("Mod", place, add("Mul", side, two))
        back = add("Sub", add("Sub", add("Mul", side, two), nodes.constant(1, np.int64)), place)
        pixels = add("Gather", pixels, add("Where", add("Less", place, side), place, back), axis=axis)
    return pixels


def _gray(nodes: GraphBuilder, pixels: str) -> str:
    """(B, 3, H, W) uint8 → (B, 1, H, W) uint8."""
    luma = nodes.constant(np.array(_LUMA).reshape(3, 1, 1) / 65536)
    total = nodes.add("ReduceSum", nodes.add("Mul", nodes.cast(pixels, np.float64), luma), nodes.constant([1], np.int64))
    return nodes.cast(nodes.add("Floor", nodes.add("Add", total, nodes.constant(0.5))), np.uint8)
