"""Noise residuals: the difference between a pixel and its prediction from its neighbors.

Fridrich & Kodovsky 2012, "Rich Models for Steganalysis of Digital Images": linear predictors of increasing order; a residual is
divided by the weight of the predicted pixel. `wide` is the 5×5 predictor of Ker & Böhme 2008.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from tellapart.errors import RecipeError
from tellapart.features._blocks import to_planes

Kernel = Literal["first", "second", "third", "square", "wide"]

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


def residuals(images: np.ndarray, kernel: str) -> list[np.ndarray]:
    """Residuals along rows and along columns, or one residual for a symmetric kernel.

    Args:
        images: (B, H, W, C) uint8.
        kernel: A name in `KERNELS`.

    Returns:
        One or two arrays (B, C, h, w) float32, in gray levels; h and w are smaller than H and W by the reach of the kernel.

    Raises:
        RecipeError: The images are smaller than the kernel.
    """
    weights, scale = KERNELS[kernel]
    x = to_planes(images).astype(np.int16)  # exact (the largest sum, of `wide`, is 48 · 255) in half the memory of floats
    turned = [weights] if weights.shape[0] == weights.shape[1] else [weights, weights.T]
    return [_filtered(x, w, kernel) / np.float32(scale) for w in turned]


def quantized(residual: np.ndarray, quantum: float, most: int) -> np.ndarray:
    """Quantize to multiples of `quantum`, truncated at ± `most`: the same shape, int64 in 0 … 2 · most."""
    return np.clip(np.rint(residual / np.float32(quantum)), -most, most).astype(np.int64) + most


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


def _filtered(x: np.ndarray, weights: np.ndarray, kernel: str) -> np.ndarray:
    """Correlation with `weights`, without padding: (B, C, h, w) int16."""
    rows, columns = weights.shape
    height, width = x.shape[2] - rows + 1, x.shape[3] - columns + 1
    if min(height, width) < 1:
        raise RecipeError(
            f"features: the residual {kernel!r} needs images of at least {max(weights.shape)} pixels a side, "
            f"found {x.shape[2]}×{x.shape[3]}",
            hint="remove this kernel, or set a larger inputs.size",
        )
    total = np.zeros((*x.shape[:2], height, width), np.int16)
    for (i, j), weight in np.ndenumerate(weights):
        if weight:
            total += np.int16(weight) * x[:, :, i : i + height, j : j + width]
    return total
