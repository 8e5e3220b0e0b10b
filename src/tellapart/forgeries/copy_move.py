"""Copy-move: a region is copied to another position in the same image, mirrored or not, with a feathered border.

The trace is that two regions are equal; see Christlein et al. (2012), "An evaluation of popular copy-move forgery detection
approaches", IEEE TIFS 7(6).
"""

from __future__ import annotations

import numpy as np

from tellapart.forgeries._edits import draw_region
from tellapart.forgeries._regions import draw_patch, edit_window, feather
from tellapart.forgeries.base import Forgery

_FEATHER = (0.0, 3.0)  # pixels
_TRIES = 8  # candidate sources; the one that differs most from what it covers is used


class CopyMove(Forgery):
    """A region that occurs twice."""

    def _forge(self, pixels: np.ndarray, donor: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        del donor

        def copied(tile: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            region, mirrored = draw_region(len(tile), rng), rng.random() < 0.5
            patches = [draw_patch(_wide(pixels, len(tile)), len(tile), rng) for _ in range(_TRIES)]
            patch = max(patches, key=lambda p: float(np.abs(p[region].astype(float) - tile[region]).mean()))
            moved = (patch[:, ::-1] if mirrored else patch).astype(np.float64)
            share = feather(region, rng.uniform(*_FEATHER))
            return share * moved + (1 - share) * tile, region

        return edit_window(pixels, rng, copied)


def _wide(pixels: np.ndarray, side: int) -> np.ndarray:
    """The image, padded by reflection if it has no room for a second square of `side`."""
    if min(pixels.shape[:2]) >= 2 * side:
        return pixels
    return np.pad(pixels, [(side // 2, side // 2), (side // 2, side // 2), (0, 0)], mode="symmetric")
