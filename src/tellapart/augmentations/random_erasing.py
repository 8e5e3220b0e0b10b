"""Random erasing (Zhong et al. 2020): fills a rectangle of some images, so that the net does not rely on a single region."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations import _warp
from tellapart.augmentations._random import PositiveRange, ShareRange, log_uniform
from tellapart.augmentations.base import RandomApply

_TRIES = 10


class RandomErasing(RandomApply):
    """Random erasing; area, shape and position as in torchvision's RandomErasing. If no rectangle fits, the image is
    unchanged.
    """

    class Options(RandomApply.Options):
        """Options of `random_erasing`."""

        area: ShareRange = Field(
            default=(0.02, 0.33), description="minimum and maximum area of the rectangle, as a fraction of the image"
        )
        ratio: PositiveRange = Field(default=(0.3, 3.3), description="minimum and maximum height ÷ width")
        fill: Literal["black", "mean", "noise"] = Field(
            default="noise", description="fill: black, the mean color of the image, or uniform random values from 0 to 255"
        )

    options: Options

    def change(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Apply to all given images: (K, C, H, W) uint8 → the same shape."""
        top, left, height, width = self._rectangles(len(images), (images.shape[2], images.shape[3]), generator)
        rows, columns = (torch.arange(side) for side in images.shape[2:])
        in_rows = (rows >= top[:, None]) & (rows < (top + height)[:, None])
        in_columns = (columns >= left[:, None]) & (columns < (left + width)[:, None])
        inside = in_rows.to(images.device)[:, None, :, None] & in_columns.to(images.device)[:, None, None, :]
        return torch.where(inside, self._filling(images, generator), images)

    def _filling(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Fill values, uint8, broadcastable to images (K, C, H, W)."""
        count, channels, height, width = images.shape
        if self.options.fill == "black":
            return images.new_zeros(1)
        if self.options.fill == "mean":
            return _warp.mean_color(images)[:, :channels, None, None].round().to(torch.uint8)
        drawn = torch.randint(256, (count, height, width, channels), generator=generator, dtype=torch.uint8)
        return drawn.to(images.device).permute(0, 3, 1, 2)

    def _rectangles(
        self, count: int, size: tuple[int, int], generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Top, left, height and width, each (count,), of the first of several tries that fits; height and width are 0 if none
        fits.
        """
        low, high = self.options.area
        area = (torch.rand(count, _TRIES, generator=generator) * (high - low) + low) * (size[0] * size[1])
        ratio = log_uniform(self.options.ratio, (count, _TRIES), generator)
        heights, widths = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
        fits = (heights < size[0]) & (widths < size[1])
        first = fits.int().argmax(1, keepdim=True)
        height, width = (s.gather(1, first)[:, 0] * fits.any(1) for s in (heights, widths))
        top = (torch.rand(count, generator=generator) * (size[0] - height + 1)).floor()
        left = (torch.rand(count, generator=generator) * (size[1] - width + 1)).floor()
        return top, left, height, width
