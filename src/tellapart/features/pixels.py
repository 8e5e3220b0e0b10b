"""The pixels themselves, flattened."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tellapart.features.base import Descriptor
from tellapart.recipe.schema import OptionsModel


class Pixels(Descriptor):
    """Flattened pixels: D = H · W · C."""

    class Options(OptionsModel):
        """Options of `pixels`."""

        unit: bool = Field(default=True, description="scale to [0, 1]; false: keep 0 … 255")

    options: Options
    stored = False

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """images: (B, H, W, C) uint8 → (B, D) float32 in [0, 1], or integers in 0 … 255."""
        pixels = images.reshape(len(images), int(np.prod(images.shape[1:]))).astype(np.float32)
        return pixels / 255 if self.options.unit else pixels
