"""TrivialAugment: one random operation at a random strength.

Müller & Hutter 2021, "TrivialAugment: Tuning-free yet state-of-the-art data augmentation" (arXiv:2103.10158), in its wide
version; operations and strengths are those of torchvision's TrivialAugmentWide.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations import _operations
from tellapart.augmentations._operations import Strengths
from tellapart.augmentations._random import randint
from tellapart.augmentations.base import Augmentation
from tellapart.recipe.schema import OptionsModel

_ENDS = {"shear": 0.99, "rotate": 135.0, "enhance": 0.99}
_SHIFT = 32.0  # pixels, whatever the size of the images
_POSTERIZE = 6


class TrivialAugment(Augmentation):
    """One operation, drawn uniformly from fourteen for each image, with a magnitude drawn uniformly."""

    class Options(OptionsModel):
        """Options of `trivial_augment`."""

        bins: int = Field(default=31, ge=2, description="number of magnitudes between the weakest and the strongest")

    options: Options

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augment a batch: (B, C, H, W) uint8 → the same shape, in channels_last."""
        magnitudes = randint(0, self.options.bins - 1, len(images), generator)
        return _operations.draw_and_apply(images, space(self.options.bins), magnitudes, generator)


def space(bins: int) -> dict[str, Strengths]:
    """Operations and their strengths."""
    return _operations.strengths(bins, _ENDS, (_SHIFT, _SHIFT), _POSTERIZE)
