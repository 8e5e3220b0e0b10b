"""The pixels themselves, flattened and scaled to [0, 1]."""

from __future__ import annotations

import numpy as np

from tellapart.features._contract import Descriptor


class Pixels(Descriptor):
    """D = H · W · C."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """images: (B, H, W, C) uint8 → (B, D) float32 in [0, 1]."""
        return images.reshape(len(images), -1).astype(np.float32) / 255
