"""Splicing: a region of another image, rotated, enlarged, and blended by gradients (Pérez et al. 2003), as in the demo."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tellapart.forgeries._edits import edit
from tellapart.forgeries._regions import draw_patch, edit_window
from tellapart.forgeries.base import Forgery


class Splice(Forgery):
    """A region of another image."""

    needs_donor: ClassVar[bool] = True

    def _forge(self, pixels: np.ndarray, donor: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return edit_window(pixels, rng, lambda tile: edit("splice", tile, draw_patch(donor, len(tile), rng), rng))
