"""Freezing of stages, and gradual unfreezing from the top down (Howard & Ruder 2018)."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

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
        self.frozen = max(round(self.config.freeze * below_head) - thawed, 0)
        for depth, parameters in enumerate(self.groups):
            for parameter in parameters:
                parameter.requires_grad_(depth >= self.frozen)
        self.model.train()
        for module in self.model.modules():
            if isinstance(module, _BatchNorm) and is_frozen(module):
                module.eval()
