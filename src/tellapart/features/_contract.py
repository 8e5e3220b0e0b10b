"""What a descriptor promises: uint8 images in, one float32 vector an image out."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from tellapart.recipe import Section


class Descriptor(ABC):
    """Turns images into vectors. One file each; the file name is the name in recipes."""

    class Options(Section):
        """Options of the descriptor."""

    def __init__(self, options: Section) -> None:
        self.options = options

    @abstractmethod
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """images: (B, H, W, C) uint8 → (B, D) float32, finite. Each row depends on its own image alone."""
