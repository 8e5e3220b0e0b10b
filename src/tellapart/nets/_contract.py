"""What an architecture promises: from the shape of the input and the number of classes, a module that gives logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.recipe import Section


class NetOptions(Section):
    """Options that every net has, under `classifier:` beside `family: network`."""

    net: str = Field(description="architecture: a name of `tellapart.registry.names('nets')`")
    views: list[Literal["as is", "flip", "upside down", "turned"]] = Field(
        default=["as is"],
        min_length=1,
        description="copies of an image whose probabilities are averaged when answering: as is, flip (left-right), "
        "upside down, turned (180°)",
    )


class Net(ABC):
    """An architecture. One file each; the file name is the name in recipes."""

    Options: type[NetOptions] = NetOptions

    @staticmethod
    @abstractmethod
    def build(shape: tuple[int, int, int], classes: int, options: Any) -> nn.Module:
        """shape: (C, H, W) of the float32 input, normalised; gives a module (B, C, H, W) → (B, classes) logits."""


class Normalise(nn.Module):
    """uint8 (B, C, H, W) in 0 … 255 → float32 with zero mean and unit variance per channel of the training images."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.view(1, -1, 1, 1))
        self.register_buffer("scale", scale.view(1, -1, 1, 1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) uint8 → (B, C, H, W) float32, channels_last kept."""
        return (x_BCHW.to(torch.float32) - self.mean) * self.scale
