"""A block of images, a few at a time: what a descriptor holds beside them stays bounded, and stays in the processor's cache."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

_CORES = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1

_VALUES = 1 << 18  # pixels times channels a portion: 1 MiB as float32, about a core's own cache


def map_blocks(images: np.ndarray, describe: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`describe` of all images.

    Args:
        images: (B, H, W, C) uint8.
        describe: (b, H, W, C) uint8 → (b, D), for any b, each row from its own image alone.

    Returns:
        (B, D) float32.
    """
    if not len(images):  # none have the width of one
        return map_blocks(np.zeros((1, *images.shape[1:]), np.uint8), describe)[:0]
    size = max(1, _VALUES // max(1, int(np.prod(images.shape[1:]))))
    portions = [images[start : start + size] for start in range(0, len(images), size)]
    with ThreadPoolExecutor(min(len(portions), _CORES)) as pool:  # numpy releases the interpreter where the time goes
        return np.concatenate(list(pool.map(describe, portions))).astype(np.float32, copy=False)


def to_planes(images: np.ndarray) -> np.ndarray:
    """(B, H, W, C) → (B, C, H, W), copied: sums over a channel then run along the memory, several times as fast."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def cell_index(side: int, grid: int) -> np.ndarray:
    """Which of `grid` equal cells each of `side` positions lies in: (side,) int64."""
    return np.arange(side) * grid // side


def histograms(values: np.ndarray, bins: int, grid: int) -> np.ndarray:
    """Shares of each value, a cell and channel at a time.

    Args:
        values: (B, C, H, W) integers in 0 … bins − 1.
        bins: How many values there are.
        grid: Cells along each side.

    Returns:
        (B, grid² · C · bins) float32; each run of `bins` sums to 1, or is 0 where a cell has no pixel.
    """
    count, channels, height, width = values.shape
    cells = cell_index(height, grid)[:, None] * grid + cell_index(width, grid)  # (H, W)
    start = (cells * channels + np.arange(channels)[:, None, None]) * bins  # (C, H, W)
    length = grid * grid * channels * bins
    place = values + start + (np.arange(count) * length)[:, None, None, None]
    counts = np.bincount(place.ravel(), minlength=count * length).reshape(count, length // bins, bins).astype(np.float32)
    return (counts / np.maximum(counts.sum(axis=2, keepdims=True), 1)).reshape(count, length)


# --- brightness of RGB images -----------------------------------------------------------------------------------------


_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as JPEG has it


def gray(images: np.ndarray) -> np.ndarray:
    """(B, H, W, C) uint8, C = 3 (RGB) or 1 → (B, 1, H, W) float32 in 0 … 255."""
    if images.shape[3] == 1:
        return images.transpose(0, 3, 1, 2).astype(np.float32)
    return (images.astype(np.float32) @ _WEIGHTS)[:, None]
