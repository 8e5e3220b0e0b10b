"""The pixels themselves, flattened."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from tellapart.features.base import Descriptor
from tellapart.recipe.schema import OptionsModel


class Pixels(Descriptor):
    """D = H · W · C."""

    class Options(OptionsModel):
        """Options of `pixels`."""

        unit: bool = Field(default=True, description="to [0, 1]; false: 0 … 255 as they are")

    options: Options

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """images: (B, H, W, C) uint8 → (B, D) float32 in [0, 1], or whole numbers in [0, 255]."""
        pixels = images.reshape(len(images), int(np.prod(images.shape[1:]))).astype(np.float32)
        return pixels / 255 if self.options.unit else pixels
