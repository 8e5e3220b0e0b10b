"""Self-blending: a region is recolored, sharpened or blurred, slightly warped, and blended back into the same image.

Source and target are one photograph, so the only traces are those of blending: border, color, sharpness, geometry. Shiohara &
Yamasaki (2022), "Detecting deepfakes with self-blended images", CVPR; there around faces, here in any region.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from tellapart.forgeries._edits import draw_region
from tellapart.forgeries._regions import edit_window, feather
from tellapart.forgeries.base import Forgery

_SHIFT = 0.06  # of the window's side, at most
_ENLARGE = (0.94, 1.06)
_BEND = 0.03  # of the side: standard deviation of the elastic displacement
_COLOR, _CONTRAST, _LIGHT = 12.0, (0.85, 1.15), 16.0  # gray levels, a factor, gray levels
_BLUR, _SHARPEN = (0.4, 1.2), (0.3, 1.0)
_FEATHER = (1.0, 8.0)  # pixels
_RATIO = (0.5, 1.0)  # how much of the source shows where it is opaque


class SelfBlend(Forgery):
    """An image blended with itself."""

    def _forge(self, pixels: np.ndarray, donor: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        del donor

        def blended(tile: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            region = draw_region(len(tile), rng)
            share = rng.uniform(*_RATIO) * feather(region, rng.uniform(*_FEATHER))
            source = _warped(_restyled(tile.astype(np.float64), rng), rng)
            return share * source + (1 - share) * tile, region

        return edit_window(pixels, rng, blended)


def _restyled(tile: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change the colors, and either blur or sharpen."""
    mean = tile.mean(axis=(0, 1))
    tile = (tile - mean) * rng.uniform(*_CONTRAST) + mean + rng.uniform(-_LIGHT, _LIGHT) + rng.uniform(-_COLOR, _COLOR, 3)
    if rng.random() < 0.5:
        return ndimage.gaussian_filter(tile, (*[rng.uniform(*_BLUR)] * 2, 0))
    return tile + rng.uniform(*_SHARPEN) * (tile - ndimage.gaussian_filter(tile, (1, 1, 0)))


def _warped(tile: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shift, scale and bend slightly, with linear interpolation."""
    side = len(tile)
    y, x = np.mgrid[:side, :side].astype(np.float64)
    middle, scale = (side - 1) / 2, rng.uniform(*_ENLARGE)
    shift = rng.uniform(-_SHIFT, _SHIFT, 2) * side
    bend = [ndimage.gaussian_filter(rng.normal(0, 1, (side, side)), side / 6, mode="reflect") for _ in range(2)]
    bend = [_BEND * side * field / max(float(field.std()), 1e-9) for field in bend]
    at = [(y - middle) / scale + middle + shift[0] + bend[0], (x - middle) / scale + middle + shift[1] + bend[1]]
    channels = [ndimage.map_coordinates(channel, at, order=1, mode="mirror") for channel in np.moveaxis(tile, 2, 0)]
    return np.stack(channels, axis=2)
