"""Downscaling followed by upscaling, which simulates images that were stored at a smaller size. Antialiased, with various
kernels.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations import _kernels
from tellapart.augmentations._random import ShareRange, uniform
from tellapart.augmentations.base import RandomApply

_Kernel = Literal["box", "bilinear", "bicubic", "lanczos"]


class Downscale(RandomApply):
    """Downscale and upscale in one filter; the kernels are those of Pillow, drawn for each direction and image."""

    class Options(RandomApply.Options):
        """Options of `downscale`."""

        factor: ShareRange = Field(
            default=(0.4, 1.0), description="minimum and maximum side of the downscaled image, as a fraction"
        )
        kernels: list[_Kernel] = Field(
            default=["box", "bilinear", "bicubic", "lanczos"],
            min_length=1,
            description="resampling kernels to draw from, for each direction",
        )

    options: Options

    def change(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Apply to all given images: (K, C, H, W) uint8 → the same shape."""
        count, _, height, width = images.shape
        factor = uniform(self.options.factor[0], self.options.factor[1], count, generator)
        kernels = torch.randint(len(self.options.kernels), (count, 2), generator=generator)
        rows = self._matrices(height, factor, kernels).to(images.device)
        columns = rows if width == height else self._matrices(width, factor, kernels).to(images.device)
        return _kernels.filtered(images, rows, columns)

    def _matrices(self, side: int, factor: Tensor, kernels: Tensor) -> Tensor:
        """Filter matrices (K, side, side) from factors (K,) and indices of the kernels (K, 2), down and up."""
        small = (factor * side).round().clamp(min=1)
        matrices = torch.empty(len(factor), side, side)
        for down, up in kernels.unique(dim=0).tolist():
            rows = (kernels == torch.tensor([down, up])).all(1)
            names = self.options.kernels[down], self.options.kernels[up]
            matrices[rows] = _kernels.downscale_upscale(side, small[rows], names)
        return matrices
