"""The fourteen operations of RandAugment and TrivialAugment, on batches, with a strength for each image.

The definitions are those of torchvision 0.29, `transforms/autoaugment.py`, on uint8 tensors: the same formulas in the same
order, nearest pixels, black outside the image, and values cut off instead of rounded where torchvision cuts them off. Two
things differ by rounding errors, so that a level or a pixel halfway between two may differ: the mean luma of `contrast` is
exact, and positions are computed without a matrix product.

Each operation takes images (K, C, H, W) uint8 in channels_last, which may be overwritten, and strengths (K,) float64, both on
one device, and returns images of the same shape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tellapart.augmentations import _warp

Operation = Callable[[Tensor, Tensor], Tensor]
_LUMA = (0.2989, 0.587, 0.114)  # torchvision's; they add up to 0.9999, so white has a luma of 254


@dataclass(frozen=True)
class Strengths:
    """The strengths of one operation.

    Attributes:
        values: (bins,) float64, the weakest first; (1,) for an operation without a strength.
        signed: Whether half of the images get the negative strength.
    """

    values: Tensor
    signed: bool = False


def strengths(bins: int, ends: dict[str, float], shift: tuple[float, float], posterize: int) -> dict[str, Strengths]:
    """The strengths of all operations, in torchvision's order.

    Args:
        bins: Number of strengths per operation.
        ends: Strongest values of `shear`, `rotate` (degrees) and `enhance`, the change of a factor.
        shift: Longest shifts to the right and down, in pixels.
        posterize: Number of bits that the strongest `posterize` removes.
    """
    bits = 8 - (torch.arange(bins) / ((bins - 1) / posterize)).round()
    to = {
        "shear_x": ends["shear"], "shear_y": ends["shear"], "translate_x": shift[0], "translate_y": shift[1],
        "rotate": ends["rotate"], **dict.fromkeys(("brightness", "color", "contrast", "sharpness"), ends["enhance"]),
    }  # fmt: skip
    none = Strengths(torch.zeros(1, dtype=torch.float64))
    return {
        "identity": none,
        # float32 first, as in torchvision: a shift of 5.9999999 pixels is one of 5
        **{name: Strengths(torch.linspace(0, end, bins).double(), signed=True) for name, end in to.items()},
        "posterize": Strengths(bits.double()),
        "solarize": Strengths(torch.linspace(255, 0, bins).double()),
        "autocontrast": none,
        "equalize": none,
    }


def draw_and_apply(images: Tensor, space: dict[str, Strengths], magnitudes: Tensor, generator: torch.Generator) -> Tensor:
    """Apply to each image one operation of `space`, drawn uniformly, with the sign of its strength.

    Args:
        images: (B, C, H, W) uint8, not modified in place.
        space: From `strengths`.
        magnitudes: (B,) int64 on the CPU, 0 … bins − 1.
        generator: Random generator on the CPU.

    Returns:
        (B, C, H, W) uint8 in channels_last.
    """
    chosen = torch.randint(len(space), (len(images),), generator=generator)
    signs = torch.randint(2, (len(images),), generator=generator) * -2.0 + 1
    out = images.clone(memory_format=torch.channels_last)
    for number, (name, known) in enumerate(space.items()):
        rows = (chosen == number).nonzero()[:, 0]
        if not len(rows) or name == "identity":
            continue
        strength = known.values[magnitudes[rows].clamp(max=len(known.values) - 1)]
        strength = strength * signs[rows] if known.signed else strength
        changed = OPERATIONS[name](_warp.take(images, rows), strength.to(images.device))
        out.index_copy_(0, rows.to(images.device), changed)
    return out


# --- geometry ---------------------------------------------------------------------------------------------------------


def _shear_x(images: Tensor, strength: Tensor) -> Tensor:
    one, zero = torch.ones_like(strength), torch.zeros_like(strength)
    return _moved(images, [one, strength, strength * images.shape[2] / 2], [zero, one, zero])


def _shear_y(images: Tensor, strength: Tensor) -> Tensor:
    one, zero = torch.ones_like(strength), torch.zeros_like(strength)
    return _moved(images, [one, zero, zero], [strength, one, strength * images.shape[3] / 2])


def _translate_x(images: Tensor, strength: Tensor) -> Tensor:
    one, zero = torch.ones_like(strength), torch.zeros_like(strength)
    return _moved(images, [one, zero, -strength.trunc()], [zero, one, zero])


def _translate_y(images: Tensor, strength: Tensor) -> Tensor:
    one, zero = torch.ones_like(strength), torch.zeros_like(strength)
    return _moved(images, [one, zero, zero], [zero, one, -strength.trunc()])


def _rotate(images: Tensor, strength: Tensor) -> Tensor:
    cosine, sine, zero = strength.deg2rad().cos(), strength.deg2rad().sin(), torch.zeros_like(strength)
    return _moved(images, [cosine, -sine, zero], [sine, cosine, zero])


def _moved(images: Tensor, to_x: list[Tensor], to_y: list[Tensor]) -> Tensor:
    """Take the nearest pixels at x = to_x · (x, y, 1) and y = to_y · (x, y, 1), both from the center; outside, black."""
    height, width = images.shape[2:]
    xs, ys = (torch.arange(side, device=images.device) - (side - 1) / 2 for side in (width, height))
    here = torch.stack([xs.expand(height, -1), ys[:, None].expand(-1, width), torch.ones_like(xs).expand(height, -1)], 2)
    rows = [torch.stack(row, 1).float() / (0.5 * side) for row, side in ((to_x, width), (to_y, height))]
    # the matrix product of torchvision: its last bit decides about a pixel halfway between two
    grid = (here.view(1, -1, 3).expand(len(images), -1, -1) @ torch.stack(rows, 2)).view(-1, height, width, 2)
    moved = F.grid_sample(images.float(), grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return moved.to(torch.uint8, memory_format=torch.channels_last)


# --- colors -----------------------------------------------------------------------------------------------------------


def _brightness(images: Tensor, strength: Tensor) -> Tensor:
    return _blend(images, torch.zeros((), device=images.device), strength)


def _color(images: Tensor, strength: Tensor) -> Tensor:
    return images if images.shape[1] == 1 else _blend(images, _luma(images).float(), strength)


def _contrast(images: Tensor, strength: Tensor) -> Tensor:
    luma = _luma(images)
    mean = luma.sum((1, 2, 3), keepdim=True, dtype=torch.int64).double() / (luma.shape[2] * luma.shape[3])
    return _blend(images, mean.float(), strength)


def _sharpness(images: Tensor, strength: Tensor) -> Tensor:
    """Blend with a blurred image: ones around a five, divided by their sum; the outermost pixels stay."""
    if min(images.shape[2:]) <= 2:
        return images
    whole = images.short()
    down = whole[:, :, :-2] + whole[:, :, 1:-1] + whole[:, :, 2:]
    around = down[..., :-2] + down[..., 1:-1] + down[..., 2:]
    blurred = images.float()
    blurred[:, :, 1:-1, 1:-1] = ((around + 4 * whole[:, :, 1:-1, 1:-1]) / 13).round()
    return _blend(images, blurred, strength)


def _blend(images: Tensor, other: Tensor, strength: Tensor) -> Tensor:
    """factor · images + (1 − factor) · other, where factor = 1 + strength, clipped and cut off."""
    factor = (1 + strength)[:, None, None, None]
    mixed = factor.float() * images + (1 - factor).float() * other
    return mixed.clamp_(0, 255).to(torch.uint8)


def _luma(images: Tensor) -> Tensor:
    """(K, 1, H, W) uint8."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)
    return (_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue).to(torch.uint8)[:, None]


