"""Freezing of stages, and gradual unfreezing from the top down (Howard & Ruder 2018)."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tellapart.nets.base import Model
from tellapart.recipe.schema import Train
from tellapart.training.averaging import is_frozen
from tellapart.training.optimizers import depth_groups


class Freezer:
    """Freezes the first stages of a model, by `train.freeze` and `train.unfreeze_every`. The head is always trained."""

    def __init__(self, model: nn.Module, config: Train) -> None:
        self.model, self.config = model, config
        self.groups = depth_groups(model)
        self.frozen = 0

    def start_epoch(self, epoch: int) -> None:
        """Prepare epoch `epoch` (from 1): freeze stages; training mode, except for the batch norms of frozen stages."""
        below_head = len(self.groups) - 1
        thawed = (epoch - 1) // self.config.unfreeze_every if self.config.unfreeze_every else 0
        self.frozen = max(_frozen_at_first(self.config, below_head) - thawed, 0)
        for depth, parameters in enumerate(self.groups):
            for parameter in parameters:
                parameter.requires_grad_(depth >= self.frozen)
        self.model.train()
        for module in self.model.modules():
            if isinstance(module, _BatchNorm) and is_frozen(module):
                module.eval()


def freezes_backbone(model: Model, config: Train) -> bool:
    """Whether only the head is trained, from the first epoch to the last."""
    stages = len(depth_groups(model)) - 1
    return stages > 0 and not config.unfreeze_every and _frozen_at_first(config, stages) == stages


def acts_otherwise_in_training(model: Model) -> bool:
    """Whether the backbone has layers that give other outputs in training although they are frozen.

    These are random layers (dropout, stochastic depth, by the names of their rates in torch, torchvision and timm), and batch
    norms without parameters, which nothing can freeze.
    """
    return any(
        any(vars(module).get(rate) for rate in _RATES)
        or (isinstance(module, _BatchNorm) and not list(module.parameters(recurse=False)))
        for module in model.body.trunk.modules()
    )


_RATES = ("p", "drop_prob", "drop_rate")


def _frozen_at_first(config: Train, stages: int) -> int:
    return round(config.freeze * stages)
