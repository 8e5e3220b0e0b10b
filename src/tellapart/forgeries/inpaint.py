"""Inpainting: a region is removed and filled smoothly from its border, plus a little of the image's noise, as in the demo."""

from __future__ import annotations

import numpy as np

from tellapart.forgeries._edits import edit
from tellapart.forgeries._regions import edit_window
from tellapart.forgeries.base import Forgery


class Inpaint(Forgery):
    """A removed region."""

    def _forge(self, pixels: np.ndarray, donor: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        del donor
        return edit_window(pixels, rng, lambda tile: edit("inpaint", tile, tile, rng))
