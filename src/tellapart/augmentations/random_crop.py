"""Random crop of each image; areas outside the image are filled by reflection."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations._warp import Size, to_windows
from tellapart.augmentations.base import Geometry
from tellapart.recipe.schema import OptionsModel


class RandomCrop(Geometry):
    """Random crop to a smaller window with `size`, or random shift of a window of the same size with `shift`.

    The net is trained on images of that size. A window that is not smaller than the image is the whole image, so that a recipe
    works for images of 28 and of 100 pixels.
    """

    class Options(OptionsModel):
        """Options of `random_crop`."""

        size: int | None = Field(
            default=None, ge=1, description="side of the window, in pixels; none or too large: that of the image"
        )
        shift: int = Field(default=0, ge=0, description="maximum extent of the window beyond each border, in pixels")

    exact: ClassVar[bool] = True
    options: Options

    def draw(self, count: int, size: Size, generator: torch.Generator) -> tuple[Tensor, Size]:
        """Return matrices (count, 2, 3) and the size of the window."""
        height, width = (min(self.options.size or side, side) for side in size)
        tops, lefts = (self._starts(count, side, window, generator) for side, window in zip(size, (height, width), strict=True))
        return to_windows(tops, lefts, (height, width), size), (height, width)

    def _starts(self, count: int, side: int, window: int, generator: torch.Generator) -> Tensor:
        """First pixel of the window along one axis: (count,) int64."""
        shift = min(self.options.shift, side - 1)
        return torch.randint(-shift, side - window + shift + 1, (count,), generator=generator)
