"""A window of each image at a random place; what lies beyond the border is the image reflected."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augment._contract import Augmentation
from tellapart.recipe import Section


class Crop(Augmentation):
    """With `size` a smaller window; with `shift` a window of the same size, moved by some pixels."""

    class Options(Section):
        """Options of `crop`."""

        size: int | None = Field(default=None, ge=1, description="side of the window, pixels; none or too large: the image's")
        shift: int = Field(default=0, ge=0, description="how far the window may reach over each border, in pixels")

    options: Any

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """images: (B, C, H, W) uint8 → (B, C, H', W') uint8, in channels_last."""
        rows = self._window(len(images), images.shape[2], generator)
        columns = self._window(len(images), images.shape[3], generator)
        batch = torch.arange(len(images))[:, None, None]
        x_BHWC = images.permute(0, 2, 3, 1)
        return x_BHWC[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    def _window(self, count: int, side: int, generator: torch.Generator) -> Tensor:
        """Positions along one axis, one row an image: (count, window) int64 in 0 … side−1."""
        shift = min(self.options.shift, side - 1)
        window = min(self.options.size or side, side)
        start = torch.randint(-shift, side - window + shift + 1, (count, 1), generator=generator)
        place = start + torch.arange(window)
        place = place.abs()  # reflect at 0 …
        return torch.where(place >= side, 2 * (side - 1) - place, place)  # … and at the far border
