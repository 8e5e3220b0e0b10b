"""A convolutional net, defined by a list of stages with convolutions, pooling and dropout; then a dense head.

Convolutions keep PyTorch's initialization. The random layers are at the end of the first stage: in training, they flip or
rotate its maps.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import nn

from tellapart.errors import RecipeError
from tellapart.nets._layers import Flips, RandomFlip, RandomRotation, measured_width
from tellapart.nets.base import GlobalPool, HeadedNet, Net, NetOptions, StagedNet, Width, dense_head, image_shape
from tellapart.recipe.schema import OptionsModel

_LEAK = 0.01


class Stage(OptionsModel):
    """One stage."""

    widths: list[Width] = Field(min_length=1, description="channels of each convolution, in order")
    kernel: int = Field(default=3, ge=1, description="side of the kernels; an odd side keeps the size of the map")
    stride: int = Field(default=1, ge=1, description="stride of the first convolution")
    batch_norm: bool = Field(default=True, description="use batch norm between convolution and ReLU")
    pool: int = Field(default=2, ge=1, description="side and stride of the max pooling at the end; 1: none")
    pool_norm: bool = Field(default=False, description="use batch norm directly before and after the max pooling")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout rate after the pooling")


class Staged(Net):
    """Convolutional net: stages, global pooling or flattening, dense layers, logits."""

    class Options(NetOptions):
        """Options of `net: staged`."""

        stages: list[Stage] = Field(
            default=[Stage(widths=[32]), Stage(widths=[64]), Stage(widths=[128])],
            min_length=1,
            description="stages, from the input on",
        )
        activation: Literal["relu", "leaky_relu"] = Field(
            default="relu", description="activation of the convolutions; leaky_relu: slope 0.01 below 0; dense layers use ReLU"
        )
        flip_maps: Flips = Field(default="none", description="in training, flip the maps of the first stage at random")
        rotate_maps: float = Field(
            default=0.0, ge=0, le=180, description="in training, rotate these maps by a random angle up to this, in degrees"
        )
        ending: Literal["average", "max", "flatten"] = Field(
            default="average", description="global pooling (average, max) or flattening of the last maps"
        )
        dense: list[Width] = Field(default=[], description="units of the dense layers before the logits")
        dropout: float = Field(
            default=0.0, ge=0, lt=1, description="dropout rate after each dense layer, or before the logits if there is none"
        )

    @staticmethod
    def build(shape: tuple[int, ...], classes: int, options: Options) -> HeadedNet:
        """See the class.

        Raises:
            RecipeError: The input is too small for the poolings, or a stage has `pool_norm` but no pooling.
        """
        shape = image_shape(shape, "staged")
        channels = shape[0]
        trunk = nn.Sequential()
        for stage in options.stages:
            trunk.append(_stage(channels, stage, options.activation))
            channels = stage.widths[-1]
        _add_random_layers(trunk[0], options)
        trunk.append(nn.Flatten() if options.ending == "flatten" else GlobalPool(options.ending))
        return StagedNet(trunk, dense_head(measured_width(trunk, shape, "staged"), classes, options.dense, options.dropout))


def _stage(channels: int, stage: Stage, activation: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index, width in enumerate(stage.widths):
        stride = stage.stride if index == 0 else 1
        padding = (stage.kernel - 1) // 2
        layers.append(nn.Conv2d(channels, width, stage.kernel, stride, padding, bias=not stage.batch_norm))
        layers += [nn.BatchNorm2d(width)] if stage.batch_norm else []
        layers.append(nn.ReLU(inplace=True) if activation == "relu" else nn.LeakyReLU(_LEAK, inplace=True))
        channels = width
    layers += _pooling(channels, stage)
    layers += [nn.Dropout(stage.dropout)] if stage.dropout else []
    return nn.Sequential(*layers)


def _pooling(channels: int, stage: Stage) -> list[nn.Module]:
    if stage.pool == 1:
        if stage.pool_norm:
            raise RecipeError(f"pool_norm: the stage of {stage.widths} has no pooling (pool: 1)", hint="remove pool_norm there")
        return []
    norms = [nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)] if stage.pool_norm else []
    return [*norms[:1], nn.MaxPool2d(stage.pool), *norms[1:]]


def _add_random_layers(stage: nn.Module, options: Staged.Options) -> None:
    """Append the random layers, so that the other layers keep their names in stored weights."""
    if not isinstance(stage, nn.Sequential):
        raise TypeError(stage)
    if options.flip_maps != "none":
        stage.append(RandomFlip(options.flip_maps))
    if options.rotate_maps:
        stage.append(RandomRotation(options.rotate_maps))
