"""Rotation by any angle, with interpolation; corners outside the image are filled by reflection."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations._random import uniform
from tellapart.augmentations._warp import Size
from tellapart.augmentations.base import Geometry
from tellapart.recipe.schema import OptionsModel


class Rotate(Geometry):
    """Rotation about the center by a uniform random angle, bilinear, as torchvision's RandomRotation. Multiples of 90°:
    `rotate90`.
    """

    class Options(OptionsModel):
        """Options of `rotate`."""

        degrees: float = Field(default=15.0, ge=0, le=180, description="maximum angle in either direction")

    options: Options

    def draw(self, count: int, size: Size, generator: torch.Generator) -> tuple[Tensor, Size]:
        """Return matrices (count, 2, 3); the size does not change."""
        angle = uniform(-self.options.degrees, self.options.degrees, count, generator).deg2rad()
        cosine, sine, nothing = angle.cos(), angle.sin(), torch.zeros(count)
        return torch.stack([cosine, -sine, nothing, sine, cosine, nothing], 1).view(count, 2, 3), size
