"""VGG: groups of 3×3 convolutions, each followed by 2×2 max pooling; then dense layers.

Simonyan and Zisserman 2015, "Very deep convolutional networks for large-scale image recognition", arXiv 1409.1556; the default
groups are configuration D of their table 1 (VGG-16), 13 convolutions. Batch norm and dropout in the groups are later additions.
Convolutions are initialized as in He et al. 2015, so a deep net can be trained without starting from a shallower one.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from tellapart.nets._layers import RandomFlip, RandomRotation, he_normal, measured_width
from tellapart.nets.base import GlobalPool, HeadedNet, Net, NetOptions, StagedNet, Width, dense_head, image_shape


class VGG(Net):
    """VGG: groups of convolutions, flattening or global pooling, dense layers, logits."""

    class Options(NetOptions):
        """Options of `net: vgg`."""

        groups: list[Annotated[list[Width], Field(min_length=1)]] = Field(
            default=[[64] * 2, [128] * 2, [256] * 3, [512] * 3, [512] * 3],
            min_length=1,
            description="channels of the 3×3 convolutions in each group; each group ends with 2×2 max pooling",
        )
        batch_norm: bool = Field(default=True, description="use batch norm between each convolution and its ReLU")
        dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout rate after the pooling of each group")
        flip_maps: bool = Field(
            default=False,
            description="in training, flip the maps of the first group at random, left-right and upside down",
        )
        rotate_maps: float = Field(
            default=0.0, ge=0, le=180, description="in training, rotate the last maps by a random angle up to this, in degrees"
        )
        ending: Literal["average", "max", "flatten"] = Field(
            default="flatten", description="global pooling (average, max) or flattening of the last maps"
        )
        dense: list[Width] = Field(default=[4096, 4096], description="units of the dense layers before the logits")
        dense_norm: bool = Field(default=True, description="use batch norm between each dense layer and its ReLU")
        dense_dropout: float = Field(
            default=0.5, ge=0, lt=1, description="dropout rate after each dense layer, or before the logits if there is none"
        )

    @staticmethod
    def build(shape: tuple[int, ...], classes: int, options: Options) -> HeadedNet:
        """See the class.

        Raises:
            RecipeError: The input is too small for the poolings.
        """
        shape = image_shape(shape, "vgg")
        channels = shape[0]
        trunk = nn.Sequential()
        for index, widths in enumerate(options.groups):
            group = _group(channels, widths, options.batch_norm, options.dropout)
            if index == 0 and options.flip_maps:
                group.append(RandomFlip("both"))
            trunk.append(group)
            channels = widths[-1]
        ending = nn.Flatten() if options.ending == "flatten" else GlobalPool(options.ending)
        trunk.append(nn.Sequential(RandomRotation(options.rotate_maps), ending) if options.rotate_maps else ending)
        he_normal(trunk)
        width = measured_width(trunk, shape, "vgg")
        return StagedNet(trunk, dense_head(width, classes, options.dense, options.dense_dropout, batch_norm=options.dense_norm))


def _group(channels: int, widths: list[int], batch_norm: bool, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        layers.append(nn.Conv2d(channels, width, 3, padding=1, bias=not batch_norm))
        layers += [nn.BatchNorm2d(width)] if batch_norm else []
        layers.append(nn.ReLU(inplace=True))
        channels = width
    layers.append(nn.MaxPool2d(2))
    layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers)
