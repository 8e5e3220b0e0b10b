"""Union of the training set and augmented versions of it: an epoch contains each image once in every version."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations import _warp
from tellapart.augmentations.base import Steps, UnionAugmentation
from tellapart.recipe.schema import OptionsModel


class Union(UnionAugmentation):
    """Union of versions, in a recipe also as a list: `union: [[], [{flip: {}}]]` is the set and a version with random flips.

    Must be the first entry; later entries apply to all versions. Windows are enlarged to the input size.
    """

    class Options(OptionsModel):
        """Options of `union`."""

        of: list[list[dict[str, Any]]] = Field(
            min_length=1, description="versions, each a list of {name: options}; [] is the unchanged image"
        )

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._made = [Steps.within(entries, "union") for entries in options.of]
        self.versions = len(self._made)

    def __call__(self, images: Tensor, generator: torch.Generator, versions: Tensor | None = None) -> Tensor:
        """Augment images, (B, C, H, W) uint8; versions: (B,) int64, version of each image; None: drawn uniformly."""
        if versions is None:
            versions = torch.randint(self.versions, (len(images),), generator=generator)
        return _warp.by_group(images, versions.cpu(), [steps.same_size for steps in self._made], generator)
