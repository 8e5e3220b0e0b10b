"""Freezing of stages, and gradual unfreezing from the top down (Howard & Ruder 2018)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tellapart.nets.base import Model
from tellapart.recipe.schema import Train
from tellapart.training.batch_norm import is_frozen
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
        _to_training_mode(self.model)


def freezes_backbone(model: Model, config: Train) -> bool:
    """Whether only the head is trained, from the first epoch to the last."""
    stages = len(depth_groups(model)) - 1
    return stages > 0 and not config.unfreeze_every and _frozen_at_first(config, stages) == stages


def acts_otherwise_in_training(model: Model, images: Tensor) -> bool:
    """Whether the frozen backbone gives other outputs in training than in evaluation mode.

    So do random layers (dropout, stochastic depth, random flips of maps), and batch norms without parameters, which nothing
    freezes. Both modes are tried, since any net may have such layers; random generators and the model do not change.

    Args:
        model: Normalization and net, on the CPU.
        images: (B, C, H, W) uint8.
    """
    trunk = copy.deepcopy(nn.Sequential(model.normalize, model.body.trunk)).requires_grad_(False)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        expected = trunk.eval()(images)
        _to_training_mode(trunk)
        return not torch.allclose(trunk(images), expected, rtol=1e-3, atol=1e-4)


def _frozen_at_first(config: Train, stages: int) -> int:
    return round(config.freeze * stages)


def _to_training_mode(model: nn.Module) -> None:
    """Training mode, except for the batch norms of frozen stages."""
    model.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm) and is_frozen(module):
            module.eval()
