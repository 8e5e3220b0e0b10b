"""Learning rate range test: the learning rate grows at every step until the loss diverges; a good peak is well below that.

Smith 2017, "Cyclical Learning Rates for Training Neural Networks" (arXiv:1506.01186), section 3.3; with geometric growth, a
smoothed loss and a stopping rule, as is usual today.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from tellapart.augmentations.base import Pipeline
from tellapart.errors import RecipeError
from tellapart.progress import SILENT, Progress
from tellapart.recipe.schema import Train
from tellapart.training.loop import SplitData, batch_loss, optimizer_step, shuffled_batches
from tellapart.training.losses import Loss
from tellapart.training.setup import explain_oom
from tellapart.training.state import RunLength, State

_SMOOTHING = 0.9  # decay of the moving average of the loss
_DIVERGED = 4.0  # the test stops at this multiple of the lowest smoothed loss


@dataclass(frozen=True)
class LrRange:
    """The learning rates of a test: `steps` of them, from `start` to `end`, in geometric progression.

    Raises:
        RecipeError: `end` is not greater than `start`, or there are too few steps for a curve.
    """

    start: float = 1e-6
    end: float = 10.0
    steps: int = 100

    def __post_init__(self) -> None:
        if not 0 < self.start < self.end < math.inf:
            raise RecipeError(f"learning rates must increase: expected 0 < from < to, found {self.start:g} and {self.end:g}")
        if self.steps < 10:
            raise RecipeError(f"a curve needs at least 10 steps, found {self.steps}")

    @property
    def rates(self) -> np.ndarray:
        """(steps,) float64."""
        return np.geomspace(self.start, self.end, self.steps)


@dataclass(frozen=True)
class LrRangeResult:
    """The result of a range test.

    Attributes:
        rates: (K,) learning rates, ascending; K is smaller than the number of steps if the loss diverged.
        losses: (K,) training loss of the batch of each step, before the step.
        smooth: (K,) their exponential moving average, with bias correction.
        ended: Why the test ended.
        partners: Other settings that scale with `train.optimizer.lr`, as multiples of it.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smooth: tuple[float, ...]
    ended: str
    partners: dict[str, float]

    @property
    def lowest(self) -> float | None:
        """The rate of the lowest smoothed loss, about the largest useful one. None: the loss did not decrease."""
        place = self._lowest
        return self.rates[place] if place else None

    @property
    def steepest(self) -> float | None:
        """The rate of the steepest decrease of the smoothed loss per decade, before its minimum. None: it did not decrease.

        The slope is measured over a tenth of the curve; between two steps it would depend on a single batch.
        """
        place, half = self._lowest, max(len(self.rates) // 20, 1)
        middles = range(max(self._lead, half), place - half + 1)
        if not middles:
            return self.lowest
        return self.rates[min(middles, key=lambda i: self.smooth[i + half] - self.smooth[i - half])]

    @property
    def _lead(self) -> int:
        """Number of steps at the beginning, a tenth, in which the moving average has too few values."""
        return max(len(self.rates) // 10, 1)

    @property
    def _lowest(self) -> int:
        """Step of the lowest smoothed loss; 0 if it is in the lead, so that the loss did not decrease."""
        place = int(np.argmin(self.smooth))
        return place if place >= self._lead else 0

    @property
    def peak(self) -> float | None:
        """The suggested peak: the smaller of `steepest` and a tenth of `lowest`."""
        return None if self.lowest is None or self.steepest is None else min(self.steepest, self.lowest / 10)

    @property
    def rule(self) -> str | None:
        """Description of the rule that gave `peak`."""
        if self.peak is None:
            return None
        steepest = self.peak == self.steepest
        return "steepest decrease of the smoothed loss" if steepest else "a tenth of the rate of the lowest loss"

    @property
    def still_falling(self) -> bool:
        """Whether the lowest loss is the last one: a larger rate may be better."""
        return self.lowest is not None and self.lowest == self.rates[-1]

    @property
    def settings(self) -> list[str]:
        """The suggestion as recipe overrides: `train.optimizer.lr=0.003`."""
        peak = self.peak
        if peak is None:
            return []
        others = [f"train.optimizer.{name}={peak * multiple:.2g}" for name, multiple in self.partners.items()]
        return [f"train.optimizer.lr={peak:.2g}", *others]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        found = {"peak": self.peak, "rule": self.rule, "lowest": self.lowest}
        return found | {"steepest": self.steepest, "settings": self.settings, **asdict(self)}


def lr_range_test(
    model: nn.Module, split: SplitData, config: Train, fabric: Any, *,
    augment: Pipeline, seed: int, span: LrRange = LrRange(), progress: Progress = SILENT,
) -> LrRangeResult:  # fmt: skip
    """Train `model` for some steps at increasing learning rates; discard the model afterwards.

    Args:
        model: uint8 (B, C, H, W) or float32 (B, D) → logits (B, classes).
        split: The training split.
        config: The `train` section of the recipe; its schedule, average and limits are ignored.
        fabric: Fabric from `open_fabric`.
        augment: Applied to the batches.
        seed: Random seed for shuffling, augmentation and dropout.
        span: The learning rates.
        progress: Shows a progress bar.

    Raises:
        RecipeError: The loss was not finite at the first step.
        SystemLimitError: Out of memory; the message suggests a batch size.
    """
    # "none": an average would cost a second model and change no loss
    plain = config.model_copy(update={"average": config.average.model_copy(update={"name": "none"})})
    state = State(
        model, plain, fabric, seed, RunLength.for_config(config, len(split) * augment.versions), folder=None, checkpoints=None
    )
    state.freezer.start_epoch(1)
    losses, smooth, ended = [], [], "all steps are done"
    with progress.task("range test", span.steps, "steps") as bar, explain_oom(config.batch):
        for rate, loss in zip(span.rates, _losses(state, split, augment, span), strict=False):
            if not math.isfinite(loss):
                ended = f"the loss was not finite at {rate:.2g}"
                break
            losses.append(loss)
            smooth.append(_moved(smooth, loss))
            bar.advance(1, f"rate {rate:.1e}, loss {smooth[-1]:.3f}")
            if smooth[-1] > _DIVERGED * min(smooth):
                ended = f"the loss reached {_DIVERGED:g} × its minimum at {rate:.2g}"
                break
    if not losses:
        raise RecipeError(f"the loss was not finite at the first step, rate {span.start:g}", hint="lower --from")
    rates = tuple(float(r) for r in span.rates[: len(losses)])
    return LrRangeResult(rates, tuple(losses), tuple(smooth), ended, _partners(config))


def _losses(state: State, split: SplitData, augment: Pipeline, span: LrRange) -> Iterator[float]:
    """Yield the loss of each step; the optimizer step follows when the next loss is requested."""
    loss_of = Loss(state.config, split.labels, split.classes, state.device)
    for rate, rows in zip(span.rates, _batches(state, split), strict=False):
        for group in state.optimizer.param_groups:
            group["lr"] = group["peak"] * rate / state.config.optimizer.lr
        labels = torch.from_numpy(split.labels[rows % len(split)]).to(state.device)
        loss, _ = batch_loss(state, split, augment, rows, labels, loss_of)
        yield loss.item()
        optimizer_step(state, loss)


def _batches(state: State, split: SplitData) -> Iterator[np.ndarray]:
    """Batches of endless epochs."""
    while True:
        yield from shuffled_batches(state, split)


def _moved(smooth: list[float], loss: float) -> float:
    """Update a moving average with bias correction by one loss (Kingma & Ba 2015, section 3)."""
    steps = len(smooth)
    before = smooth[-1] * (1 - _SMOOTHING**steps) if smooth else 0.0
    return (_SMOOTHING * before + (1 - _SMOOTHING) * loss) / (1 - _SMOOTHING ** (steps + 1))


def _partners(config: Train) -> dict[str, float]:
    return {"other_lr": config.optimizer.other_lr / config.optimizer.lr} if config.optimizer.name == "muon" else {}
