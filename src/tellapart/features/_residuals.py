"""Noise residuals: the difference between a pixel and its prediction from its neighbors.

Fridrich & Kodovsky 2012, "Rich Models for Steganalysis of Digital Images": linear predictors of increasing order; a residual is
divided by the weight of the predicted pixel. `wide` is the 5×5 predictor of Ker & Böhme 2008.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from tellapart.errors import RecipeError

Kernel = Literal["first", "second", "third", "square", "wide"]

_ORDERS = {"first": 1, "second": 2, "third": 3}
#: Integer weights, and the weight of the predicted pixel. The first three are applied along rows and, transposed, along
#: columns.
KERNELS: dict[str, tuple[np.ndarray, int]] = {
    "first": (np.array([[-1, 1]]), 1),
    "second": (np.array([[1, -2, 1]]), 2),
    "third": (np.array([[1, -3, 3, -1]]), 3),
    "square": (np.array([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]]), 4),
    "wide": (
        np.array([[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2], [2, -6, 8, -6, 2], [-1, 2, -2, 2, -1]]),
        12,
    ),
}


def residuals(x: np.ndarray, kernel: str) -> list[np.ndarray]:
    """Residuals along rows and along columns, or one residual for a symmetric kernel.

    The kernels are repeated differences, which take a few additions per pixel. `square` is the second difference along both
    directions; `wide` is `square`, correlated with [[1, 0, 1], [0, 2, 0], [1, 0, 1]].

    Args:
        x: (B, C, H, W) int16, pixels in 0 … 255.
        kernel: A name in `KERNELS`.

    Returns:
        One or two arrays (B, C, h, w) int16, in gray levels times `KERNELS[kernel][1]`; h and w are smaller than H and W by the
        reach of the kernel. The largest value, of `wide`, is 48 · 255.

    Raises:
        RecipeError: The images are smaller than the kernel.
    """
    reach = max(KERNELS[kernel][0].shape)
    if min(x.shape[2:]) < reach:
        raise RecipeError(
            f"features: the residual {kernel!r} needs images of at least {reach} pixels a side, "
            f"found {x.shape[2]}×{x.shape[3]}",
            hint="remove this kernel, or set a larger inputs.size",
        )
    if kernel in _ORDERS:
        return [_differences(x, _ORDERS[kernel], axis) for axis in (3, 2)]
    square = _differences(_differences(-x, 2, 3), 2, 2)
    if kernel == "square":
        return [square]
    center = square[:, :, 1:-1, 1:-1]
    wide = center + center
    for rows in (slice(None, -2), slice(2, None)):
        for columns in (slice(None, -2), slice(2, None)):
            wide += square[:, :, rows, columns]
    return [wide]


def quantized(residual: np.ndarray, scale: int, quantum: float, most: int) -> np.ndarray:
    """Quantize to multiples of `quantum` gray levels, truncated at ± `most`.

    Args:
        residual: int16 of any shape, in gray levels times `scale`.
        scale: The weight of the predicted pixel.
        quantum: Width of a level, in gray levels.
        most: The largest level, at most 127.

    Returns:
        The same shape, 0 … 2 · most, uint8.
    """
    from tellapart.features._compiled import quantize  # here, since Numba takes 0.5 s and 60 MB to import

    levels = np.empty(residual.shape, np.uint8)
    width = scale * quantum
    power = 2.0 ** np.floor(np.log2(width))  # multiplying by it is exact, and several times as fast as a division
    quantize(residual, np.float32(1 / power), np.float32(width / power), most, levels)
    return levels


def symmetric(levels: int, order: int, *, signs: bool) -> np.ndarray:
    """Bin of every tuple of values, where equivalent tuples share a bin; a tuple is coded as a number in base `levels`.

    A tuple is equivalent to its reverse and, with `signs`, to its negative (value v means v − (levels − 1) / 2).

    Args:
        levels: Number of values.
        order: Length of a tuple.
        signs: Whether a tuple is equivalent to its negative.

    Returns:
        (levels^order,) int64 in 0 … D − 1.
    """
    tuples = np.stack(np.unravel_index(np.arange(levels**order), (levels,) * order))
    same = [tuples, tuples[::-1]]
    same += [levels - 1 - t for t in same] if signs else []
    return merged([np.ravel_multi_index(tuple(t), (levels,) * order) for t in same])


def merged(same: Sequence[np.ndarray]) -> np.ndarray:
    """Bins 0 … D − 1 of K codes; `same`: for each equivalence, the code that every code maps to, (K,) int64."""
    return np.unique(np.min(same, axis=0), return_inverse=True)[1].astype(np.int64)


def _differences(x: np.ndarray, order: int, axis: int) -> np.ndarray:
    """Differences of an order, with the sign of `KERNELS`: the same shape, but shorter by `order` along the axis."""
    found = np.diff(x, order, axis)
    return np.negative(found, out=found) if order == 3 else found
