"""Weight averaging during training.

Exponential moving average (EMA): at each step, mean ← decay · mean + (1 − decay) · weights. Stochastic weight averaging (SWA,
Izmailov et al. 2018, arXiv:1803.05407): the mean of the weights at the ends of the last epochs, whose batch norm statistics are
measured (`batch_norm.py`).
"""

from __future__ import annotations

import copy

import torch
from torch import nn

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

    @property
    def is_mean_of_epochs(self) -> bool:
        """Whether `averaged_model` is a SWA mean, whose running means are those of no weights."""
        return bool(self.epochs)

    def after_step(self, step: int) -> None:
        """Update an EMA. It moves faster at first, so that the random initial weights are forgotten."""
        if self.config.name == "ema":
            self._move(1 - min(self.config.decay, (1 + step) / (10 + step)))

    def after_epoch(self, progress: float) -> None:
        """Update a SWA mean if `progress`, in (0, 1], is past its start."""
        if self.config.name == "swa" and progress > self.config.start:
            self._move(1 / (self.epochs + 1))
            self.epochs += 1

    @torch.no_grad()
    def _move(self, weight: float) -> None:
        for mean, now in zip(self.mean.state_dict().values(), self.model.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(now, weight)
            else:
                mean.copy_(now)
