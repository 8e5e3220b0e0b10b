"""A small residual net for images of 8 to 128 pixels, designed for the best accuracy per second on a few CPU cores.

    stem     3×3 convolution to `width` channels, 2×2 max pooling, norm, ReLU
    narrow   the same to 2 `width`
    middle   3×3 convolution to 4 `width`, norm, ReLU; then `depth` − 1 residual units
    deep     2×2 max pooling, the same to 8 `width`
    pool     mean over the map

A residual unit adds batch norm and ReLU of a 3×3 convolution to its input (He et al. 2016, arXiv:1512.03385, with one
convolution per unit). On a CPU, a training step on small images spends much of its time on the large, narrow maps of the first
stages. Therefore the first two stages have one convolution each and pool before the norm, as in Jordan 2024 (arXiv:2404.00498):
norm and ReLU process a quarter of the values, which was 1.16 × the images a second of the other order (28×28, one Xeon thread,
one run each).
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from tellapart.errors import RecipeError
from tellapart.nets.base import GlobalPool, HeadedNet, Net, NetOptions, StagedNet, image_shape

_SMALLEST = 8  # minimum side in pixels: three halvings leave one pixel


class Quick(Net):
    """Small residual net: four stages of increasing width, sized by two options."""

    class Options(NetOptions):
        """Options of `net: quick`."""

        width: int = Field(
            default=16, ge=1, description="channels of the first stage; the other stages have 2, 4 and 8 times as many"
        )
        depth: int = Field(default=2, ge=1, description="number of 3×3 convolutions in each of the last two stages")
        dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout rate before the logits")

    @staticmethod
    def build(shape: tuple[int, ...], classes: int, options: Options) -> HeadedNet:
        """See the module.

        Raises:
            RecipeError: A side is shorter than 8 pixels, or the input is a feature vector.
        """
        channels, height, width = image_shape(shape, "quick")
        if min(height, width) < _SMALLEST:
            raise RecipeError(
                f"net: quick expects sides of at least {_SMALLEST} pixels, found {height}×{width} images",
                hint=f"set inputs.size to {_SMALLEST} or more, or use `net: mlp`",
            )
        w = options.width
        trunk = nn.Sequential(
            _narrow(channels, w),
            _narrow(w, 2 * w),
            _stage(2 * w, 4 * w, options.depth),
            nn.Sequential(nn.MaxPool2d(2), *_stage(4 * w, 8 * w, options.depth)),
            GlobalPool(),
        )
        dropout = [nn.Dropout(options.dropout)] if options.dropout else []
        return StagedNet(trunk, nn.Sequential(*dropout, nn.Linear(8 * w, classes)))


class Residual(nn.Module):
    """Residual unit, x + ReLU(norm(convolution(x))): (B, C, H, W) → the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.change = nn.Sequential(_convolution(channels, channels), nn.BatchNorm2d(channels), nn.ReLU(inplace=True))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W)."""
        return x_BCHW + self.change(x_BCHW)


def _narrow(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(_convolution(channels, width), nn.MaxPool2d(2), nn.BatchNorm2d(width), nn.ReLU(inplace=True))


def _stage(channels: int, width: int, depth: int) -> nn.Sequential:
    first = _convolution(channels, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
    return nn.Sequential(*first, *(Residual(width) for _ in range(depth - 1)))


def _convolution(channels: int, width: int) -> nn.Conv2d:
    return nn.Conv2d(channels, width, 3, padding=1, bias=False)
