"""One of several augmentations for each image, drawn evenly."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations import _warp
from tellapart.augmentations.base import Augmentation, Steps
from tellapart.recipe.schema import OptionsModel


class OneOf(Augmentation):
    """In a recipe also as a list: `one_of: [{rotate90: {}}, {flip: {}}]`. Windows are enlarged to the size that went in."""

    class Options(OptionsModel):
        """Options of `one_of`."""

        of: list[dict[str, Any]] = Field(
            min_length=1, description="augmentations to choose from, one {name: options} each; several as one: compose"
        )

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._choices = [Steps.within([entry], "one_of") for entry in options.of]

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """images: (B, C, H, W) uint8 → the same shape."""
        chosen = torch.randint(len(self._choices), (len(images),), generator=generator)
        return _warp.by_group(images, chosen, [steps.same_size for steps in self._choices], generator)
