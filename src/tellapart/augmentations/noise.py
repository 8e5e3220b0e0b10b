"""Gaussian noise on some images, with a separate strength for each, independent in each channel of each pixel."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations import _warp
from tellapart.augmentations._random import Range, uniform
from tellapart.augmentations.base import RandomApply


class Noise(RandomApply):
    """Gaussian noise, added to the values, which are then rounded and clipped."""

    class Options(RandomApply.Options):
        """Options of `noise`."""

        sigma: Range = Field(
            default=(2.0, 10.0), description="minimum and maximum standard deviation, for values from 0 to 255"
        )

    options: Options

    def change(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Apply to all given images: (K, C, H, W) uint8 → the same shape."""
        sigma = uniform(self.options.sigma[0], self.options.sigma[1], len(images), generator).to(images.device)
        # the noise is drawn on the device, with a seed from the generator: moving it would take longer
        source = torch.Generator(images.device).manual_seed(int(torch.randint(2**62, (), generator=generator)))
        bell = torch.randn(images.shape, generator=source, device=images.device)
        return _warp.to_bytes(bell.mul_(sigma.view(-1, 1, 1, 1)).add_(images))
