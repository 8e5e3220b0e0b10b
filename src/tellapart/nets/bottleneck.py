"""A residual net whose stages multiply the channels by four, with 1×1, 3×3, 1×1 bottleneck blocks.

The blocks are those of He et al. 2016, "Deep residual learning for image recognition", arXiv 1512.03385, figure 5, with batch
norm after the ReLU instead of before it, no ReLU after the sum, and identity shortcuts throughout, because a 1×1 convolution
before the blocks of a stage changes the width. `share_blocks` repeats one block instead of stacking several: the second pass
uses the weights and the batch norm of the first. All layers keep PyTorch's initialization.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from tellapart.nets._layers import measured_width
from tellapart.nets.base import GlobalPool, HeadedNet, Net, NetOptions, StagedNet, image_shape


class Bottleneck(Net):
    """Residual net of bottlenecks: stem, stages, 1×1 convolution, average pooling, linear, dropout, logits."""

    class Options(NetOptions):
        """Options of `net: bottleneck`."""

        depth: int = Field(default=16, ge=1, description="channels of the stem, a 7×7 convolution with stride 2")
        expansion: int = Field(
            default=4,
            ge=1,
            description="factor by which each stage multiplies the channels; inside its blocks they are not multiplied",
        )
        stages: int = Field(default=3, ge=1, description="number of stages")
        blocks: int = Field(default=2, ge=1, description="number of residual blocks per stage")
        share_blocks: bool = Field(
            default=False, description="share the weights of all blocks of a stage: apply one block repeatedly"
        )
        pool: int = Field(default=2, ge=1, description="side and stride of the max pooling between stages; 1: none")
        last: int = Field(default=4096, ge=1, description="channels of the 1×1 convolution after the stages")
        hidden: int = Field(default=1024, ge=1, description="units of the linear layer before the logits")
        dropout: float = Field(default=0.3, ge=0, lt=1, description="dropout rate between that layer and the logits")

    @staticmethod
    def build(shape: tuple[int, ...], classes: int, options: Options) -> HeadedNet:
        """See the class.

        Raises:
            RecipeError: The input is too small for the strides.
        """
        shape = image_shape(shape, "bottleneck")
        channels = options.depth
        trunk = nn.Sequential(_conv(shape[0], channels, 7, stride=2))
        for index in range(options.stages):
            trunk.append(_stage(channels, options, pool=options.pool if index else 1))
            channels *= options.expansion
        trunk.append(nn.Sequential(_conv(channels, options.last), GlobalPool()))
        width = measured_width(trunk, shape, "bottleneck")
        head = nn.Sequential(nn.Linear(width, options.hidden), nn.Dropout(options.dropout), nn.Linear(options.hidden, classes))
        return StagedNet(trunk, head)


class _Block(nn.Module):
    """Bottleneck block, x + (1×1 to `narrow` channels, 3×3, 1×1 back), applied `passes` times with the same weights."""

    def __init__(self, wide: int, narrow: int, passes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_conv(wide, narrow), _conv(narrow, narrow, 3), _conv(narrow, wide))
        self.passes = passes

    def forward(self, x_BCHW: Tensor) -> Tensor:
        for _ in range(self.passes):
            x_BCHW = x_BCHW + self.layers(x_BCHW)
        return x_BCHW


def _stage(channels: int, options: Bottleneck.Options, pool: int) -> nn.Sequential:
    wide = channels * options.expansion
    count, passes = (1, options.blocks) if options.share_blocks else (options.blocks, 1)
    stage = nn.Sequential(_conv(channels, wide), *(_Block(wide, channels, passes) for _ in range(count)))
    return stage if pool == 1 else nn.Sequential(nn.MaxPool2d(pool), *stage)


def _conv(channels: int, width: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
    """Convolution with biases, ReLU, batch norm: biases have an effect because ReLU comes before the batch norm."""
    convolution = nn.Conv2d(channels, width, kernel, stride, kernel // 2)
    return nn.Sequential(convolution, nn.ReLU(inplace=True), nn.BatchNorm2d(width))
