"""A window of each image at a random place; what lies beyond the border is the image reflected."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations._warp import Size, to_windows
from tellapart.augmentations.base import Geometry
from tellapart.recipe.schema import OptionsModel


class RandomCrop(Geometry):
    """With `size` a smaller window; with `shift` a window of the same size, moved by some pixels.

    The net is trained on images of that size. A window as large as the image or larger is the image: the same recipe serves
    images of 28 and of 100 pixels.
    """

    class Options(OptionsModel):
        """Options of `random_crop`."""

        size: int | None = Field(default=None, ge=1, description="side of the window, pixels; none or too large: the image's")
        shift: int = Field(default=0, ge=0, description="how far the window may reach over each border, in pixels")

    exact: ClassVar[bool] = True
    options: Options

    def draw(self, count: int, size: Size, generator: torch.Generator) -> tuple[Tensor, Size]:
        """Matrices (count, 2, 3) and the size of the window."""
        height, width = (min(self.options.size or side, side) for side in size)
        tops, lefts = (self._starts(count, side, window, generator) for side, window in zip(size, (height, width), strict=True))
        return to_windows(tops, lefts, (height, width), size), (height, width)

    def _starts(self, count: int, side: int, window: int, generator: torch.Generator) -> Tensor:
        """The window's first pixel along one axis: (count,) int64."""
        shift = min(self.options.shift, side - 1)
        return torch.randint(-shift, side - window + shift + 1, (count,), generator=generator)
