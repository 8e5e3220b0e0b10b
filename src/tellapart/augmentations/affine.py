"""Rotation, shift, scale and shear, resampled once; areas outside the image are filled by reflection."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations._random import PositiveRange, uniform
from tellapart.augmentations._warp import Size
from tellapart.augmentations.base import Geometry
from tellapart.recipe.schema import OptionsModel


class Affine(Geometry):
    """Random affine transform with uniform parameters, bilinear, as torchvision's RandomAffine; shifts are not rounded to
    pixels.
    """

    class Options(OptionsModel):
        """Options of `affine`."""

        degrees: float = Field(default=0.0, ge=0, le=180, description="maximum rotation in either direction")
        shift: float = Field(default=0.1, ge=0, le=1, description="maximum shift along each axis, as a fraction of the side")
        scale: PositiveRange = Field(default=(0.9, 1.1), description="minimum and maximum magnification")
        shear: float = Field(default=0.0, ge=0, lt=90, description="maximum shear angle of the columns, in degrees")

    options: Options

    def draw(self, count: int, size: Size, generator: torch.Generator) -> tuple[Tensor, Size]:
        """Return matrices (count, 2, 3); the size does not change."""
        wanted = self.options
        angle = uniform(-wanted.degrees, wanted.degrees, count, generator).deg2rad()
        shift_x = uniform(-wanted.shift, wanted.shift, count, generator) * size[1]
        shift_y = uniform(-wanted.shift, wanted.shift, count, generator) * size[0]
        scale = uniform(wanted.scale[0], wanted.scale[1], count, generator)
        lean = uniform(-wanted.shear, wanted.shear, count, generator).deg2rad().tan()
        return inverse_matrices(angle, shift_x, shift_y, scale, lean), size


def inverse_matrices(angle: Tensor, shift_x: Tensor, shift_y: Tensor, scale: Tensor, lean: Tensor) -> Tensor:
    """Matrix from output to input positions of shear, scale, rotation and shift, in this order: (B, 2, 3).

    Args:
        angle: (B,) radians, clockwise.
        shift_x: (B,) pixels to the right.
        shift_y: (B,) pixels down.
        scale: (B,) magnification.
        lean: (B,) tangent of the shear angle: shift of a column to the left, per row downwards.
    """
    cosine, sine = angle.cos(), angle.sin()
    # (rotation · scale · shear)⁻¹ = shear⁻¹ · rotation⁻¹ / scale
    linear = torch.stack([cosine - lean * sine, sine + lean * cosine, -sine, cosine], 1).view(-1, 2, 2) / scale.view(-1, 1, 1)
    shift = torch.stack([shift_x, shift_y], 1)[:, :, None]
    return torch.cat([linear, -linear @ shift], 2)
