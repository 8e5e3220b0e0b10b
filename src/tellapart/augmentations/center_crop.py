"""Center crop of each image."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations._warp import Size, check_window, to_windows
from tellapart.augmentations.base import Geometry
from tellapart.recipe.schema import OptionsModel


class CenterCrop(Geometry):
    """Center crop. The window is always the same, so it is useful inside `union` or `one_of`; there it is enlarged."""

    class Options(OptionsModel):
        """Options of `center_crop`."""

        size: int = Field(ge=1, description="side of the window, in pixels; at most that of the image")

    exact: ClassVar[bool] = True
    options: Options

    def draw(self, count: int, size: Size, generator: torch.Generator) -> tuple[Tensor, Size]:
        """Return matrices (count, 2, 3) and the size of the window.

        Raises:
            RecipeError: The window is larger than the images.
        """
        window = check_window("center_crop", self.options.size, size)
        tops, lefts = (torch.full((count,), (side - w) // 2) for side, w in zip(size, window, strict=True))
        return to_windows(tops, lefts, window, size), window
