"""One of several augmentations, drawn uniformly for each image."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations import _warp
from tellapart.augmentations.base import Augmentation, Steps
from tellapart.recipe.schema import OptionsModel


class OneOf(Augmentation):
    """Random choice, in a recipe also as a list: `one_of: [{rotate90: {}}, {flip: {}}]`. Windows are enlarged to the input
    size.
    """

    class Options(OptionsModel):
        """Options of `one_of`."""

        of: list[dict[str, Any]] = Field(
            min_length=1, description="augmentations to choose from, each as {name: options}; use compose to group several"
        )

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._choices = [Steps.within([entry], "one_of") for entry in options.of]

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augment a batch: (B, C, H, W) uint8 → the same shape."""
        chosen = torch.randint(len(self._choices), (len(images),), generator=generator)
        return _warp.by_group(images, chosen, [steps.same_size for steps in self._choices], generator)
