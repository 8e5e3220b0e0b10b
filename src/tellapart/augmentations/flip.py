"""Mirror images, each with its own toss."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations._warp import Size
from tellapart.augmentations.base import Geometry
from tellapart.recipe.schema import OptionsModel


class Flip(Geometry):
    """Left-right, and upside down where asked."""

    class Options(OptionsModel):
        """Options of `flip`."""

        horizontal: float = Field(default=0.5, ge=0, le=1, description="probability of left-right")
        vertical: float = Field(default=0.0, ge=0, le=1, description="probability of upside down")

    exact: ClassVar[bool] = True
    options: Options

    def draw(self, count: int, size: Size, generator: torch.Generator) -> tuple[Tensor, Size]:
        """Matrices (count, 2, 3); the size stays."""
        matrices = torch.zeros(count, 2, 3)
        for axis, probability in enumerate((self.options.horizontal, self.options.vertical)):
            tossed = torch.rand(count, generator=generator) < probability
            matrices[:, axis, axis] = 1 - 2 * tossed.float()
        return matrices, size
