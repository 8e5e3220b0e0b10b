"""A window of random place, area and shape, enlarged to the size of the image: Szegedy et al. 2015, "Going deeper"."""

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
    """Drawn as torchvision's RandomResizedCrop does; bilinear, and the pixels beside the window are seen at its border."""

    class Options(OptionsModel):
        """Options of `random_resized_crop`."""

        scale: ShareRange = Field(default=(0.5, 1.0), description="smallest and largest area of the window, of the image's")
        ratio: PositiveRange = Field(default=(3 / 4, 4 / 3), description="smallest and largest width ÷ height of the window")

    options: Options

    def draw(self, count: int, size: Size, generator: torch.Generator) -> tuple[Tensor, Size]:
        """Matrices (count, 2, 3); the size stays."""
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
        """Heights and widths (count,): the first of some tries that fits, else the largest of an allowed shape."""
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
