"""CutMix (Yun et al. 2019): a rectangle of each image is replaced by one from another image of the batch; labels are mixed by
area.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations import _warp
from tellapart.augmentations._random import beta
from tellapart.augmentations.base import MixAugmentation, MixedBatch
from tellapart.recipe.schema import OptionsModel


class Cutmix(MixAugmentation):
    """CutMix with an area from Beta(alpha, alpha), drawn for each image, not once per batch. Must be the last entry."""

    class Options(OptionsModel):
        """Options of `cutmix`."""

        alpha: float = Field(
            default=1.0,
            gt=0,
            description="parameter of Beta(alpha, alpha), the distribution of the remaining share; 1 is uniform",
        )

    options: Options

    def mix(self, images: Tensor, generator: torch.Generator) -> MixedBatch:
        """Mix a batch, (B, C, H, W) uint8. The rectangle is clipped at the border; the share is that of the remaining
        pixels.
        """
        side = (1 - beta(self.options.alpha, len(images), generator)).sqrt()
        partner = torch.randperm(len(images), generator=generator)
        rows, columns = (_stretch(length, side, generator) for length in images.shape[2:])
        share = 1 - rows.float().mean(1) * columns.float().mean(1)
        inside = rows.to(images.device)[:, None, :, None] & columns.to(images.device)[:, None, None, :]
        mixed = torch.where(inside, _warp.take(images, partner), images)
        return MixedBatch(mixed, partner.to(images.device), share.to(images.device))


def _stretch(length: int, share: Tensor, generator: torch.Generator) -> Tensor:
    """Pixels of an axis inside the rectangles, with uniform random centers: share (B,) → (B, length) bool."""
    half = (share * length / 2)[:, None]
    middle = torch.rand(len(share), 1, generator=generator) * length
    centers = torch.arange(length) + 0.5
    return (centers > middle - half) & (centers < middle + half)
