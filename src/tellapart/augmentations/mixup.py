"""mixup (Zhang et al. 2018): every image becomes a weighted mean of itself and another of its batch, and so does its label."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations import _warp
from tellapart.augmentations._random import beta
from tellapart.augmentations.base import MixAugmentation, MixedBatch
from tellapart.recipe.schema import OptionsModel


class Mixup(MixAugmentation):
    """The share is drawn from Beta(alpha, alpha), for each image instead of once a batch. Must be the last entry."""

    class Options(OptionsModel):
        """Options of `mixup`."""

        alpha: float = Field(default=0.2, gt=0, description="of Beta(alpha, alpha): small is nearly unmixed, 1 is even")

    options: Options

    def mix(self, images: Tensor, generator: torch.Generator) -> MixedBatch:
        """images: (B, C, H, W) uint8."""
        share = beta(self.options.alpha, len(images), generator)
        partner = torch.randperm(len(images), generator=generator)
        own = images.float()
        mixed = torch.lerp(_warp.take(own, partner), own, share.to(images.device).view(-1, 1, 1, 1))
        return MixedBatch(mixed.add_(0.5).to(torch.uint8), partner.to(images.device), share.to(images.device))
