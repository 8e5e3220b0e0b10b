"""Pillow's antialiased bicubic resize as ONNX nodes, equal in every pixel.

The antialiased Resize of ONNX differs by up to five levels at odd ratios. Pillow computes in integers, and so does this graph:
for each pixel of the result, the weights of its source pixels are computed from the size of the image, scaled to sum to 1, and
rounded to multiples of 2⁻²². The rows are processed first, then the columns, with rounding and clipping to 0 … 255 after each.
Newer releases of Pillow process the columns of a much taller image first, which is faster and gives other results. Sums of
8-bit pixels times such weights are exact in double precision in any order, so a matrix product gives the same result as Pillow.
It is slower than Pillow, which skips weights of 0.

Notation: on an axis of `side` pixels, the `length` pixels from `start` on (both may be fractions) become `count` pixels at
position `place` of `target` pixels; the other pixels are black.

Sources: Keys 1981, "Cubic convolution interpolation", with a = −0.5; Pillow's documentation, and its results, with which
`tests/exporters/test_resize.py` compares.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tellapart.exporters._onnx_builder import GraphBuilder

_REACH = 2.0  # support of the cubic kernel, in pixels on either side
_UNIT = 2.0**22


@dataclass(frozen=True)
class Axis:
    """Names of scalars: `side` int64, the others float64. See the module."""

    side: str
    start: str
    length: str
    count: str
    place: str
    target: int


def resized(nodes: GraphBuilder, pixels: str, rows: Axis, columns: Axis) -> str:
    """(B, C, H, W) uint8 → (B, C, rows.target, columns.target) uint8."""
    down, along = weights(nodes, rows), nodes.add("Transpose", weights(nodes, columns), perm=[1, 0])
    if not falls_first():
        return _passes(nodes, pixels, down, along, False)
    orders = [GraphBuilder(f"{nodes.prefix}/{name}") for name in ("fall_first", "rows_first")]
    first, second = ((one, _passes(one, pixels, down, along, one is orders[0])) for one in orders)
    shape = ["batch", "channels", rows.target, columns.target]
    return nodes.branch(_much_taller(nodes, rows, columns), first, second, np.uint8, shape)


@functools.cache
def falls_first() -> bool:
    """Whether the installed Pillow resizes the columns of a tall image first, as newer releases do."""
    tall = Image.fromarray(np.tile(np.array([[0, 255, 255, 0, 255]], np.uint8).T, (20, 2)) ^ np.array([[0, 255]], np.uint8))
    across = tall.resize((3, tall.height), Image.Resampling.BICUBIC)
    both = tall.resize((3, 7), Image.Resampling.BICUBIC)
    return across.resize((3, 7), Image.Resampling.BICUBIC).tobytes() != both.tobytes()


def _passes(nodes: GraphBuilder, pixels: str, down: str, along: str, fall_first: bool) -> str:
    """Apply both passes in one order. `down`: weights of the rows (h, H); `along`: weights of the columns (W, w)."""
    found = nodes.cast(pixels, np.float64)
    for fall in (fall_first, not fall_first):
        found = _rounded(nodes, nodes.add("MatMul", down, found) if fall else nodes.add("MatMul", found, along))
    return nodes.cast(found, np.uint8)


def _much_taller(nodes: GraphBuilder, rows: Axis, columns: Axis) -> str:
    """Whether the height decreases by more than twice as many pixels as the width."""
    add, number = nodes.add, nodes.constant
    high, wide = (add("Sub", nodes.cast(axis.side, np.float64), axis.count) for axis in (rows, columns))
    more = add("Greater", high, add("Mul", wide, number(2)))
    return add("And", more, add("Greater", high, number(0)))


def weights(nodes: GraphBuilder, axis: Axis) -> str:
    """Weights in units of 2⁻²²: (target, side) float64, integers."""
    add, number = nodes.add, nodes.constant
    zero, one, half = (number(value) for value in (0, 1, 0.5))
    scale = add("Div", axis.length, axis.count)
    spread = add("Max", scale, one)
    reach = add("Mul", spread, number(_REACH))
    index = add("Sub", number(np.arange(axis.target)[:, None]), axis.place)
    center = add("Add", axis.start, add("Mul", add("Add", index, half), scale))
    side = nodes.cast(axis.side, np.float64)
    first = add("Max", add("Floor", add("Add", add("Sub", center, reach), half)), zero)
    last = add("Min", add("Floor", add("Add", add("Add", center, reach), half)), side)
    pixel = add("Range", zero, side, one)
    away = add("Mul", add("Add", add("Sub", pixel, center), half), add("Div", one, spread))
    used = add("And", add("GreaterOrEqual", pixel, first), add("Less", pixel, last))
    there = add("And", add("GreaterOrEqual", index, zero), add("Less", index, axis.count))
    value = add("Where", add("And", used, there), _cubic(nodes, away), zero)
    whole = add("ReduceSum", value, number([1], np.int64), keepdims=1)
    share = add("Div", value, add("Where", add("Equal", whole, zero), one, whole))
    scaled = add("Mul", share, number(_UNIT))
    away_from_zero = add("Floor", add("Add", add("Abs", scaled), half))
    return add("Mul", add("Sign", scaled), away_from_zero)


def _cubic(nodes: GraphBuilder, away: str) -> str:
    """Cubic kernel as a function of the distance in pixels; 0 beyond two."""
    add, number = nodes.add, nodes.constant
    x = add("Abs", away)
    near = add("Mul", add("Sub", add("Mul", number(1.5), x), number(2.5)), x)
    near = add("Add", add("Mul", near, x), number(1))
    far = add("Add", add("Mul", add("Sub", x, number(5)), x), number(8))
    far = add("Mul", add("Sub", add("Mul", far, x), number(4)), number(-0.5))
    far = add("Where", add("Less", x, number(2)), far, number(0))
    return add("Where", add("Less", x, number(1)), near, far)


def _rounded(nodes: GraphBuilder, sums: str) -> str:
    """Convert sums in units of 2⁻²² to pixels: float64, integers in 0 … 255."""
    level = nodes.add("Floor", nodes.add("Add", nodes.add("Div", sums, nodes.constant(_UNIT)), nodes.constant(0.5)))
    return nodes.add("Min", nodes.add("Max", level, nodes.constant(0)), nodes.constant(255))
