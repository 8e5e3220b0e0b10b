"""Several augmentations in sequence, applied to some of the images."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations.base import RandomApply, Steps


class Compose(RandomApply):
    """Sequence of augmentations, as an entry of `one_of`, or applied as a whole or not at all. Windows are enlarged to the
    input size.
    """

    class Options(RandomApply.Options):
        """Options of `compose`."""

        of: list[dict[str, Any]] = Field(description="augmentations in order, each as {name: options}")
        probability: float = Field(default=1.0, ge=0, le=1, description="fraction of the images that are changed")

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._steps = Steps.within(options.of, "compose")

    def change(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Apply to all given images: (K, C, H, W) uint8 → the same shape."""
        return self._steps.same_size(images, generator)
