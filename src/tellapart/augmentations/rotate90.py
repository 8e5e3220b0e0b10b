"""Rotation by multiples of 90°, without resampling."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations._warp import Size
from tellapart.augmentations.base import Geometry
from tellapart.errors import RecipeError
from tellapart.recipe.schema import OptionsModel


class Rotate90(Geometry):
    """Rotation of each image by one of the given angles; images that are not square are rotated by 0° or 180°."""

    class Options(OptionsModel):
        """Options of `rotate90`."""

        degrees: list[Literal[0, 90, 180, 270]] = Field(
            default=[0, 90, 180, 270], min_length=1, description="counter-clockwise rotations, drawn with equal probability"
        )

    exact: ClassVar[bool] = True
    options: Options

    def draw(self, count: int, size: Size, generator: torch.Generator) -> tuple[Tensor, Size]:
        """Return matrices (count, 2, 3); the size does not change.

        Raises:
            RecipeError: The images are not square, and only 90° or 270° may be drawn.
        """
        degrees = [d for d in self.options.degrees if size[0] == size[1] or d % 180 == 0]
        if not degrees:
            raise RecipeError(
                f"augment: rotate90: images of {size[0]}×{size[1]} can be rotated by 0° and 180° only, "
                f"found {self.options.degrees}",
                hint="make the images square with inputs.size, or allow 0 or 180",
            )
        drawn = torch.randint(len(degrees), (count,), generator=generator)
        quarters = torch.tensor(degrees)[drawn] // 90
        cosine, sine = torch.tensor([[1.0, 0, -1, 0], [0, 1, 0, -1]])[:, quarters]
        nothing = torch.zeros(count)
        return torch.stack([cosine, -sine, nothing, sine, cosine, nothing], 1).view(count, 2, 3), size
