"""State of a training run, and the files from which it is resumed.

`resume/state.safetensors`: weights, average, optimizer, random generators, step, figures so far; rewritten after every epoch.
`resume/best.safetensors`: the weights of the best epoch, written first, so that the state never refers to missing weights.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tellapart.recipe.schema import Train
from tellapart.training.averaging import WeightAverage
from tellapart.training.batch_norm import reason_to_measure, trained_norms
from tellapart.training.checkpoints import BestCheckpoints, load_state, pack_optimizer, read_facts, save_state, unpack_optimizer
from tellapart.training.freezing import Freezer
from tellapart.training.optimizers import make_optimizer
from tellapart.training.schedules import Plateau, lr_factor

_HEEDED = 0.02  # fraction of the minutes before which the schedule does not follow them: the first steps take longest


@dataclass
class Outcome:
    """Outcome of a run.

    Attributes:
        epochs: Number of finished epochs.
        steps: Optimizer steps in them.
        best_epoch: Number of the best epoch, from 1.
        best: Figures of the best epoch.
        stopped: Why it ended before its last epoch, in words; None: it did not.
        by_hand: It was stopped by Ctrl-C.
        by_clock: The learning rate followed the time limit, so another run of this recipe has another schedule.
    """

    epochs: int = 0
    steps: int = 0
    best_epoch: int = 0
    best: dict[str, Any] = field(default_factory=dict)
    stopped: str | None = None
    by_hand: bool = False
    by_clock: bool = False


@dataclass(frozen=True)
class RunLength:
    """Length of a run.

    Attributes:
        epochs: Number of epochs.
        rows: Rows of an epoch, where each version of an image counts.
        steps: Optimizer steps of an epoch.
    """

    epochs: int
    rows: int
    steps: int

    @classmethod
    def for_config(cls, config: Train, rows: int) -> RunLength:
        """The length of a run with this configuration and this number of rows per epoch."""
        epochs = config.epochs if config.images is None else min(config.epochs, max(1, round(config.images / rows)))
        return cls(epochs, rows, math.ceil(rows / config.batch))


class State:
    """Model, optimizer, average, generators and counters of one run.

    Attributes:
        wrapped: The model as set up by Fabric, used for the forward passes of training.
        generator: Random generator for shuffling and augmentation.
        step: Optimizer steps so far.
        seconds: Training time so far, without validation.
        warm_up: Length of the warm-up so far, in epochs.
        by_clock: Whether the schedule has followed the time limit.
        rate: Learning rate of the last step, as a fraction of its peak.
    """

    def __init__(
        self, model: nn.Module, config: Train, fabric: Any, seed: int, length: RunLength, *,
        folder: Path | None, checkpoints: Path | None,
    ) -> None:  # fmt: skip
        self.config, self.fabric, self.length, self.folder = config, fabric, length, folder
        self.generator = torch.Generator().manual_seed(seed)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = model
        self.wrapped, self.optimizer = fabric.setup(
            model, make_optimizer(model, config.optimizer, config.layer_decay, fused=fabric.device.type == "cpu")
        )
        self.average = WeightAverage(model, config.average)
        self.freezer = Freezer(model, config)
        self.plateau = Plateau(config.schedule)
        self.best = BestCheckpoints(config, folder, checkpoints)
        self.device = fabric.device
        self.step, self.seconds, self.warm_up, self.by_clock, self.rate = 0, 0.0, 0.0, False, 0.0

    @property
    def lr(self) -> float:
        """The largest learning rate of all parameter groups."""
        return max(group["lr"] for group in self.optimizer.param_groups)

    def progress(self, seconds_now: float = 0.0) -> float:
        """Fraction of the run that is over: of its steps, or of its minutes where training lags behind them.

        A limit that training keeps well within changes nothing: the result is that of a run without a limit.
        """
        done = self.step / (self.length.epochs * self.length.steps)
        over = (self.seconds + seconds_now) / (60 * self.config.minutes) if self.config.minutes else 0.0
        if over <= max(done, _HEEDED):
            return done
        self.by_clock = True
        return over

    @property
    def reason_to_measure(self) -> str | None:
        """Why batch norm statistics are measured after this epoch; None: they are not."""
        reason = reason_to_measure(self.model, self.step, self.rate, self.config.schedule)
        if self.average.is_mean_of_epochs and trained_norms(self.model, self.model):
            return "mean of the weights of several epochs"
        return reason

    def set_rate(self, seconds_now: float) -> None:
        """Set the learning rate of this step."""
        progress, epoch = self.progress(seconds_now), self.step / self.length.steps
        if progress < self.config.schedule.warmup:
            self.warm_up = epoch
        factor = lr_factor(progress, self.config.schedule, epoch, self.warm_up)
        self.rate = factor * self.plateau.reduction
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor * self.plateau.reduction

    def out_of_time(self, seconds_now: float = 0.0) -> bool:
        """Whether the time limit is reached; `seconds_now`: seconds of the current epoch."""
        return bool(self.config.minutes) and self.seconds + seconds_now >= 60 * (self.config.minutes or 0)

    def load_best(self) -> None:
        """Load the best weights into the model."""
        self.model.load_state_dict(self.best.weights)
        self.model.requires_grad_(True)

    def save(self, outcome: Outcome) -> None:
        """Write the state after an epoch."""
        if not self.folder:
            return
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()} | pack_optimizer(self.optimizer)
        if self.average.mean is not self.model:
            tensors |= {f"average.{k}": v for k, v in self.average.mean.state_dict().items()}
        tensors |= {"random.own": self.generator.get_state(), "random.torch": torch.get_rng_state()}
        facts = {
            "step": self.step, "seconds": self.seconds, "warm_up": self.warm_up, "outcome": asdict(outcome),
            "precision": self.config.precision,
            "kept": self.best.kept, "averaged": self.average.epochs, "plateau": [self.plateau.reduction, self.plateau.waited],
        }  # fmt: skip
        save_state(self.folder / "state.safetensors", tensors, facts)

    def resume(self) -> Outcome:
        """Resume from the state on disk, if there is one."""
        path = self.folder / "state.safetensors" if self.folder else None
        if path is None or not path.exists():
            return Outcome()
        tensors, facts = load_state(path)
        self.model.load_state_dict(_under("model.", tensors))
        if self.average.mean is not self.model:
            self.average.mean.load_state_dict(_under("average.", tensors))
        unpack_optimizer(self.optimizer, tensors)
        self.generator.set_state(tensors["random.own"])
        torch.set_rng_state(tensors["random.torch"])
        self.step, self.seconds, self.warm_up = facts["step"], facts["seconds"], facts["warm_up"]
        self.average.epochs = facts["averaged"]
        self.plateau.reduction, self.plateau.waited = facts["plateau"]
        self.best.kept = [(epoch, figures) for epoch, figures in facts["kept"]]
        self.best.prune()
        # after a kill between the two files, the best weights may be one epoch ahead; their own figures are used
        outcome = Outcome(**facts["outcome"] | self.best.resume())
        self.by_clock = outcome.by_clock
        return outcome


def stored_precision(folder: Path | None) -> str | None:
    """The precision that an interrupted run was trained in, from its state in `folder`; None: there is no state yet."""
    path = folder / "state.safetensors" if folder else None
    return read_facts(path).get("precision") if path and path.exists() else None


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
