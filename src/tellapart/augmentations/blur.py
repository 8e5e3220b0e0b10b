"""Gaussian blur of some images, with a separate width for each; the image is reflected at its border."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations import _kernels
from tellapart.augmentations._random import PositiveRange, uniform
from tellapart.augmentations.base import RandomApply


class Blur(RandomApply):
    """Gaussian blur as torchvision's GaussianBlur with a kernel that is large enough for the whole Gaussian."""

    class Options(RandomApply.Options):
        """Options of `blur`."""

        sigma: PositiveRange = Field(
            default=(0.3, 1.5), description="minimum and maximum standard deviation of the Gaussian, in pixels"
        )

    options: Options

    def change(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """images: (K, C, H, W) uint8 → the same shape."""
        sigma = uniform(self.options.sigma[0], self.options.sigma[1], len(images), generator).to(images.device)
        height, width = images.shape[2:]
        rows = _kernels.gaussian(height, sigma)
        return _kernels.filtered(images, rows, rows if width == height else _kernels.gaussian(width, sigma))
