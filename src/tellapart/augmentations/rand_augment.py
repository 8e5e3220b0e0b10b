"""RandAugment: a few random operations, all at one strength.

Cubuk et al. 2020, "RandAugment: Practical automated data augmentation with a reduced search space" (arXiv:1909.13719);
operations and strengths are those of torchvision's RandAugment.
"""

from __future__ import annotations

import torch
from pydantic import Field, model_validator
from torch import Tensor

from tellapart.augmentations import _operations
from tellapart.augmentations._operations import Strengths
from tellapart.augmentations._warp import Size
from tellapart.augmentations.base import Augmentation
from tellapart.recipe.schema import OptionsModel

_ENDS = {"shear": 0.3, "rotate": 30.0, "enhance": 0.9}
_SHIFT = 150 / 331  # fraction of the side
_POSTERIZE = 4


class RandAugment(Augmentation):
    """Several operations in sequence, each drawn uniformly from fourteen for each image, all with the same magnitude."""

    class Options(OptionsModel):
        """Options of `rand_augment`."""

        operations: int = Field(default=2, ge=1, description="number of operations applied to each image in sequence")
        magnitude: int = Field(default=9, ge=0, description="strength of all operations, from 0 to bins − 1")
        bins: int = Field(default=31, ge=2, description="number of magnitudes between the weakest and the strongest")

        @model_validator(mode="after")
        def _magnitude_is_a_bin(self) -> RandAugment.Options:
            if self.magnitude >= self.bins:
                raise ValueError(f"magnitude must be smaller than bins ({self.bins}), found {self.magnitude}")
            return self

    options: Options

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augment a batch: (B, C, H, W) uint8 → the same shape, in channels_last."""
        known = space(self.options.bins, (images.shape[2], images.shape[3]))
        magnitudes = torch.full((len(images),), self.options.magnitude)
        for _ in range(self.options.operations):
            images = _operations.draw_and_apply(images, known, magnitudes, generator)
        return images


def space(bins: int, size: Size) -> dict[str, Strengths]:
    """Operations and their strengths for images of this height and width."""
    return _operations.strengths(bins, _ENDS, (_SHIFT * size[1], _SHIFT * size[0]), _POSTERIZE)
