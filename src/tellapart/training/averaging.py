"""Weights averaged over training.

Exponential (EMA): per step, mean ← decay · mean + (1 − decay) · now. Stochastic weight averaging (SWA, Izmailov et al. 2018,
arXiv:1803.05407): the plain mean of the weights at the ends of the last epochs, its batch norms' statistics measured anew.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tellapart.recipe.schema import Average


class WeightAverage:
    """The average of a model's weights, where the config asks for one.

    Attributes:
        epochs: How many epochs' ends are in a SWA mean.
    """

    def __init__(self, model: nn.Module, config: Average) -> None:
        self.model, self.config = model, config
        self.mean = copy.deepcopy(model) if config.name != "none" else model
        self.epochs = 0

    @property
    def averaged_model(self) -> nn.Module:
        """The model whose weights count now: validated, and kept if it is the best."""
        return self.model if self.config.name == "swa" and not self.epochs else self.mean

    def after_step(self, step: int) -> None:
        """EMA: move one step. Young means move faster, so that they forget the random start."""
        if self.config.name == "ema":
            self._move(1 - min(self.config.decay, (1 + step) / (10 + step)))

    def after_epoch(self, progress: float, batches: Iterable[Tensor]) -> None:
        """SWA: take in this epoch's end if `progress` in (0, 1] is past the start; `batches`: for the batch norms."""
        if self.config.name == "swa" and progress > self.config.start:
            self._move(1 / (self.epochs + 1))
            self.epochs += 1
            update_bn(self.mean, batches, like=self.model)

    @torch.no_grad()
    def _move(self, weight: float) -> None:
        for mean, now in zip(self.mean.state_dict().values(), self.model.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(now, weight)
            else:
                mean.copy_(now)


def is_frozen(module: nn.Module) -> bool:
    """Whether a module has parameters of its own and none of them learns."""
    own = list(module.parameters(recurse=False))
    return bool(own) and not any(p.requires_grad for p in own)


@torch.no_grad()
def update_bn(model: nn.Module, batches: Iterable[Tensor], like: nn.Module) -> None:
    """Set the running statistics of the batch norms to those of `batches`, each counted alike.

    Norms that are frozen in `like`, the model that is trained, stay as they are.
    """
    pairs = zip(model.modules(), like.modules(), strict=True)
    norms = [m for m, own in pairs if isinstance(m, _BatchNorm) and m.track_running_stats and not is_frozen(own)]
    if not norms:
        return
    model.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a cumulative mean
        norm.train()
    for images in batches:
        model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
