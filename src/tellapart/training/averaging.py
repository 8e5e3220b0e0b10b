"""Weight averaging during training.

Exponential moving average (EMA): at each step, mean ← decay · mean + (1 − decay) · weights. Stochastic weight averaging (SWA,
Izmailov et al. 2018, arXiv:1803.05407): the mean of the weights at the ends of the last epochs, with recomputed batch norm
statistics.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tellapart.recipe.schema import Average


class WeightAverage:
    """The average of the weights of a model, if the configuration asks for one.

    Attributes:
        model: The model that is trained.
        mean: The averaged model; `model` itself without averaging.
        epochs: Number of epochs in a SWA mean.
    """

    def __init__(self, model: nn.Module, config: Average) -> None:
        self.model, self.config = model, config
        self.mean = copy.deepcopy(model) if config.name != "none" else model
        self.epochs = 0

    @property
    def averaged_model(self) -> nn.Module:
        """The model to validate and to keep: the averaged one, as soon as there is one."""
        return self.model if self.config.name == "swa" and not self.epochs else self.mean

    def after_step(self, step: int) -> None:
        """Update an EMA. It moves faster at first, so that the random initial weights are forgotten."""
        if self.config.name == "ema":
            self._move(1 - min(self.config.decay, (1 + step) / (10 + step)))

    def after_epoch(self, progress: float, batches: Iterable[Tensor]) -> None:
        """Update a SWA mean if `progress`, in (0, 1], is past its start; `batches` are used for the batch norm statistics."""
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
    """Whether a module has parameters of its own and none of them requires a gradient."""
    own = list(module.parameters(recurse=False))
    return bool(own) and not any(p.requires_grad for p in own)


@torch.no_grad()
def update_bn(model: nn.Module, batches: Iterable[Tensor], like: nn.Module) -> None:
    """Recompute the running statistics of the batch norms on `batches`, with equal weights.

    As `torch.optim.swa_utils.update_bn`, but batch norms that are frozen in `like`, the trained model, do not change.

    Args:
        model: Changed in place; in evaluation mode afterwards.
        batches: Images, (B, C, H, W) uint8, on the device of the model.
        like: The model that is trained, with the same modules.
    """
    pairs = zip(model.modules(), like.modules(), strict=True)
    norms = [m for m, own in pairs if isinstance(m, _BatchNorm) and m.track_running_stats and not is_frozen(own)]
    if not norms:
        return
    model.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch computes a cumulative mean then
        norm.train()
    for images in batches:
        model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
