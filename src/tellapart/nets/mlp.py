"""Multilayer perceptron on flattened pixels or feature vectors: linear, batch norm, ReLU, dropout for each hidden layer.

Linear layers keep PyTorch's initialization.
"""

from __future__ import annotations

import math

from pydantic import Field
from torch import nn

from tellapart.errors import RecipeError
from tellapart.nets.base import HeadedNet, Net, NetOptions, StagedNet, Width


class MLP(Net):
    """Multilayer perceptron with any number of hidden layers."""

    class Options(NetOptions):
        """Options of `net: mlp`."""

        widths: list[Width] = Field(default=[256, 128], min_length=1, description="units of each hidden layer")
        batch_norm: bool | list[bool] = Field(
            default=True, description="use batch norm between each linear layer and its ReLU; a list has one value per layer"
        )
        dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout rate after each ReLU")
        bias: bool = Field(default=False, description="use biases also in linear layers that batch norm follows")

    @staticmethod
    def build(shape: tuple[int, ...], classes: int, options: Options) -> HeadedNet:
        """Flatten, hidden layers, logits.

        Raises:
            RecipeError: The list `batch_norm` does not have one value per width.
        """
        norms = options.batch_norm if isinstance(options.batch_norm, list) else [options.batch_norm] * len(options.widths)
        if len(norms) != len(options.widths):
            raise RecipeError(
                f"batch_norm: expected one value per width, {len(options.widths)}, found {len(norms)}",
                hint="set true, false, or a list with one of them per width",
            )
        trunk = nn.Sequential(nn.Flatten())
        width = math.prod(shape)
        for wide, norm in zip(options.widths, norms, strict=True):
            layers: list[nn.Module] = [nn.Linear(width, wide, bias=options.bias or not norm)]
            layers += [nn.BatchNorm1d(wide)] if norm else []
            layers += [nn.ReLU(inplace=True)]
            layers += [nn.Dropout(options.dropout)] if options.dropout else []
            trunk.append(nn.Sequential(*layers))
            width = wide
        return StagedNet(trunk, nn.Linear(width, classes))
