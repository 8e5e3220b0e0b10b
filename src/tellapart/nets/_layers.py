"""Layers that several architectures share: random geometry of feature maps, a convolution with its norm, the check of sizes.

The random layers act in training only and draw from torch's global generator, on the device of the maps, as dropout does.
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
_LARGEST = 1024  # side up to which the least size that a net takes is looked for


class RandomFlip(nn.Module):
    """Mirror each map of a batch with probability 1/2, left-right, upside down, or each of both; training only."""

    def __init__(self, how: Flips) -> None:
        super().__init__()
        self.axes = {"none": (), "horizontal": (3,), "vertical": (2,), "both": (2, 3)}[how]

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) → the same shape."""
        if not self.training:
            return x_BCHW
        for axis in self.axes:
            tossed = torch.rand(len(x_BCHW), 1, 1, 1, device=x_BCHW.device) < 0.5
            x_BCHW = torch.where(tossed, x_BCHW.flip(axis), x_BCHW)
        return x_BCHW

    def extra_repr(self) -> str:
        """The axes."""
        return f"axes={self.axes}"


class RandomRotation(nn.Module):
    """Turn each map of a batch about its middle by an angle uniform in ±`degrees`; training only.

    Bilinear samples; what lies outside the map is the map reflected, so that no edge of zeros appears.
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
    """Maps turned about their middle, counter-clockwise, in pixels of equal sides: oblong maps are not sheared.

    Args:
        x_BCHW: (B, C, H, W), any float type.
        angle: (B,) float32, radians.
    """
    height, width = x_BCHW.shape[2:]
    cosine, sine, nothing = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # from a place of the output to one of the input, both in half sides from the middle, y downwards
    rows = (cosine, -sine * height / width, nothing, sine * width / height, cosine, nothing)
    matrices = torch.stack(rows, 1).view(-1, 2, 3)
    grid = F.affine_grid(matrices, list(x_BCHW.shape), align_corners=False)
    # float32 even under autocast: bfloat16 places a sample of a 64-pixel map no better than to a quarter of a pixel
    turned = F.grid_sample(x_BCHW.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return turned.to(x_BCHW.dtype)


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
    """Convolutions from a normal distribution of variance 2 / fan-out, biases 0 (He et al. 2015, arXiv 1502.01852, §2.2)."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def measured_width(trunk: nn.Sequential, shape: tuple[int, int, int], net: str) -> int:
    """Length D of the vectors that a trunk gives for images of `shape` (C, H, W).

    Raises:
        RecipeError: A map would shrink to nothing, or more than one pooling or stride would act on a map of 1×1; names the
            size of the images and the least square that the net takes.
    """
    channels, height, width = shape
    found = _width_or_none(trunk, shape)
    if found is not None:
        return found
    least = _least_side(trunk, channels)
    needs = f"it needs at least {least}×{least}" if least else f"so are all up to {_LARGEST}×{_LARGEST}"
    raise RecipeError(
        f"net: {net}: {height}×{width} images are too small for its poolings and strides: {needs}",
        hint="set a larger inputs.size, or give the net fewer stages or less pooling",
    )


def _width_or_none(trunk: nn.Sequential, shape: tuple[int, int, int]) -> int | None:
    """None where the maps of such images shrink too far."""
    pixels: list[Tensor] = []  # single ones that something halves; branches side by side, such as a shortcut, halve the same

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
    """Side of the smallest square image whose maps never shrink too far."""
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
