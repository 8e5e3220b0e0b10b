"""Shared steps of the descriptors that work pixel by pixel: images in small batches, planes, cells, histograms, brightness.

`map_blocks` splits a block of images into batches small enough for a core's cache, so the temporary memory of a descriptor is
bounded. The other functions work on such a batch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

_CORES = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1

_VALUES = 1 << 18  # pixels × channels of a batch: 1 MiB as float32, about the cache of one core
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in JPEG


def map_blocks(images: np.ndarray, describe: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Apply `describe` to all images, batch by batch, on all cores.

    Args:
        images: (B, H, W, C) uint8.
        describe: (b, H, W, C) uint8 → (b, D), for any b; each row depends on its own image only.

    Returns:
        (B, D) float32.
    """
    if not len(images):  # an empty result still needs D columns
        return map_blocks(np.zeros((1, *images.shape[1:]), np.uint8), describe)[:0]
    size = max(1, _VALUES // max(1, int(np.prod(images.shape[1:]))))
    batches = [images[start : start + size] for start in range(0, len(images), size)]
    with ThreadPoolExecutor(min(len(batches), _CORES)) as pool:  # numpy releases the GIL in the slow steps
        return np.concatenate(list(pool.map(describe, batches))).astype(np.float32, copy=False)


def to_planes(images: np.ndarray) -> np.ndarray:
    """(B, H, W, C) → (B, C, H, W), contiguous copy: sums over a channel are then several times as fast."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def cell_index(side: int, grid: int) -> np.ndarray:
    """Index of the cell, of `grid` equal ones, that each of `side` positions lies in: (side,) int64."""
    return np.arange(side) * grid // side


def histograms(values: np.ndarray, bins: int, grid: int) -> np.ndarray:
    """Normalized histogram of every cell and channel.

    Args:
        values: (B, C, H, W) integers in 0 … bins − 1.
        bins: Number of bins.
        grid: Cells along each side.

    Returns:
        (B, grid² · C · bins) float32 in [0, 1]; each histogram sums to 1, or is 0 if a cell has no pixel.
    """
    from tellapart.features._compiled import count_cells  # here, since Numba takes 0.5 s and 60 MB to import

    rows, columns = (np.searchsorted(cell_index(side, grid), np.arange(grid + 1)) for side in values.shape[2:])
    found = np.zeros((len(values), grid * grid, values.shape[1], bins), np.int64)
    count_cells(values, rows, columns, found)
    return shares(found).reshape(len(values), -1)


def shares(counts: np.ndarray) -> np.ndarray:
    """Counts (…, bins) → frequencies (…, bins) float32; 0 where nothing was counted."""
    return (counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)).astype(np.float32)


def gray(images: np.ndarray) -> np.ndarray:
    """Luma: (B, H, W, C) uint8, C = 3 (RGB) or 1 → (B, 1, H, W) float32 in 0 … 255."""
    if images.shape[3] == 1:
        return images.transpose(0, 3, 1, 2).astype(np.float32)
    return (images.astype(np.float32) @ _LUMA)[:, None]
