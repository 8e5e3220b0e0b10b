"""Traces of an earlier JPEG compression in the pixels, as three numbers, and whether an image is gray.

JPEG rounds the DCT coefficients of 8×8 blocks; the high-frequency ones mostly become 0. In the decoded pixels, more
coefficients are near 0 on the original grid than on the same grid shifted by half a block. An image that was never compressed
has no such grid. Two numbers are these differences, for high and for middle frequencies; the content of the image mostly
cancels, because it is the same on both grids. The third is the step at the borders of blocks against steps elsewhere. The
traces survive when the pixels are saved in another file format.

Sources:
    Fan & de Queiroz (2003), "Identification of bitmap compression history: JPEG detection and quantizer estimation" (the
    idea of one grid against another).
    Wang, Sheikh & Bovik (2002), "No-reference perceptual quality assessment of JPEG compressed images" (steps at the borders of
    blocks against steps elsewhere).
"""

from __future__ import annotations

import numpy as np
from scipy.fft import dctn

#: Number of values about compression; the value after them is 1 for a gray image.
COUNT = 3
#: Their names.
NAMES = ("zeros at high frequencies", "zeros at middle frequencies", "steps of the 8×8 grid")
_BLOCK, _WIDEST = 8, 512  # pixels; the top left part of a large image is enough
_ORDER = np.add.outer(np.arange(_BLOCK), np.arange(_BLOCK))
_BANDS = (_ORDER >= _BLOCK, (_ORDER >= _BLOCK // 2) & (_ORDER < _BLOCK))
_MOVED = ((4, 4), (0, 4), (4, 0))  # pixels
_NEAR = 1.0  # a coefficient of 0 comes back from rounding to 8 bits within about this


def traces(pixels: np.ndarray, first: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Compute the three compression traces, and 1 for a gray image, else 0.

    Args:
        pixels: (H, W, 3) uint8.
        first: Row and column, 0 to 7, of the first full block of the source's grid.

    Returns:
        (4,) float64; the traces are 0 for an image that is too small.
    """
    gray = float((pixels == pixels[:, :, :1]).all())
    part = pixels[first[0] :, first[1] :][:_WIDEST, :_WIDEST].astype(np.float32)
    if min(part.shape[:2]) < 2 * _BLOCK:
        return np.array([0.0] * COUNT + [gray])
    luma = part @ np.array([0.299, 0.587, 0.114], np.float32)
    moved = np.mean([_near_zero(luma[top:, left:]) for top, left in _MOVED], axis=0)
    steps = block_steps(np.abs(np.diff(luma, axis=1)), np.abs(np.diff(luma, axis=0)))
    return np.array([*(_near_zero(luma) - moved), steps, gray])


def block_steps(across: np.ndarray, down: np.ndarray) -> float:
    """Log ratio of the mean step at borders of 8×8 blocks to the mean step inside them; NaN for less than two blocks a side.

    Args:
        across: (H, W−1) absolute differences of neighbors in a row.
        down: (H−1, W) absolute differences of neighbors in a column.
    """
    if min(down.shape[0], across.shape[1]) < 2 * _BLOCK - 1:
        return float("nan")
    lines = [steps.mean(axis=axis) for steps, axis in ((across, 0), (down, 1))]
    ends = [np.arange(len(line)) % _BLOCK == _BLOCK - 1 for line in lines]
    here, there = (
        np.mean([line[side].mean() for line, side in zip(lines, of, strict=True)]) for of in (ends, [~e for e in ends])
    )
    return float(np.log((here + 0.1) / (there + 0.1)))


def _near_zero(luma: np.ndarray) -> np.ndarray:
    """Fraction of DCT coefficients within ±1, for each band: (COUNT,) float64 in [0, 1]."""
    height, width = (side // _BLOCK for side in luma.shape)
    blocks = luma[: height * _BLOCK, : width * _BLOCK].reshape(height, _BLOCK, width, _BLOCK)
    found = np.abs(np.asarray(dctn(blocks, axes=(1, 3), norm="ortho"))).transpose(0, 2, 1, 3) < _NEAR
    return np.array([found[:, :, band].mean() for band in _BANDS])
