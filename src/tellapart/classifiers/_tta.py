"""Test-time augmentation: the views of an image whose probabilities are averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

_CLOSE = 7 / 8  # side of the windows of `five crops` and `closer`, as a fraction; `farther` shows 1 / this

View = Callable[[Tensor], Tensor]


def views(names: Sequence[str]) -> list[View]:
    """The functions of the named views, (B, C, H, W) uint8 → the same shape and dtype; `five crops` gives five functions."""
    return [view for name in names for view in _VIEWS[name]]


def _window(down: float, right: float) -> View:
    """A window of 7/8 of each side, at a relative position in [0, 1], resampled to the size of the image."""

    def view(images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        window_height, window_width = max(round(height * _CLOSE), 1), max(round(width * _CLOSE), 1)
        top, left = round((height - window_height) * down), round((width - window_width) * right)
        return _resample(images[:, :, top : top + window_height, left : left + window_width], (height, width))

    return view


def _farther(images: Tensor) -> Tensor:
    """The image with a reflected border of 1/14 on each side, resampled to the size of the image."""
    height, width = images.shape[2:]
    down, right = (min(round((side / _CLOSE - side) / 2), side - 1) for side in (height, width))
    padded = F.pad(images.float(), (right, right, down, down), mode="reflect")
    return _resample(padded, (height, width))


def _resample(images: Tensor, size: tuple[int, int]) -> Tensor:
    resized = F.interpolate(images.float(), size, mode="bilinear", antialias=True, align_corners=False)
    return resized.round_().clamp_(0, 255).to(torch.uint8).contiguous(memory_format=torch.channels_last)


_VIEWS: dict[str, list[View]] = {
    "as is": [lambda images: images],
    "flip": [lambda images: images.flip(3)],
    "upside down": [lambda images: images.flip(2)],
    "turned": [lambda images: images.flip((2, 3))],
    "five crops": [_window(0, 0), _window(0, 1), _window(1, 0), _window(1, 1), _window(0.5, 0.5)],
    "closer": [_window(0.5, 0.5)],
    "farther": [_farther],
}
