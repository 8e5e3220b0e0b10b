"""Residual nets for small images: a 3×3 stem without pooling instead of a 7×7 one with pooling.

He, Zhang, Ren and Sun 2016, "Deep residual learning for image recognition", arXiv 1512.03385. Depths 20, 32, 44 and 56 are
those of its section 4.2: 6n + 2 layers, three stages of n blocks with 16, 32 and 64 channels, shortcuts without parameters
(option A: every second pixel, new channels are 0). Depth 18 has the blocks of its table 1, two each with 64, 128, 256 and 512
channels, and 1×1 convolutions where the size changes (option B), as is usual for 32×32 images. Convolutions are initialized as
in He et al. 2015; no batch norm is initialized to zero.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from tellapart.nets._layers import conv_norm, he_normal, measured_width
from tellapart.nets.base import GlobalPool, HeadedNet, Net, NetOptions, StagedNet, image_shape

#: Depth → channels and number of blocks of each stage.
_STAGES = {18: ((64, 2), (128, 2), (256, 2), (512, 2))} | {
    6 * n + 2: ((16, n), (32, n), (64, n)) for n in (3, 5, 7, 9)
}  # fmt: skip


class ResNetCifar(Net):
    """ResNet for small images: stem, stages of residual blocks, average pooling, logits."""

    class Options(NetOptions):
        """Options of `net: resnet_cifar`."""

        depth: Literal[18, 20, 32, 44, 56] = Field(
            default=20, description="number of layers with weights; 18: stages of 64 to 512 channels; other depths: 16 to 64"
        )

    @staticmethod
    def build(shape: tuple[int, ...], classes: int, options: Options) -> HeadedNet:
        """See the class.

        Raises:
            RecipeError: The input is too small for the strides.
        """
        shape = image_shape(shape, "resnet_cifar")
        stages = _STAGES[options.depth]
        channels = stages[0][0]
        trunk = nn.Sequential(conv_norm(shape[0], channels, 3, padding=1))
        for index, (width, count) in enumerate(stages):
            blocks = [
                _Block(channels if i == 0 else width, width, 2 if index and i == 0 else 1, project=options.depth == 18)
                for i in range(count)
            ]
            trunk.append(nn.Sequential(*blocks))
            channels = width
        trunk.append(GlobalPool())
        he_normal(trunk)
        return StagedNet(trunk, nn.Linear(measured_width(trunk, shape, "resnet_cifar"), classes))


class _Block(nn.Module):
    """Two 3×3 convolutions with a shortcut; ReLU after the sum."""

    def __init__(self, channels: int, width: int, stride: int, *, project: bool) -> None:
        super().__init__()
        self.first = conv_norm(channels, width, 3, stride, 1)
        self.second = conv_norm(width, width, 3, padding=1, relu=False)
        changes = stride > 1 or channels != width
        self.shortcut = _shortcut(channels, width, stride, project) if changes else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.relu(self.second(self.first(x_BCHW)) + self.shortcut(x_BCHW))


class _Pad(nn.Module):
    """Parameter-free shortcut: every `stride`-th pixel, with `added` channels of zeros appended."""

    def __init__(self, added: int, stride: int) -> None:
        super().__init__()
        self.added, self.stride = added, stride

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return F.pad(x_BCHW[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))


def _shortcut(channels: int, width: int, stride: int, project: bool) -> nn.Module:
    return conv_norm(channels, width, 1, stride, relu=False) if project else _Pad(width - channels, stride)
