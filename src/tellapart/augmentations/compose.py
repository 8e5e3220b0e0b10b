"""Several augmentations one after another, for some of the images."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations.base import RandomApply, Steps


class Compose(RandomApply):
    """For `one_of`, and to let a chain happen or not as a whole. Windows are enlarged to the size that went in."""

    class Options(RandomApply.Options):
        """Options of `compose`."""

        of: list[dict[str, Any]] = Field(description="augmentations, one {name: options} each, in order")
        probability: float = Field(default=1.0, ge=0, le=1, description="share of the images that are changed")

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._steps = Steps.within(options.of, "compose")

    def change(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """images: (K, C, H, W) uint8 → the same shape."""
        return self._steps.same_size(images, generator)
