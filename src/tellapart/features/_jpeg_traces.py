"""What an old JPEG leaves in pixels, in two numbers that no new file takes away. And whether a picture is gray.

JPEG rounds the DCT coefficients of 8×8 blocks, the fine ones mostly to 0. In the pixels that come back, more of them are near 0
on the old grid than on the same grid moved by half a block, and a picture that was never compressed knows no such grid. The
numbers are these differences, of fine and of middling coefficients: content, which is the same on both grids, mostly cancels.

Source:
    Fan & de Queiroz (2003), "Identification of bitmap compression history: JPEG detection and quantizer estimation" (the
    idea of one grid against another).
"""

from __future__ import annotations

import numpy as np
from scipy.fft import dctn

#: How many of the numbers speak of compression; the one after them says whether a picture is gray.
COUNT = 2
_BLOCK, _WIDEST = 8, 512  # pixels; a part of a large picture is enough
_ORDER = np.add.outer(np.arange(_BLOCK), np.arange(_BLOCK))
_BANDS = (_ORDER >= _BLOCK, (_ORDER >= _BLOCK // 2) & (_ORDER < _BLOCK))
_MOVED = ((4, 4), (0, 4), (4, 0))  # pixels
_NEAR = 1.0  # a coefficient of 0 comes back from rounding to 8 bits within about this


def traces(pixels: np.ndarray, first: tuple[int, int] = (0, 0)) -> np.ndarray:
    """The numbers above, and 1 for a gray picture, else 0.

    Args:
        pixels: (H, W, 3) uint8.
        first: Where the grid of the source begins in them: top and left, 0 to 7.

    Returns:
        (3,) float64; 0 and 0 for a picture that is too small to show it.
    """
    gray = float((pixels == pixels[:, :, :1]).all())
    part = pixels[first[0] :, first[1] :][:_WIDEST, :_WIDEST].astype(np.float32)
    if min(part.shape[:2]) < 2 * _BLOCK:
        return np.array([0.0] * COUNT + [gray])
    luma = part @ np.array([0.299, 0.587, 0.114], np.float32)
    moved = np.mean([_near_zero(luma[top:, left:]) for top, left in _MOVED], axis=0)
    return np.array([*(_near_zero(luma) - moved), gray])


def _near_zero(luma: np.ndarray) -> np.ndarray:
    """The share of DCT coefficients within ±1, of each band: (COUNT,) float64."""
    height, width = (side // _BLOCK for side in luma.shape)
    blocks = luma[: height * _BLOCK, : width * _BLOCK].reshape(height, _BLOCK, width, _BLOCK)
    found = np.abs(np.asarray(dctn(blocks, axes=(1, 3), norm="ortho"))).transpose(0, 2, 1, 3) < _NEAR
    return np.array([found[:, :, band].mean() for band in _BANDS])
