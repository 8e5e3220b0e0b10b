"""Loops over pixels that numpy would need many passes for, compiled by Numba.

Each function is compiled when it is first called, which takes a second or two, and stored beside this file (or in
Numba's folder of the user). They run in the thread of the caller and release the interpreter lock. Sums of
residuals and counts are of integers, so they are the same on every machine; those of `plane_statistics` are of floats, whose
order depends on the processor.
"""

# Numba infers the types of numbers; those that numpy declares are wider.
# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false, reportOperatorIssue=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

_Function = TypeVar("_Function", bound=Callable[..., Any])
_LANES = 4  # histograms that are counted in turn
_SHORT = 256  # the length from which sums of 32 bits are faster than sums of 64


def _compiled(function: _Function) -> _Function:
    """Compile when first called; without a place for compiled code, again in each process."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder that can be written to
        return numba.njit(nogil=True)(function)


def _summing(function: _Function) -> _Function:
    """Compile a sum of floats, whose order may then depend on the width of the processor's registers."""
    return numba.njit(nogil=True, fastmath={"reassoc"})(function)


@_compiled
def count_cells(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, found: np.ndarray) -> None:
    """Count the values of every cell and channel.

    Args:
        values: (B, C, H, W) integers, each in 0 … bins − 1.
        rows: Where each row of cells begins, and H.
        columns: Where each column of cells begins, and W.
        found: (B, cells, C, bins) int64; gets the counts.
    """
    lanes = np.empty((_LANES, found.shape[3]), np.int64)
    for image in range(values.shape[0]):
        for channel in range(values.shape[1]):
            for row in range(len(rows) - 1):
                for column in range(len(columns) - 1):
                    lanes[:] = 0
                    for y in range(rows[row], rows[row + 1]):
                        _count(values[image, channel, y, columns[column] : columns[column + 1]], lanes)
                    found[image, row * (len(columns) - 1) + column, channel] = lanes.sum(axis=0)


@_compiled
def _count(line: np.ndarray, lanes: np.ndarray) -> None:
    """Count values in `_LANES` histograms in turn, since equal values in a row would have to wait for each other."""
    even = len(line) // _LANES * _LANES
    for i in range(0, even, _LANES):
        for lane in range(_LANES):
            lanes[lane, line[i + lane]] += 1
    for i in range(even, len(line)):
        lanes[0, line[i]] += 1


@_compiled
def count_tuples(levels: np.ndarray, base: int, order: int, step: int, down: bool, found: np.ndarray) -> None:
    """Count tuples of values at equal distances, each coded as a number, the first value most significant.

    Args:
        levels: (B, C, h, w) uint8, each below `base`.
        base: Number of levels.
        order: Length of a tuple.
        step: Distance, in pixels.
        down: Along columns instead of along rows.
        found: (B, C, base^order) int64; the counts are added.
    """
    height, width = levels.shape[2:]
    reach = (order - 1) * step
    lines, length = (height - reach, width) if down else (height, width - reach)
    code, lanes = np.empty(length, np.uint16), np.empty((_LANES, found.shape[2]), np.int64)
    for image in range(levels.shape[0]):
        for channel in range(levels.shape[1]):
            plane = levels[image, channel]
            lanes[:] = 0
            for y in range(lines):
                code[:] = 0
                for i in range(order):
                    line = plane[y + i * step] if down else plane[y, i * step :]
                    for x in range(length):
                        code[x] = code[x] * base + line[x]
                _count(code, lanes)
            found[image, channel] += lanes.sum(axis=0)


