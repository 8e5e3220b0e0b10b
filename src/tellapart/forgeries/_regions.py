"""Windows and regions for forgeries: a square window of an image, an edit inside it, and soft borders."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from tellapart.forgeries.base import SMALLEST

#: A region covers about 0.3 of its window, so windows of these shares of the image give regions of 3 to 24 % of it.
_WINDOW = (0.10, 0.80)
_LARGEST = 320  # side of a window: the harmonic fill of a splice solves for some 30,000 pixels there, in about half a second


def edit_window(
    pixels: np.ndarray, rng: np.random.Generator, edit: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """Apply `edit`, (S, S, 3) uint8 → image and region, to a square window of the image.

    Returns:
        (H, W, 3) float64, and the mask (H, W) bool.
    """
    y, x, side = draw_window(pixels.shape, rng)
    forged, mask = pixels.astype(np.float64), np.zeros(pixels.shape[:2], dtype=bool)
    place = (slice(y, y + side), slice(x, x + side))
    forged[place], mask[place] = edit(pixels[place])
    return forged, mask


def draw_window(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[int, int, int]:
    """Draw the upper left corner (y, x) and the side of a square in an image of `shape` (H, W, …)."""
    height, width = shape[:2]
    side = round(float(np.sqrt(rng.uniform(*_WINDOW) * height * width)))
    side = min(max(side, SMALLEST), height, width, _LARGEST)
    return int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1)), side


def draw_patch(donor: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a square of a donor: (side, side, 3) uint8. A smaller donor is padded by reflection."""
    short = [max(side - have, 0) for have in donor.shape[:2]]
    if any(short):
        donor = np.pad(donor, [(0, short[0]), (0, short[1]), (0, 0)], mode="symmetric")
    y, x = (int(rng.integers(0, have - side + 1)) for have in donor.shape[:2])
    return donor[y : y + side, x : x + side]


def feather(region: np.ndarray, feather: float) -> np.ndarray:
    """Opacity that increases from the border of a region over `feather` pixels: (S, S) bool → (S, S, 1) float64 in [0, 1]."""
    depth = np.asarray(ndimage.distance_transform_edt(region))
    return np.clip(depth / (feather + 1), 0, 1)[..., None]
