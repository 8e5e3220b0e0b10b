"""Quarter turns: exact, no pixel is resampled."""

from __future__ import annotations

import torch
from torch import Tensor

from tellapart.augment._contract import Augmentation


class Turn(Augmentation):
    """0°, 90°, 180° or 270° each; images that are not square get 0° or 180°."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """images: (B, C, H, W) uint8 → the same shape."""
        quarters = torch.randint(4, (len(images), 1, 1, 1), generator=generator)
        turned = torch.where(quarters >= 2, images.flip((2, 3)), images)
        if images.shape[2] != images.shape[3]:
            return turned
        return torch.where(quarters % 2 == 1, turned.rot90(1, (2, 3)), turned)