# --- values -----------------------------------------------------------------------------------------------------------


def _posterize(images: Tensor, strength: Tensor) -> Tensor:
    masks = (256 - 2 ** (8 - strength)).to(torch.uint8)
    return images & masks[:, None, None, None]


def _solarize(images: Tensor, strength: Tensor) -> Tensor:
    return torch.where(images >= strength.float()[:, None, None, None], 255 - images, images)


def _autocontrast(images: Tensor, strength: Tensor) -> Tensor:
    del strength
    low, high = (f((2, 3), keepdim=True).float() for f in (images.amin, images.amax))
    flat = low == high
    scale = torch.where(flat, 1.0, 255 / (high - low))
    return ((images - low.masked_fill(flat, 0)) * scale).clamp_(0, 255).to(torch.uint8)


def _equalize(images: Tensor, strength: Tensor) -> Tensor:
    """Map the values of each channel so that they are about equally frequent."""
    del strength
    count, channels, height, width = images.shape
    planes = count * channels
    # values of plane p are p · 256 … p · 256 + 255
    values = images.permute(0, 2, 3, 1).reshape(count, -1, channels).int()
    values += (torch.arange(planes, device=images.device, dtype=torch.int32) * 256).view(count, 1, channels)
    histogram = torch.bincount(values.reshape(-1), minlength=256 * planes).view(planes, 256)
    highest = images.amax((2, 3)).long().view(planes, 1)
    step = (height * width - histogram.gather(1, highest)) // 255
    before = histogram.cumsum(1) - histogram
    table = ((before + step // 2) // step.clamp(min=1)).clamp_(0, 255)
    same = torch.arange(256, device=images.device).expand(planes, -1)
    table = torch.where(step == 0, same, table).to(torch.uint8)
    return table.view(-1).index_select(0, values.reshape(-1)).view(count, height, width, channels).permute(0, 3, 1, 2)


OPERATIONS: dict[str, Operation] = {
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
    "rotate": _rotate,
    "brightness": _brightness,
    "color": _color,
    "contrast": _contrast,
    "sharpness": _sharpness,
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
}
