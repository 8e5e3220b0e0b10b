"""Histograms of oriented gradients (HOG): the gradient magnitude of each cell, by orientation.

Dalal & Triggs 2005, "Histograms of Oriented Gradients for Human Detection"; cells, blocks and their order as in scikit-image's
`hog(…, block_norm="L2-Hys")`, to which the vectors are equal (to 1e-4) without `shared`. With `shared`, as in the paper, a
pixel is interpolated between the two nearest orientations and the four nearest cells, so the vector changes less when an image
moves by a pixel.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from pydantic import Field

from tellapart.errors import RecipeError
from tellapart.features._blocks import map_blocks
from tellapart.features._gradients import gradient_bins, gradients
from tellapart.features.base import Descriptor
from tellapart.recipe.schema import OptionsModel

_CLIP = 0.2  # Lowe's bound on one value of a normalized block
_EPSILON = 1e-5  # added to the norm, as in scikit-image, for pixels in 0 … 255


class HOG(Descriptor):
    """HOG: D = blocks down · blocks across · block² · orientations; blocks overlap, with a step of one cell."""

    class Options(OptionsModel):
        """Options of the histograms of oriented gradients."""

        cell: int = Field(
            default=8, ge=2, description="side of a cell, in pixels; incomplete cells at the right and bottom are dropped"
        )
        block: int = Field(
            default=2, ge=1, description="side of a block, in cells; the cells of a block are normalized together"
        )
        orientations: int = Field(default=9, ge=2, le=36, description="number of orientation bins")
        signed: bool = Field(
            default=False, description="bins over 360° instead of 180°: distinguish light-to-dark from dark-to-light"
        )
        shared: bool = Field(default=False, description="interpolate between the nearest orientations and the nearest cells")

    options: Options

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """images: (B, H, W, C) uint8 → (B, D) float32 in [0, 1]; of several channels the strongest gradient is used.

        Raises:
            RecipeError: The images are smaller than a block.
        """
        o = self.options
        height, width = images.shape[1:3]
        if min(height, width) < o.cell * o.block:
            raise RecipeError(
                f"features: hog with cell {o.cell} and block {o.block} needs images of at least {o.cell * o.block} pixels a "
                f"side, found {height}×{width}",
                hint="set a smaller cell or block, or a larger inputs.size",
            )
        return map_blocks(images, self._describe)

    def _describe(self, images: np.ndarray) -> np.ndarray:
        o = self.options
        cells = _shared_cells(images, o) if o.shared else _own_cells(images, o)
        return _blocks(cells, o.block)


def _own_cells(images: np.ndarray, o: HOG.Options) -> np.ndarray:
    """Mean gradient magnitude of each cell and orientation: (B, rows, columns, orientations) float32."""
    table = gradient_bins(o.orientations, o.signed, False)
    rows, columns = images.shape[1] // o.cell, images.shape[2] // o.cell
    index = gradients(images)[:, : rows * o.cell, : columns * o.cell]
    cell = np.arange(rows * o.cell)[:, None] // o.cell * columns + np.arange(columns * o.cell) // o.cell
    start = (np.arange(len(images)) * (rows * columns))[:, None, None] + cell
    place = start * o.orientations + table.first[index]
    length = len(images) * rows * columns * o.orientations
    sums = np.bincount(place.ravel(), table.weight[index].ravel(), length)
    return (sums / o.cell**2).astype(np.float32).reshape(len(images), rows, columns, o.orientations)


def _shared_cells(images: np.ndarray, o: HOG.Options) -> np.ndarray:
    """The same with interpolation: the weight of a pixel in a cell falls with its distance from the center, on both axes."""
    table = gradient_bins(o.orientations, o.signed, True)
    index = gradients(images)
    count, height, width = index.shape
    maps = np.zeros((index.size, o.orientations), np.float32)
    pixel, flat = np.arange(index.size), index.ravel()
    maps[pixel, table.first[flat]] = table.weight[flat]
    maps[pixel, table.second[flat]] += table.other[flat]
    down, across = nearness(height, o.cell), nearness(width, o.cell)
    pooled = (down @ maps.reshape(count, height, -1)).reshape(count, len(down), width, o.orientations)
    return across @ pooled


@cache
def nearness(side: int, cell: int) -> np.ndarray:
    """Interpolation weights (cells, side) float32: 1 / cell at the center of a cell, falling to 0 at its neighbors' centers."""
    centers = (np.arange(side // cell) + 0.5) * cell
    distance = np.abs(np.arange(side) + 0.5 - centers[:, None])
    return (np.maximum(0, 1 - distance / cell) / cell).astype(np.float32)


def _blocks(cells: np.ndarray, block: int) -> np.ndarray:
    """Blocks of block × block cells, L2-Hys normalized and flattened: (B, rows, columns, orientations) → (B, D)."""
    windows = np.lib.stride_tricks.sliding_window_view(cells, (block, block), axis=(1, 2))  # (B, r, c, O, block, block)
    x = windows.transpose(0, 1, 2, 4, 5, 3).copy().reshape(*windows.shape[:3], block**2 * cells.shape[3])
    x /= _norm(x)
    np.minimum(x, _CLIP, out=x)
    x /= _norm(x)
    return x.reshape(len(cells), np.prod(x.shape[1:]))


def _norm(x: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("...i,...i->...", x, x) + _EPSILON**2)[..., None]
