"""Gradient magnitude and orientation of uint8 images, from a lookup table.

Central differences of 8-bit values are integers in −255 … 255, so a table of 511 × 511 pairs holds the magnitude and the bin
exactly as double precision gives them, without a square root or an arc tangent per pixel.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

_REACH = 255
_SIDE = 2 * _REACH + 1


class GradientBins(NamedTuple):
    """Orientation bins of every pair of differences, indexed by (down + 255) · 511 + right + 255; arrays of length 511².

    Attributes:
        first: int64, a bin.
        weight: float32, the magnitude that goes to `first`.
        second: int64, another bin.
        other: float32, the magnitude that goes to `second`; weight + other is the magnitude of the gradient.
    """

    first: np.ndarray
    weight: np.ndarray
    second: np.ndarray
    other: np.ndarray


@cache
def gradient_bins(orientations: int, signed: bool, shared: bool) -> GradientBins:
    """Build the lookup table.

    Args:
        orientations: Number of bins over 180°, or over 360° if `signed`.
        signed: Distinguish light-to-dark from dark-to-light.
        shared: Split the magnitude between the two nearest bin centers; otherwise `other` is 0.
    """
    difference = np.arange(-_REACH, _REACH + 1, dtype=np.float64)
    turn = 360.0 if signed else 180.0
    place = (np.rad2deg(np.arctan2(difference[:, None], difference)) % turn) / (turn / orientations)
    magnitude = np.hypot(difference[:, None], difference)
    if not shared:
        first = np.minimum(place.astype(np.int64), orientations - 1)  # a tiny negative angle, mod the turn, may round up to it
        return GradientBins(
            *(a.ravel() for a in (first, magnitude.astype(np.float32), first, np.zeros(first.shape, np.float32)))
        )
    low = np.floor(place - 0.5)
    part = place - 0.5 - low
    first, second = (((low + i) % orientations).astype(np.int64) for i in (0, 1))
    weights = ((magnitude * share).astype(np.float32) for share in (1 - part, part))
    return GradientBins(first.ravel(), next(weights).ravel(), second.ravel(), next(weights).ravel())


def gradients(images: np.ndarray) -> np.ndarray:
    """Index of every pixel into the table of `gradient_bins`: (B, H, W, C) uint8 → (B, H, W) int64.

    Of several channels, the one with the largest gradient is used (Dalal & Triggs 2005, section 6.1), the first if several are
    equal. In the outermost rows the vertical difference is 0, in the outermost columns the horizontal one, as in scikit-image.
    """
    x = images.astype(np.int32)
    down, right = np.zeros_like(x), np.zeros_like(x)
    if x.shape[1] > 2:
        np.subtract(x[:, 2:], x[:, :-2], out=down[:, 1:-1])
    if x.shape[2] > 2:
        np.subtract(x[:, :, 2:], x[:, :, :-2], out=right[:, :, 1:-1])
    index = (down + _REACH) * _SIDE + right + _REACH
    if x.shape[3] == 1:
        return index[..., 0].astype(np.int64)
    strongest = (down * down + right * right).argmax(axis=3)[..., None]
    return np.take_along_axis(index, strongest, axis=3)[..., 0].astype(np.int64)
