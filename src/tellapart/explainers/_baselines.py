"""Fills for removed pixels: mean color, black, or a blur of the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy import ndimage

Fill = Literal["mean", "black", "blur"]


def mean(image: np.ndarray) -> np.ndarray:
    """The mean color of the image: (H, W, 3) uint8 → the same shape."""
    return np.broadcast_to(np.rint(image.mean(axis=(0, 1))).astype(np.uint8), image.shape)


def black(image: np.ndarray) -> np.ndarray:
    """Zeros: (H, W, 3) uint8 → the same shape."""
    return np.zeros_like(image)


def blur(image: np.ndarray) -> np.ndarray:
    """The image blurred by a Gaussian of a tenth of its shorter side: (H, W, 3) uint8 → the same shape."""
    sigma = max(min(image.shape[:2]) / 10, 0.5)
    return ndimage.gaussian_filter(image.astype(np.float32), (sigma, sigma, 0)).round().astype(np.uint8)


FILLS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"mean": mean, "black": black, "blur": blur}
