"""Shared parts of several architectures: random flips and rotations of feature maps, convolution with batch norm, size checks.

The random layers act only in training and draw from torch's global generator, on the device of the maps, as dropout does.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from tellapart.errors import RecipeError
from tellapart.nets.base import backbone_width

Flips = Literal["none", "horizontal", "vertical", "both"]
_LARGEST = 1024  # side up to which the minimum size of a net is searched


class RandomFlip(nn.Module):
    """Flip each map of a batch with probability 1/2, left-right, upside down, or both independently; only in training."""

    def __init__(self, how: Flips) -> None:
        super().__init__()
        self.axes = {"none": (), "horizontal": (3,), "vertical": (2,), "both": (2, 3)}[how]

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) → the same shape."""
        if not self.training:
            return x_BCHW
        for axis in self.axes:
            flipped = torch.rand(len(x_BCHW), 1, 1, 1, device=x_BCHW.device) < 0.5
            x_BCHW = torch.where(flipped, x_BCHW.flip(axis), x_BCHW)
        return x_BCHW

    def extra_repr(self) -> str:
        """The axes."""
        return f"axes={self.axes}"


class RandomRotation(nn.Module):
    """Rotate each map of a batch about its center by an angle uniform in ±`degrees`; only in training.

    Bilinear sampling with reflection padding, so no edge of zeros appears.
    """

    def __init__(self, degrees: float) -> None:
        super().__init__()
        self.degrees = degrees

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) → the same shape and type."""
        if not self.training:
            return x_BCHW
        angle = (torch.rand(len(x_BCHW), device=x_BCHW.device) * 2 - 1) * math.radians(self.degrees)
        return rotated(x_BCHW, angle)

    def extra_repr(self) -> str:
        """The largest angle."""
        return f"degrees={self.degrees}"


def rotated(x_BCHW: Tensor, angle: Tensor) -> Tensor:
    """Rotate maps counter-clockwise about their center, in pixel units: oblong maps are not sheared.

    Args:
        x_BCHW: (B, C, H, W), any float type.
        angle: (B,) float32, radians.
    """
    height, width = x_BCHW.shape[2:]
    cosine, sine, nothing = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # from a position of the output to one of the input, both in half sides from the center, y downwards
    rows = (cosine, -sine * height / width, nothing, sine * width / height, cosine, nothing)
    matrices = torch.stack(rows, 1).view(-1, 2, 3)
    grid = F.affine_grid(matrices, list(x_BCHW.shape), align_corners=False)
    # float32 even under autocast: bfloat16 resolves positions in a 64-pixel map only to a quarter of a pixel
    sampled = F.grid_sample(x_BCHW.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return sampled.to(x_BCHW.dtype)


def conv_norm(
    channels: int,
    width: int,
    kernel: int | tuple[int, int],
    stride: int = 1,
    padding: int | tuple[int, int] = 0,
    *,
    relu: bool = True,
    eps: float = 1e-5,
) -> nn.Sequential:
    """Convolution without biases, batch norm, ReLU."""
    layers: list[nn.Module] = [nn.Conv2d(channels, width, kernel, stride, padding, bias=False), nn.BatchNorm2d(width, eps=eps)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


def he_normal(net: nn.Module) -> None:
    """Initialize convolutions: normal, variance 2 / fan-out, biases 0 (He et al. 2015, arXiv 1502.01852, §2.2)."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def measured_width(trunk: nn.Sequential, shape: tuple[int, int, int], net: str) -> int:
    """Width D of the output of a backbone for images of `shape` (C, H, W); checks that the images are large enough.

    Raises:
        RecipeError: A map would shrink to nothing, or more than one pooling or stride would act on a map of 1×1; the message
            states the size of the images and the minimum size of the net.
    """
    channels, height, width = shape
    found = _width_or_none(trunk, shape)
    if found is not None:
        return found
    least = _least_side(trunk, channels)
    needs = f"it needs at least {least}×{least}" if least else f"images up to {_LARGEST}×{_LARGEST} are too small too"
    raise RecipeError(
        f"net: {net}: {height}×{width} images are too small for its poolings and strides: {needs}",
        hint="set a larger inputs.size, or give the net fewer stages or less pooling",
    )


def _width_or_none(trunk: nn.Sequential, shape: tuple[int, int, int]) -> int | None:
    """Width of the output; None if the maps of such images shrink too far."""
    pixels: list[Tensor] = []  # 1×1 maps that a layer halves; parallel branches, such as a shortcut, halve the same map

    def note(layer: Any, inputs: tuple[Tensor, ...]) -> None:
        alone = layer.stride not in (1, (1, 1)) and inputs[0].shape[2:] == (1, 1)
        if alone and not any(inputs[0] is pixel for pixel in pixels):
            pixels.append(inputs[0])

    shrinking = [m for m in trunk.modules() if isinstance(m, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d)]
    hooks: list[RemovableHandle] = [module.register_forward_pre_hook(note) for module in shrinking]
    try:
        width = backbone_width(trunk, shape)
    except RecipeError:
        return None
    finally:
        for hook in hooks:
            hook.remove()
    return width if len(pixels) <= 1 else None


def _least_side(trunk: nn.Sequential, channels: int) -> int | None:
    """Side of the smallest square image whose maps do not shrink too far."""
    high = 1
    while _width_or_none(trunk, (channels, high, high)) is None:
        high *= 2
        if high > _LARGEST:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _width_or_none(trunk, (channels, middle, middle)) is not None else (middle, high)
    return high
