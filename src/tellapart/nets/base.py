"""The contract of an architecture: from the shape of the input and the number of classes, a backbone and a head.

    Model    uint8 (B, C, H, W) → logits (B, classes): trained and saved
      normalize    uint8 → float32, zero mean, unit variance
      body         HeadedNet, built by `Net.build`
        trunk      the backbone, float32 (B, C, H, W) → (B, D); its children are the stages, from the input on
        head       (B, D) → (B, classes)

Transfer, freezing, layer-wise learning rates, fusion and embeddings rely on the boundary between backbone and head. The
attribute names are part of the names of stored tensors (`body.trunk.…`), so they stay as they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from tellapart.errors import RecipeError
from tellapart.recipe.schema import OptionsModel

#: Number of channels or units of a layer.
Width = Annotated[int, Field(ge=1)]
#: Maps the name of a finished run to its folder.
Parents = Callable[[str], Path]
View = Literal["as is", "flip", "upside down", "turned", "five crops", "closer", "farther"]


class NetOptions(OptionsModel):
    """Options of every net, under `classifier:` besides `family: network`."""

    net: str = Field(description="architecture, one of `tellapart.registry.names('nets')`")
    views: list[View] = Field(
        default=["as is"],
        min_length=1,
        description="test-time augmentation: views of an image whose probabilities are averaged: as is, flip (left-right), "
        "upside down, turned (180°), five crops (corners and center, 7/8 of a side), closer (center 7/8), farther (8/7, "
        "reflected borders); all are resampled to the size of the image",
    )
    init_from: str | None = Field(
        default=None,
        description="start from the backbone of a run, given by id or by its weights.safetensors; its classes may differ",
    )


@dataclass(frozen=True)
class InitialWeights:
    """What a net started from.

    Attributes:
        source: Origin of the weights, with their license and training data; "no": random.
        notes: Sentences for the notes of the run: which tensors fit, and by which rule.
    """

    source: str = "no"
    notes: tuple[str, ...] = ()


class HeadedNet(nn.Module, ABC):
    """A backbone and a head.

    Attributes:
        trunk: The backbone: normalized float32 (B, C, H, W) → (B, D).
        head: (B, D) → (B, classes) logits.
    """

    def __init__(self, trunk: nn.Sequential, head: nn.Module) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) float32 → (B, classes) logits."""
        return self.head(self.trunk(x_BCHW))

    @abstractmethod
    def groups(self) -> list[list[nn.Parameter]]:
        """Parameters by depth: the stages of the backbone from the input on, then the head; each parameter in one group."""

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Adapt the state of another backbone: resample tensors whose shape depends on the size of the input."""
        return tensors


class StagedNet(HeadedNet):
    """A net whose stages are the children of its backbone, in order."""

    def groups(self) -> list[list[nn.Parameter]]:
        """One group per stage that has parameters, then the head."""
        stages = [*self.trunk.children(), self.head]
        return [group for stage in stages if (group := list(stage.parameters()))]


class Model(nn.Module):
    """Normalization and net, trained and saved together: uint8 (B, C, H, W), or float32 (B, D), → logits (B, classes).

    A net on images also takes outputs of its backbone, float32 (B, D), in place of images: those of a frozen one are computed
    once.
    """

    def __init__(self, normalize: nn.Module, body: HeadedNet) -> None:
        super().__init__()
        self.normalize, self.body = normalize, body

    def forward(self, x: Tensor) -> Tensor:
        """(B, classes) logits."""
        if isinstance(self.normalize, Normalize) and x.ndim == 2:
            return self.body.head(x)
        return self.body(self.normalize(x))


class Net(ABC):
    """An architecture. One file each; the file name is the name in recipes."""

    Options: type[NetOptions] = NetOptions

    @staticmethod
    @abstractmethod
    def build(shape: tuple[int, ...], classes: int, options: NetOptions) -> HeadedNet:
        """Build the net with random weights; nothing is downloaded or read.

        Args:
            shape: (C, H, W) of the float32 input; (D,) for feature vectors.
            classes: Number of logits.
            options: An instance of `Options` of this net.

        Raises:
            RecipeError: The options do not fit the shape.
        """

    @staticmethod
    def resolve(options: NetOptions, parents: Parents) -> NetOptions:
        """Fill in what the options take from other runs, so that `build` needs no other run."""
        del parents
        return options

    @staticmethod
    def normalize_stats(options: NetOptions) -> tuple[Sequence[float], Sequence[float]] | None:
        """Mean and standard deviation per RGB channel, in [0, 1], for these weights; None: those of the training images."""
        del options
        return None

    @staticmethod
    def load_pretrained(body: HeadedNet, options: NetOptions, parents: Parents) -> InitialWeights:
        """Load the pretrained weights that the options name into `body`; returns what was loaded."""
        del body, options, parents
        return InitialWeights()


class Normalize(nn.Module):
    """Normalization per channel: uint8 (B, C, H, W) in 0 … 255 → float32 with zero mean and unit variance."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.view(1, -1, 1, 1))
        self.register_buffer("scale", scale.view(1, -1, 1, 1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) uint8 → (B, C, H, W) float32, in the same memory format."""
        return (x_BCHW.to(torch.float32) - self.mean) * self.scale


def normalization(mean: Sequence[float], spread: Sequence[float], channels: int) -> Normalize:
    """The normalization by a mean and a standard deviation per RGB channel, in [0, 1]; gray images: by their means."""
    values = torch.tensor([list(mean), list(spread)], dtype=torch.float32) * 255
    values = values.mean(1, keepdim=True) if channels == 1 else values
    return Normalize(values[0], 1 / values[1])


class Resample(nn.Module):
    """Resampling of uint8 images to one size, bicubic as Pillow's; images of this size are returned unchanged."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) uint8 → (B, C, height, width) uint8."""
        if x_BCHW.shape[2:] == (self.height, self.width):
            return x_BCHW
        return F.interpolate(x_BCHW, (self.height, self.width), mode="bicubic", antialias=True)


class GlobalPool(nn.Module):
    """Global pooling, (B, C, H, W) → (B, C): mean or maximum over the map."""

    def __init__(self, how: Literal["average", "max"] = "average") -> None:
        super().__init__()
        self.how = how

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C)."""
        return x_BCHW.mean((2, 3)) if self.how == "average" else x_BCHW.amax((2, 3))


def dense_head(
    width: int, classes: int, dense: Sequence[int] = (), dropout: float = 0.0, *, batch_norm: bool = False
) -> nn.Sequential:
    """A head, (B, width) → (B, classes): linear, batch norm, ReLU, dropout for each dense layer; then the logits.

    Without dense layers, the dropout is applied before the logits.
    """
    layers: list[nn.Module] = []
    for wide in dense:
        layers.append(nn.Linear(width, wide, bias=not batch_norm))
        layers += [nn.BatchNorm1d(wide)] if batch_norm else []
        layers += [nn.ReLU(inplace=True)]
        layers += [nn.Dropout(dropout)] if dropout else []
        width = wide
    layers += [nn.Dropout(dropout)] if dropout and not dense else []
    return nn.Sequential(*layers, nn.Linear(width, classes))


@torch.no_grad()
def backbone_width(trunk: nn.Sequential, shape: tuple[int, ...]) -> int:
    """Width D of the output of a backbone for images of `shape` (C, H, W).

    Raises:
        RecipeError: The images are too small for the poolings and strides.
    """
    try:
        return trunk.eval()(torch.zeros(1, *shape)).shape[1]
    except RuntimeError as error:
        _, height, width = shape
        raise RecipeError(
            f"{height}×{width} images are too small for this net's poolings and strides ({error})",
            hint="set fewer stages, less pooling, or a larger inputs.size",
        ) from None
    finally:
        trunk.train()


def image_shape(shape: tuple[int, ...], net: str) -> tuple[int, int, int]:
    """Check that `shape` is (C, H, W).

    Raises:
        RecipeError: `shape` is that of a feature vector.
    """
    if len(shape) != 3:
        raise RecipeError(f"net: {net} takes images, not feature vectors", hint="remove `features`, or use `net: mlp`")
    return shape[0], shape[1], shape[2]