@_compiled
def residual_sums(r: np.ndarray, most: int, found: np.ndarray) -> None:
    """Sums over the pixels of each residual.

    Args:
        r: (B, C, h, w) int16.
        most: The largest possible magnitude.
        found: (B, C, 5 + C) float64; gets the sums of |r|, of r², of r⁴, of r times its right neighbor, of r times the one
            below,
            and of r times the same pixel of each channel before its own.
    """
    channels, width = r.shape[1], r.shape[3]
    for image in range(r.shape[0]):
        for c in range(channels):
            plane, sums = r[image, c].reshape(-1), found[image, c]
            sums[0] = _magnitude(plane)
            sums[1] = _product(plane, plane, most)
            sums[2] = _fourth_powers(plane, most)
            across = _product(plane[:-1], plane[1:], most)
            for end in range(width, len(plane), width):
                across -= np.int64(plane[end - 1]) * np.int64(plane[end])
            sums[3] = across
            sums[4] = _product(plane[:-width], plane[width:], most)
            for other in range(c):
                sums[5 + other] = _product(plane, r[image, other].reshape(-1), most)


@_compiled
def _magnitude(a: np.ndarray) -> int:
    total = np.int64(0)
    for i in range(len(a)):
        value = np.int32(a[i])
        total += np.int64(max(value, np.int32(-value)))
    return total


@_compiled
def _product(a: np.ndarray, b: np.ndarray, most: int) -> int:
    """The sum of products of values up to `most`; in pieces whose sums fit into 32 bits, where these are long."""
    length, piece, total = min(len(a), len(b)), (2**31 - 1) // most**2, np.int64(0)
    if piece >= _SHORT:
        for start in range(0, length, piece):
            total += _short_product(a[start : min(start + piece, length)], b[start:])
    else:
        for i in range(length):
            total += np.int64(a[i]) * np.int64(b[i])
    return total


@_compiled
def _short_product(a: np.ndarray, b: np.ndarray) -> int:
    total = np.int32(0)
    for i in range(len(a)):
        total = np.int32(total + np.int32(np.int32(a[i]) * np.int32(b[i])))
    return total


@_compiled
def _fourth_powers(a: np.ndarray, most: int) -> float:
    """The sum of fourth powers of values up to `most`, in pieces whose sums fit into 64 bits."""
    piece, total = (2**63 - 1) // most**4, 0.0
    for start in range(0, len(a), piece):
        total += _short_fourth_powers(a[start : start + piece])
    return total


@_compiled
def _short_fourth_powers(a: np.ndarray) -> int:
    total = np.uint64(0)
    for i in range(len(a)):
        value = np.int32(a[i])
        square = np.uint64(np.uint32(np.int32(value * value)))
        total += square * square
    return total


@_compiled
def quantize(r: np.ndarray, factor: np.float32, divisor: np.float32, most: int, found: np.ndarray) -> None:
    """Round r · factor / divisor to whole numbers and truncate at ± most.

    Args:
        r: (B, C, h, w) int16.
        factor: float32.
        divisor: float32.
        most: At most 127.
        found: (B, C, h, w) uint8; gets levels 0 … 2 · most.
    """
    values, levels, limit = r.reshape(-1), found.reshape(-1), np.float32(most)
    if divisor == 1:
        for i in range(len(values)):
            level = np.rint(np.float32(values[i]) * factor)
            levels[i] = np.uint8(np.int32(min(max(level, -limit), limit) + limit))
    else:
        for i in range(len(values)):
            level = np.rint(np.float32(values[i]) * factor / divisor)
            levels[i] = np.uint8(np.int32(min(max(level, -limit), limit) + limit))


