"""A convolutional net as a list of stages, each: convolutions, pooling, dropout; then a dense head."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from tellapart.errors import RecipeError
from tellapart.nets._contract import Net, NetOptions
from tellapart.recipe import Section


class Stage(Section):
    """One stage."""

    widths: list[int] = Field(min_length=1, description="channels of each convolution, in order")
    kernel: int = Field(default=3, ge=1, description="side of the kernels; the size of the map is kept")
    stride: int = Field(default=1, ge=1, description="stride of the first convolution")
    batch_norm: bool = Field(default=True, description="batch norm between convolution and ReLU")
    pool: int = Field(default=2, ge=1, description="side and stride of the max pooling at the end; 1: none")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="share of values dropped after the pooling")


class Staged(Net):
    """Stages, then global pooling or flattening, dense layers and logits."""

    class Options(NetOptions):
        """Options of `net: staged`."""

        stages: list[Stage] = Field(
            default=[Stage(widths=[32]), Stage(widths=[64]), Stage(widths=[128])], min_length=1, description="in order"
        )
        ending: Literal["average", "max", "flatten"] = Field(default="average", description="from maps to one vector")
        dense: list[int] = Field(default=[], description="units of the dense layers before the logits")
        dropout: float = Field(default=0.0, ge=0, lt=1, description="share dropped before each dense layer and the logits")

    @staticmethod
    def build(shape: tuple[int, int, int], classes: int, options: Options) -> nn.Module:
        """See the class.

        Raises:
            RecipeError: The input is too small for the poolings.
        """
        channels = shape[0]
        layers: list[nn.Module] = []
        for stage in options.stages:
            layers += _stage(channels, stage)
            channels = stage.widths[-1]
        layers += {"average": [_GlobalAverage()], "max": [_GlobalMax()], "flatten": [nn.Flatten()]}[options.ending]
        features = _width(nn.Sequential(*layers), shape)
        for wide in options.dense:
            layers += [nn.Dropout(options.dropout)] if options.dropout else []
            layers += [nn.Linear(features, wide), nn.ReLU(inplace=True)]
            features = wide
        layers += [nn.Dropout(options.dropout)] if options.dropout else []
        return nn.Sequential(*layers, nn.Linear(features, classes))


class _GlobalAverage(nn.Module):
    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return x_BCHW.mean((2, 3))


class _GlobalMax(nn.Module):
    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return x_BCHW.amax((2, 3))


def _stage(channels: int, stage: Stage) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for index, width in enumerate(stage.widths):
        stride = stage.stride if index == 0 else 1
        layers.append(nn.Conv2d(channels, width, stage.kernel, stride, padding=stage.kernel // 2, bias=not stage.batch_norm))
        layers += [nn.BatchNorm2d(width)] if stage.batch_norm else []
        layers.append(nn.ReLU(inplace=True))
        channels = width
    layers += [nn.MaxPool2d(stage.pool)] if stage.pool > 1 else []
    layers += [nn.Dropout(stage.dropout)] if stage.dropout else []
    return layers


@torch.no_grad()
def _width(layers: nn.Sequential, shape: tuple[int, int, int]) -> int:
    """Length of the vector that the stages give."""
    try:
        return layers.eval()(torch.zeros(1, *shape)).shape[1]
    except RuntimeError:
        _, height, width = shape
        raise RecipeError(
            f"{height}×{width} images are too small for this net's poolings and strides",
            hint="give fewer stages, pool: 1, or a larger inputs.size",
        ) from None
    finally:
        layers.train()
