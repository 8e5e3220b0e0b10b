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
    count, channels, height, width = values.shape
    cells = cell_index(height, grid)[:, None] * grid + cell_index(width, grid)  # (H, W)
    start = (cells * channels + np.arange(channels)[:, None, None]) * bins  # (C, H, W)
    length = grid * grid * channels * bins
    place = values + start + (np.arange(count) * length)[:, None, None, None]
    counts = np.bincount(place.ravel(), minlength=count * length).reshape(count, length // bins, bins).astype(np.float32)
    return (counts / np.maximum(counts.sum(axis=2, keepdims=True), 1)).reshape(count, length)


def gray(images: np.ndarray) -> np.ndarray:
    """Luma: (B, H, W, C) uint8, C = 3 (RGB) or 1 → (B, 1, H, W) float32 in 0 … 255."""
    if images.shape[3] == 1:
        return images.transpose(0, 3, 1, 2).astype(np.float32)
    return (images.astype(np.float32) @ _LUMA)[:, None]
