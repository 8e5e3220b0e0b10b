"""Random resized crop: a window of random position, area and shape, enlarged to the image size (Szegedy et al. 2015, "Going
deeper").
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations._random import PositiveRange, ShareRange, log_uniform
from tellapart.augmentations._warp import Size
from tellapart.augmentations.base import Geometry
from tellapart.recipe.schema import OptionsModel

_TRIES = 10


class RandomResizedCrop(Geometry):
    """Random resized crop as torchvision's RandomResizedCrop; bilinear, with the pixels outside the window used at its
    border.
    """

    class Options(OptionsModel):
        """Options of `random_resized_crop`."""

        scale: ShareRange = Field(
            default=(0.5, 1.0), description="minimum and maximum area of the window, as a fraction of the image"
        )
        ratio: PositiveRange = Field(default=(3 / 4, 4 / 3), description="minimum and maximum width ÷ height of the window")

    options: Options

    def draw(self, count: int, size: Size, generator: torch.Generator) -> tuple[Tensor, Size]:
        """Return matrices (count, 2, 3); the size does not change."""
        height, width = self._windows(count, size, generator)
        tops, lefts = (
            (torch.rand(count, generator=generator) * (side - window + 1)).floor()
            for side, window in ((size[0], height), (size[1], width))
        )
        matrices = torch.zeros(count, 2, 3)
        for axis, start, window, side in ((0, lefts, width, size[1]), (1, tops, height, size[0])):
            matrices[:, axis, axis] = window / side
            matrices[:, axis, 2] = start + (window - side) / 2
        return matrices, size

    def _windows(self, count: int, size: Size, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Heights and widths (count,) of the first of several tries that fits, else of the largest window with an allowed
        shape.
        """
        low, high = self.options.scale
        area = (torch.rand(count, _TRIES, generator=generator) * (high - low) + low) * (size[0] * size[1])
        ratio = log_uniform(self.options.ratio, (count, _TRIES), generator)
        widths, heights = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
        fits = (widths >= 1) & (widths <= size[1]) & (heights >= 1) & (heights <= size[0])
        first = fits.int().argmax(1, keepdim=True)
        shape = min(max(size[1] / size[0], self.options.ratio[0]), self.options.ratio[1])
        fallback = max(1, round(min(size[0], size[1] / shape))), max(1, round(min(size[1], size[0] * shape)))
        none = ~fits.any(1)
        return (
            heights.gather(1, first)[:, 0].masked_fill(none, fallback[0]),
            widths.gather(1, first)[:, 0].masked_fill(none, fallback[1]),
        )
