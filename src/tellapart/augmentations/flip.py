"""Random flips, drawn for each image."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations._warp import Size
from tellapart.augmentations.base import Geometry
from tellapart.recipe.schema import OptionsModel


class Flip(Geometry):
    """Flip left-right and, optionally, upside down."""

    class Options(OptionsModel):
        """Options of `flip`."""

        horizontal: float = Field(default=0.5, ge=0, le=1, description="probability of a left-right flip")
        vertical: float = Field(default=0.0, ge=0, le=1, description="probability of an upside-down flip")

    exact: ClassVar[bool] = True
    options: Options

    def draw(self, count: int, size: Size, generator: torch.Generator) -> tuple[Tensor, Size]:
        """Return matrices (count, 2, 3); the size does not change."""
        matrices = torch.zeros(count, 2, 3)
        for axis, probability in enumerate((self.options.horizontal, self.options.vertical)):
            tossed = torch.rand(count, generator=generator) < probability
            matrices[:, axis, axis] = 1 - 2 * tossed.float()
        return matrices, size