@_compiled
def binary_patterns(
    x: np.ndarray, edge: int, places: np.ndarray, shares: np.ndarray, names: np.ndarray, found: np.ndarray
) -> None:
    """The name of the pattern of each pixel: bit p is set where neighbor p, interpolated between pixels, is at least as bright.

    Args:
        x: (B, C, H, W) float32.
        edge: Width of the border without patterns.
        places: (points, 2) int64, rows down and columns to the right of the pixel at the top left of each neighbor.
        shares: (points, 2) float32 in [0, 1), how far the neighbor lies below and to the right of that pixel.
        names: (2^points,) uint16, the name of each pattern.
        found: (B, C, H − 2 · edge, W − 2 · edge) uint16; gets the names.
    """
    for image in range(x.shape[0]):
        for channel in range(x.shape[1]):
            plane = x[image, channel]
            for y in range(found.shape[2]):
                pattern, center = found[image, channel, y], plane[edge + y, edge:]
                pattern[:] = 0
                for p in range(len(places)):
                    down, right = shares[p]
                    row, column = edge + y + places[p, 0], edge + places[p, 1]
                    above, below = plane[row, column:], plane[row + (1 if down > 0 else 0), column:]
                    bit = np.uint16(1 << p)
                    if down == 0 and right == 0:
                        for i in range(len(pattern)):
                            pattern[i] |= bit if above[i] >= center[i] else np.uint16(0)
                    else:
                        for i in range(len(pattern)):
                            top = above[i] + right * (above[i + 1] - above[i])
                            bottom = below[i] + right * (below[i + 1] - below[i])
                            pattern[i] |= bit if top + down * (bottom - top) >= center[i] else np.uint16(0)
                for i in range(len(pattern)):
                    pattern[i] = names[pattern[i]]


@_compiled
def block_magnitudes(x: np.ndarray, vertical: np.ndarray, basis: np.ndarray, step: int, found: np.ndarray) -> None:
    """Magnitudes of coefficients of a transform of blocks along both directions.

    The pixels at the same place within squares of `step` pixels are stored together: the loops then run over all blocks at
    once.

    Args:
        x: (B, C, H, W) float32.
        vertical: (V, block) float32, the rows of `basis` that are applied along columns.
        basis: (block, block) float32, one frequency per row; all are applied along rows.
        step: Distance between blocks, in pixels.
        found: (B, C, V, block, rows, at least columns + block // step) float32; gets the magnitudes by vertical and by
            horizontal frequency. What follows the last block of a row means nothing.
    """
    block, (height, width) = len(basis), x.shape[2:]
    rows, pitch = found.shape[4:]
    length, overlap = rows * pitch, (block - 1) // step + 1
    apart = np.zeros((step, step, (rows + overlap) * pitch), np.float32)
    down = np.zeros((step, length + overlap), np.float32)
    for image in range(x.shape[0]):
        for channel in range(x.shape[1]):
            for y in range(min(height, (rows + overlap) * step)):
                line, into = x[image, channel, y], apart[y % step]
                for j in range(step):
                    start = y // step * pitch
                    for i in range(min(pitch, (width - j + step - 1) // step)):
                        into[j, start + i] = line[i * step + j]
            for v in range(len(vertical)):
                for j in range(step):
                    down[j] = 0
                    for k in range(block):
                        _add_scaled(apart[k % step, j, k // step * pitch :], vertical[v, k], down[j, :length])
                for u in range(block):
                    into = found[image, channel, v, u].reshape(length)
                    into[:] = 0
                    for k in range(block):
                        _add_scaled(down[k % step, k // step :], basis[u, k], into)
                    for i in range(length):
                        into[i] = abs(into[i])


@_compiled
def _add_scaled(line: np.ndarray, weight: float, into: np.ndarray) -> None:
    for i in range(len(into)):
        into[i] += line[i] * weight


@_compiled
def plane_statistics(x: np.ndarray, columns: int, found: np.ndarray) -> None:
    """Mean and standard deviation of each plane.

    Args:
        x: (N, rows, width) float32.
        columns: How many columns of a plane count.
        found: (2, N) float32; gets means and standard deviations.
    """
    rows = x.shape[1]
    for n in range(x.shape[0]):
        total = 0.0
        for y in range(rows):
            total += _sum(x[n, y, :columns])
        mean = np.float32(total / (rows * columns))
        total = 0.0
        for y in range(rows):
            total += _squares(x[n, y, :columns], mean)
        found[0, n], found[1, n] = mean, np.sqrt(total / (rows * columns))


@_summing
def _sum(line: np.ndarray) -> float:
    total = np.float32(0)
    for i in range(len(line)):
        total += line[i]
    return total


@_summing
def _squares(line: np.ndarray, mean: float) -> float:
    total = np.float32(0)
    for i in range(len(line)):
        total += (line[i] - mean) * (line[i] - mean)
    return total
