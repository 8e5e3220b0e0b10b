"""One of five crops of each image, drawn uniformly: the four corners and the center.

Krizhevsky et al. 2012 average the predictions of a net over them; here, one of them is used for training.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations._warp import Size, check_window, to_windows
from tellapart.augmentations.base import Geometry
from tellapart.recipe.schema import OptionsModel


class FiveCrop(Geometry):
    """Five-crop. The net is trained on images of the window's size; inside `union`, `one_of` and `compose`, windows are
    enlarged.
    """

    class Options(OptionsModel):
        """Options of `five_crop`."""

        size: int = Field(ge=1, description="side of the window, in pixels; at most that of the image")

    exact: ClassVar[bool] = True
    options: Options

    def draw(self, count: int, size: Size, generator: torch.Generator) -> tuple[Tensor, Size]:
        """Return matrices (count, 2, 3) and the size of the window.

        Raises:
            RecipeError: The window is larger than the images.
        """
        window = check_window("five_crop", self.options.size, size)
        last = torch.tensor([size[0] - window[0], size[1] - window[1]])
        starts = torch.stack([last * 0, last * torch.tensor([0, 1]), last * torch.tensor([1, 0]), last, last // 2])
        tops, lefts = starts[torch.randint(5, (count,), generator=generator)].unbind(1)
        return to_windows(tops, lefts, window, size), window
