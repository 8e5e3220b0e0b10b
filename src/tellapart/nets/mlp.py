"""Multilayer perceptron on flattened pixels: linear, batch norm, ReLU, dropout, as often as there are widths."""

from __future__ import annotations

from pydantic import Field
from torch import nn

from tellapart.nets._contract import Net, NetOptions


class MLP(Net):
    """Any widths."""

    class Options(NetOptions):
        """Options of `net: mlp`."""

        widths: list[int] = Field(default=[256, 128], min_length=1, description="units of each hidden layer")
        batch_norm: bool = Field(default=True, description="batch norm before each ReLU")
        dropout: float = Field(default=0.0, ge=0, lt=1, description="share of units dropped after each ReLU")

    @staticmethod
    def build(shape: tuple[int, int, int], classes: int, options: Options) -> nn.Module:
        """Flatten, hidden layers, logits."""
        layers: list[nn.Module] = [nn.Flatten()]
        width = shape[0] * shape[1] * shape[2]
        for wide in options.widths:
            layers.append(nn.Linear(width, wide, bias=not options.batch_norm))
            layers += [nn.BatchNorm1d(wide)] if options.batch_norm else []
            layers += [nn.ReLU(inplace=True)]
            layers += [nn.Dropout(options.dropout)] if options.dropout else []
            width = wide
        return nn.Sequential(*layers, nn.Linear(width, classes))
