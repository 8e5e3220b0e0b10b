"""Local binary patterns: a histogram of which neighbors on a circle are at least as bright as the pixel.

Ojala, Pietikäinen & Mäenpää 2002, "Multiresolution Gray-Scale and Rotation Invariant Texture Classification with Local Binary
Patterns". Neighbors between pixels are interpolated; pixels whose circle crosses the border are not counted. A pattern is
uniform if it changes between 0 and 1 at most twice around the circle; all other patterns share one bin. For several radii, name
the descriptor several times.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
from pydantic import Field

from tellapart.errors import RecipeError
from tellapart.features._blocks import gray, histograms, map_blocks, to_planes
from tellapart.features._compiled import binary_patterns
from tellapart.features.base import Descriptor
from tellapart.recipe.schema import OptionsModel


class LBP(Descriptor):
    """Local binary patterns: D = cells² · channels · patterns.

    The number of patterns is points · (points − 1) + 3, or points + 2 with `invariant`.
    """

    class Options(OptionsModel):
        """Options of the local binary patterns."""

        points: int = Field(default=8, ge=4, le=16, description="number of neighbors on the circle")
        radius: float = Field(default=1.0, gt=0, description="radius of the circle, in pixels")
        invariant: bool = Field(
            default=False, description="make patterns rotation-invariant: count a uniform pattern by its number of ones"
        )
        of: Literal["gray", "channels"] = Field(
            default="channels", description="compute patterns of the brightness (gray), or of each channel"
        )
        cells: int = Field(default=1, ge=1, description="number of cells along each side; each has its own histogram")

    options: Options

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """images: (B, H, W, C) uint8 → (B, D) float32, the frequencies in a cell, which sum to 1.

        Raises:
            RecipeError: The images are smaller than the circle.
        """
        return map_blocks(images, self._describe)

    def _describe(self, images: np.ndarray) -> np.ndarray:
        o = self.options
        x = gray(images) if o.of == "gray" else to_planes(images).astype(np.float32)
        names = _bins(o.points, o.invariant)
        return histograms(patterns(x, o.points, o.radius, names), int(names.max()) + 1, o.cells)


def patterns(x_BCHW: np.ndarray, points: int, radius: float, names: np.ndarray) -> np.ndarray:
    """The pattern of each inner pixel, by name: bit p is set if neighbor p, counted from the right, is at least as bright.

    Args:
        x_BCHW: (B, C, H, W) float32.
        points: Number of neighbors, at most 16.
        radius: Radius in pixels.
        names: (2^points,) uint16, the name of each pattern.

    Returns:
        (B, C, H − 2⌈radius⌉, W − 2⌈radius⌉) uint16.
    """
    edge = int(np.ceil(radius))
    height, width = x_BCHW.shape[2:]
    if min(height, width) <= 2 * edge:
        raise RecipeError(
            f"features: lbp of radius {radius:g} needs images of at least {2 * edge + 1} pixels a side, found {height}×{width}",
            hint="set a smaller radius, or a larger inputs.size",
        )
    angles = 2 * np.pi * np.arange(points) / points
    # rounded, so that cosines that should be 0 are 0
    shifts = np.round(np.stack([-radius * np.sin(angles), radius * np.cos(angles)], axis=1), 5)
    places = np.floor(shifts).astype(np.int64)
    found = np.empty((*x_BCHW.shape[:2], height - 2 * edge, width - 2 * edge), np.uint16)
    binary_patterns(np.ascontiguousarray(x_BCHW), edge, places, (shifts - places).astype(np.float32), names, found)
    return found


@cache
def _bins(points: int, invariant: bool) -> np.ndarray:
    """Bin of every pattern: (2^points,) int64; the last bin holds all patterns that are not uniform."""
    codes = np.arange(1 << points)
    bits = codes[:, None] >> np.arange(points) & 1
    uniform = (bits != np.roll(bits, 1, axis=1)).sum(axis=1) <= 2
    own = bits.sum(axis=1) if invariant else np.cumsum(uniform) - 1
    return np.where(uniform, own, own[uniform].max() + 1).astype(np.uint16)
