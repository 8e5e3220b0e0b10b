"""Windows of images as matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from tellapart.augmentations.base import Size
from tellapart.errors import RecipeError


def to_windows(tops: Tensor, lefts: Tensor, window: Size, size: Size) -> Tensor:
    """Matrices (B, 2, 3) that cut windows out of images of `size`.

    Args:
        tops: (B,) first row of each.
        lefts: (B,) first column of each.
        window: Height and width of the window.
        size: Height and width of the images.
    """
    matrices = torch.eye(2, 3).repeat(len(tops), 1, 1)
    matrices[:, 0, 2] = lefts + (window[1] - size[1]) / 2
    matrices[:, 1, 2] = tops + (window[0] - size[0]) / 2
    return matrices


def check_window(name: str, side: int, size: Size) -> Size:
    """Height and width of a square window.

    Raises:
        RecipeError: It is larger than the images.
    """
    if side > min(size):
        raise RecipeError(
            f"augment: {name}: expected a window no larger than the images, found {side}×{side} for images of "
            f"{size[0]}×{size[1]}",
            hint=f"at most {min(size)}, or larger images with inputs.size",
        )
    return side, side
