"""Everything that changes during a training run, and the files that let it go on after a crash.

`resume/state.safetensors`: weights, moving average, optimiser, random generators, step, figures so far; rewritten after every
epoch. `resume/best.safetensors`: the weights of the best epoch, written first, so that the state never names weights that are
not there.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tellapart.recipe import Train
from tellapart.train.checkpoint import load_state, pack_optimizer, save_state, unpack_optimizer
from tellapart.train.optim import make_optimizer
from tellapart.train.schedule import share


@dataclass
class Outcome:
    """How a run went. `stopped`: why before its last epoch, in words, or None; `by_hand`: by Ctrl-C."""

    epochs: int = 0
    best_epoch: int = 0
    best: dict[str, Any] = field(default_factory=dict)
    stopped: str | None = None
    by_hand: bool = False


class State:
    """Model, optimiser, moving average, generators and counters of one run.

    Attributes:
        wrapped: The model as Fabric set it up; forward passes that are trained go through it.
        judged: The model whose weights count: the moving average, if there is one.
        generator: Of shuffling and augmentation.
        step: Optimiser steps so far.
        seconds: Training time so far, validation not counted.
    """

    def __init__(self, model: nn.Module, plan: Train, fabric: Any, seed: int, folder: Path | None) -> None:
        self.plan, self.fabric, self.folder = plan, fabric, folder
        self.generator = torch.Generator().manual_seed(seed)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = model
        self.wrapped, self.optimizer = fabric.setup(model, make_optimizer(model, plan.optimizer))
        self.judged = copy.deepcopy(model) if plan.average else model
        self.device = fabric.device
        self.step, self.seconds = 0, 0.0
        self._best: dict[str, Tensor] = {}

    def set_rate(self, total_steps: int, seconds_now: float) -> None:
        """The schedule's rate for this step; with a time bound, progress is whichever is further on."""
        progress = self.step / max(total_steps, 1)
        if self.plan.minutes:
            progress = max(progress, (self.seconds + seconds_now) / (60 * self.plan.minutes))
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * share(progress, self.plan.schedule)

    def out_of_time(self, seconds_now: float = 0.0) -> bool:
        """Whether the plan's time bound is reached; `seconds_now`: of the epoch under way."""
        return bool(self.plan.minutes) and self.seconds + seconds_now >= 60 * (self.plan.minutes or 0)

    @torch.no_grad()
    def average(self) -> None:
        """Move the averaged weights one step; young averages move faster, so that they forget the random start."""
        if self.judged is self.model:
            return
        decay = min(self.plan.average, (1 + self.step) / (10 + self.step))
        for mean, now in zip(self.judged.state_dict().values(), self.model.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(now, 1 - decay)
            else:
                mean.copy_(now)

    def keep_best(self, epoch: int, figures: dict[str, Any]) -> None:
        """Remember the weights that count now as the best, with the epoch and figures that make them so."""
        self._best = {k: v.detach().cpu().clone() for k, v in self.judged.state_dict().items()}
        if self.folder:
            save_state(self.folder / "best.safetensors", self._best, {"best_epoch": epoch, "best": figures})

    def load_best(self) -> None:
        """Put the best weights into the model."""
        self.model.load_state_dict(self._best)

    def save(self, outcome: Outcome) -> None:
        """Write the state after an epoch."""
        if not self.folder:
            return
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()} | pack_optimizer(self.optimizer)
        if self.judged is not self.model:
            tensors |= {f"average.{k}": v for k, v in self.judged.state_dict().items()}
        tensors |= {"random.own": self.generator.get_state(), "random.torch": torch.get_rng_state()}
        facts = {"step": self.step, "seconds": self.seconds, "outcome": asdict(outcome)}
        save_state(self.folder / "state.safetensors", tensors, facts)

    def resume(self) -> Outcome:
        """Go on from the state on disk, if there is one."""
        path = self.folder / "state.safetensors" if self.folder else None
        if path is None or not path.exists():
            return Outcome()
        tensors, facts = load_state(path)
        self.model.load_state_dict(_under("model.", tensors))
        if self.judged is not self.model:
            self.judged.load_state_dict(_under("average.", tensors))
        unpack_optimizer(self.optimizer, tensors)
        self.generator.set_state(tensors["random.own"])
        torch.set_rng_state(tensors["random.torch"])
        self.step, self.seconds = facts["step"], facts["seconds"]
        # after a kill between the two files the best weights may be an epoch ahead; their own figures go with them
        self._best, best = load_state(path.with_name("best.safetensors"))
        return Outcome(**facts["outcome"] | best)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
