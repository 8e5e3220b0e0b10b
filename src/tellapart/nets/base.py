"""What an architecture promises: from the shape of the input and the number of classes, a trunk and a head.

    Model    uint8 (B, C, H, W) → logits (B, classes): what is trained, saved and asked
      normalize    uint8 → float32, zero mean, unit variance
      body         Body, made by `Net.build`
        trunk      float32 (B, C, H, W) → (B, D); its children are the stages, from the input on
        head       (B, D) → (B, classes)

The cut between trunk and head is what transfer, freezing, layer-wise rates, fusion and embeddings rest on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.errors import RecipeError
from tellapart.recipe.schema import OptionsModel

#: Channels or units of a layer.
Width = Annotated[int, Field(ge=1)]
#: From the name of a finished run to its folder.
Parents = Callable[[str], Path]
View = Literal["as is", "flip", "upside down", "turned", "five crops", "closer", "farther"]


class NetOptions(OptionsModel):
    """Options that every net has, under `classifier:` beside `family: network`."""

    net: str = Field(description="architecture: a name of `tellapart.registry.names('nets')`")
    views: list[View] = Field(
        default=["as is"],
        min_length=1,
        description="copies of an image whose probabilities are averaged when answering: as is, flip (left-right), "
        "upside down, turned (180°), five crops (corners and center, 7/8 of a side), closer (center 7/8), farther (8/7, "
        "reflected borders); all are resampled to the size of the image",
    )
    init_from: str | None = Field(
        default=None, description="a run, or its weights.safetensors: start from its trunk; its classes may be others"
    )


class HeadedNet(nn.Module, ABC):
    """A trunk and a head.

    Attributes:
        trunk: float32 (B, C, H, W), normalized → (B, D).
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
        """Parameters by depth: the stages of the trunk from the input on, then the head. Every parameter is in one."""

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The state of another net's trunk, resampled where the size of the input decides a tensor's shape."""
        return tensors


class StagedNet(HeadedNet):
    """A body whose trunk's children are its stages, in order."""

    def groups(self) -> list[list[nn.Parameter]]:
        """One group a stage that has parameters, then the head."""
        stages = [*self.trunk.children(), self.head]
        return [group for stage in stages if (group := list(stage.parameters()))]


class Model(nn.Module):
    """What is trained and saved: uint8 (B, C, H, W), or float32 (B, D) vectors, → logits (B, classes)."""

    def __init__(self, normalize: nn.Module, body: HeadedNet) -> None:
        super().__init__()
        self.normalize, self.body = normalize, body

    def forward(self, x: Tensor) -> Tensor:
        """(B, classes) logits."""
        return self.body(self.normalize(x))


class Net(ABC):
    """An architecture. One file each; the file name is the name in recipes."""

    Options: type[NetOptions] = NetOptions

    @staticmethod
    @abstractmethod
    def build(shape: tuple[int, ...], classes: int, options: NetOptions) -> HeadedNet:
        """The net with random weights; nothing is downloaded or read.

        Args:
            shape: (C, H, W) of the float32 input; (D,) for feature vectors.
            classes: How many logits.
            options: This net's `Options`.

        Raises:
            RecipeError: The options do not fit the shape.
        """

    @staticmethod
    def resolve(options: NetOptions, parents: Parents) -> NetOptions:
        """The options with everything in them that another run decides, so that `build` needs no other run."""
        del parents
        return options

    @staticmethod
    def normalize_stats(options: NetOptions) -> tuple[Sequence[float], Sequence[float]] | None:
        """Mean and standard deviation per RGB channel in [0, 1] that the weights want; None: those of the training images."""
        del options
        return None

    @staticmethod
    def load_pretrained(body: HeadedNet, options: NetOptions, parents: Parents) -> str:
        """Give `body` the weights that the options ask for; says whose they are, "no" for random ones."""
        del body, options, parents
        return "no"


class Normalize(nn.Module):
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


class GlobalPool(nn.Module):
    """(B, C, H, W) → (B, C): mean or maximum over the map."""

    def __init__(self, how: Literal["average", "max"] = "average") -> None:
        super().__init__()
        self.how = how

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C)."""
        return x_BCHW.mean((2, 3)) if self.how == "average" else x_BCHW.amax((2, 3))


def dense_head(
    width: int, classes: int, dense: Sequence[int] = (), dropout: float = 0.0, *, batch_norm: bool = False
) -> nn.Sequential:
    """(B, width) → (B, classes): per dense layer linear, batch norm, ReLU, dropout; then the logits.

    Without dense layers the dropout stands before the logits.
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
    """Length D of the vectors that a trunk gives for images of `shape` (C, H, W).

    Raises:
        RecipeError: The images are too small for the poolings and strides.
    """
    try:
        return trunk.eval()(torch.zeros(1, *shape)).shape[1]
    except RuntimeError as error:
        _, height, width = shape
        raise RecipeError(
            f"{height}×{width} images are too small for this net's poolings and strides ({error})",
            hint="give fewer stages, less pooling, or a larger inputs.size",
        ) from None
    finally:
        trunk.train()


def image_shape(shape: tuple[int, ...], net: str) -> tuple[int, int, int]:
    """`shape` as (C, H, W).

    Raises:
        RecipeError: It is the shape of a feature vector.
    """
    if len(shape) != 3:
        raise RecipeError(f"net: {net} takes images, not feature vectors", hint="remove `features`, or use `net: mlp`")
    return shape[0], shape[1], shape[2]
