"""Linear filters along both axes, as one matrix per axis and image: blur, and downscaling followed by upscaling.

A (B, H, W) plane becomes rows @ plane @ columnsᵀ: two batched matrix products for any width of the filter, with a separate
filter for each image. At 100 px this takes 12 million multiplications per image of three channels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tellapart.augmentations._warp import to_bytes

Kernel = Callable[[Tensor], Tensor]


def filtered(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Filter a batch.

    Args:
        images: (B, C, H, W) uint8.
        rows: (B, H, H) float32, on the device of the images: output row from input rows.
        columns: (B, W, W) float32: output column from input columns.

    Returns:
        (B, C, H, W) uint8 in channels_last.
    """
    count, channels, height, width = images.shape
    pixels = images.permute(0, 2, 3, 1).float().reshape(count, height, -1)
    planes = torch.bmm(rows, pixels).view(count, height, width, channels).permute(0, 3, 1, 2).reshape(count, -1, width)
    return to_bytes(torch.bmm(planes, columns.transpose(1, 2)).view(count, channels, height, width))


def gaussian(side: int, sigma: Tensor) -> Tensor:
    """Gaussian blur along an axis of `side` pixels, reflected at its ends: sigma (B,) pixels → (B, side, side)."""
    here = torch.arange(side, device=sigma.device)
    steps = torch.arange(max(2 * side - 1, 1), device=sigma.device).float()
    exponent = -0.5 * (steps / sigma[:, None]).square()
    # 0 beyond five sigma: the denormal numbers there would make the products ten times as slow
    bell = exponent.clamp(min=-12.5).exp() * (exponent >= -12.5)
    inner = (here > 0) & (here < side - 1)  # the end pixels are not doubled
    weights = bell[:, (here[:, None] - here).abs()]
    for mirrored in (here[:, None] + here, 2 * (side - 1) - here[:, None] - here):
        weights += bell[:, mirrored] * inner
    return weights / weights.sum(2, keepdim=True)


def downscale_upscale(side: int, small: Tensor, kernels: tuple[str, str]) -> Tensor:
    """Shrink `side` pixels to `small` (B,) with one kernel and enlarge with another: (B, side, side) float32."""
    whole = torch.full_like(small, side)
    down = _weights(whole, small, side, side, *KERNELS[kernels[0]])
    up = _weights(small, whole, side, side, *KERNELS[kernels[1]])
    return up @ down


def _weights(before: Tensor, after: Tensor, columns: int, rows: int, kernel: Kernel, support: float) -> Tensor:
    """(B, rows, columns): output pixel from input pixels, for axes of `before` and `after` (B,) pixels."""
    ratio = (before / after)[:, None, None]
    widened = ratio.clamp(min=1)
    inputs = torch.arange(columns, device=before.device) + 0.5
    centers = (torch.arange(rows, device=before.device)[:, None] + 0.5) * ratio
    distance = (inputs - centers) / widened
    weights = kernel(distance).masked_fill((distance.abs() > support) | (inputs > before[:, None, None]), 0)
    total = weights.sum(2, keepdim=True)
    return weights / torch.where(total == 0, 1, total)


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)


def _cubic(x: Tensor) -> Tensor:
    """Cubic kernel of Keys 1981 with a = −0.5, as in Pillow."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, far).masked_fill(x >= 2, 0)


def _lanczos(x: Tensor) -> Tensor:
    return torch.sinc(x) * torch.sinc(x / 3)


def _box(x: Tensor) -> Tensor:
    return ((x > -0.5) & (x <= 0.5)).float()


#: Name → (kernel, support), as the filters of these names in Pillow; `box` averages areas when downscaling and repeats pixels
#: when upscaling.
KERNELS: dict[str, tuple[Kernel, float]] = {
    "box": (_box, 0.5),
    "bilinear": (_triangle, 1.0),
    "bicubic": (_cubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}
