"""A region is removed: filled smoothly from its rim, with a little of the picture's own grain, as the demo does it."""

from __future__ import annotations

import numpy as np

from tellapart.forgeries._edits import edit
from tellapart.forgeries._regions import edit_window
from tellapart.forgeries.base import Forgery


class Inpaint(Forgery):
    """Something is gone."""

    def _forge(self, pixels: np.ndarray, donor: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        del donor
        return edit_window(pixels, rng, lambda tile: edit("inpaint", tile, tile, rng))
