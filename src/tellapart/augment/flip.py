"""Mirror images, each with its own toss."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augment._contract import Augmentation
from tellapart.recipe import Section


class Flip(Augmentation):
    """Left-right, and upside down where asked."""

    class Options(Section):
        """Options of `flip`."""

        horizontal: float = Field(default=0.5, ge=0, le=1, description="probability of left-right")
        vertical: float = Field(default=0.0, ge=0, le=1, description="probability of upside down")

    options: Any

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """images: (B, C, H, W) uint8 → the same shape."""
        for probability, axis in ((self.options.horizontal, 3), (self.options.vertical, 2)):
            if probability:
                toss = torch.rand(len(images), generator=generator) < probability
                images = torch.where(toss.view(-1, 1, 1, 1), images.flip(axis), images)
        return images
