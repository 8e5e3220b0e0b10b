"""mixup (Zhang et al. 2018): each image and its label become a weighted mean with those of another image of the batch."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations import _warp
from tellapart.augmentations._random import beta
from tellapart.augmentations.base import MixAugmentation, MixedBatch
from tellapart.recipe.schema import OptionsModel


class Mixup(MixAugmentation):
    """mixup with weights from Beta(alpha, alpha), drawn for each image, not once per batch. Must be the last entry."""

    class Options(OptionsModel):
        """Options of `mixup`."""

        alpha: float = Field(
            default=0.2, gt=0, description="parameter of Beta(alpha, alpha): small values mix little, 1 is uniform"
        )

    options: Options

    def mix(self, images: Tensor, generator: torch.Generator) -> MixedBatch:
        """Mix a batch, (B, C, H, W) uint8."""
        share = beta(self.options.alpha, len(images), generator)
        partner = torch.randperm(len(images), generator=generator)
        own = images.float()
        mixed = torch.lerp(_warp.take(own, partner), own, share.to(images.device).view(-1, 1, 1, 1))
        return MixedBatch(mixed.add_(0.5).to(torch.uint8), partner.to(images.device), share.to(images.device))
