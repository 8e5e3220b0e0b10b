"""Learning-rate range test: the rate grows from step to step until the loss explodes; a good peak lies well before that.

Smith 2017, "Cyclical Learning Rates for Training Neural Networks" (arXiv:1506.01186), section 3.3; with geometric growth, a
smoothed loss and a stop, as is usual today.
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

_KEPT = 0.9  # share of the moving loss kept per step
_EXPLODED = 4.0  # times the lowest smoothed loss


@dataclass(frozen=True)
class LrRange:
    """The rates to go through: `steps` of them, from `start` to `end`, each the same multiple of the one before.

    Raises:
        RecipeError: It does not grow, or has too few steps for a curve.
    """

    start: float = 1e-6
    end: float = 10.0
    steps: int = 100

    def __post_init__(self) -> None:
        if not 0 < self.start < self.end < math.inf:
            raise RecipeError(f"the rates must grow: expected 0 < from < to, found from {self.start:g} to {self.end:g}")
        if self.steps < 10:
            raise RecipeError(f"a curve needs at least 10 steps, found {self.steps}")

    @property
    def rates(self) -> np.ndarray:
        """(steps,) float64."""
        return np.geomspace(self.start, self.end, self.steps)


@dataclass(frozen=True)
class LrRangeResult:
    """What a range test measured.

    Attributes:
        rates: (K,) learning rates, rising; K is smaller than the span's steps where the loss exploded.
        losses: (K,) training loss of the batch at that step, before it.
        smooth: (K,) their exponential moving average, corrected for its start from 0.
        ended: Why it ended, in words.
        partners: Other settings that rise with `train.optimizer.lr`, as a multiple of it.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smooth: tuple[float, ...]
    ended: str
    partners: dict[str, float]

    @property
    def lowest(self) -> float | None:
        """The rate of the lowest smoothed loss: about the largest that still helps. None: the loss never fell."""
        place = self._lowest
        return self.rates[place] if place else None

    @property
    def steepest(self) -> float | None:
        """The rate at which the smoothed loss falls fastest per decade, before its lowest. None: it never fell.

        The slope is that of a tenth of the curve around the rate: from one step to the next it is the luck of one batch.
        """
        place, half = self._lowest, max(len(self.rates) // 20, 1)
        middles = range(max(self._lead, half), place - half + 1)
        if not middles:
            return self.lowest
        return self.rates[min(middles, key=lambda i: self.smooth[i + half] - self.smooth[i - half])]

    @property
    def _lead(self) -> int:
        """Steps at the beginning, a tenth, in which the moving average is hardly one yet."""
        return max(len(self.rates) // 10, 1)

    @property
    def _lowest(self) -> int:
        """Step of the lowest smoothed loss; 0 where that is in the lead, so that nothing was learnt."""
        place = int(np.argmin(self.smooth))
        return place if place >= self._lead else 0

    @property
    def peak(self) -> float | None:
        """The suggestion: `steepest` or a tenth of `lowest`, whichever is smaller."""
        return None if self.lowest is None or self.steepest is None else min(self.steepest, self.lowest / 10)

    @property
    def rule(self) -> str | None:
        """Which of the two `peak` is, in words."""
        if self.peak is None:
            return None
        return "the steepest fall of the smoothed loss" if self.peak == self.steepest else "a tenth of the lowest loss's rate"

    @property
    def still_falling(self) -> bool:
        """Whether the lowest loss is the last: a larger rate may do better."""
        return self.lowest is not None and self.lowest == self.rates[-1]

    @property
    def settings(self) -> list[str]:
        """The suggestion as overrides of a recipe: `train.optimizer.lr=0.003`."""
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
    model: nn.Module, part: SplitData, config: Train, fabric: Any, *,
    augment: Pipeline, seed: int, span: LrRange = LrRange(), progress: Progress = SILENT,
) -> LrRangeResult:  # fmt: skip
    """Train `model` for some steps at rising rates; it is of no use afterwards.

    Args:
        model: uint8 (B, C, H, W) or float32 (B, D) → logits (B, classes).
        part: The training part.
        config: The recipe's `train` section; its schedule, average and bounds play no role.
        fabric: Of `open_fabric`.
        augment: Applied to the batches.
        seed: Of shuffling, augmentation and dropout.
        span: The rates.
        progress: Where a bar is shown.

    Raises:
        RecipeError: The loss was not a finite number from the start.
        SystemLimitError: Out of memory; says which batch size to try.
    """
    # "none": an average would cost a second model and change no loss
    plain = config.model_copy(update={"average": config.average.model_copy(update={"name": "none"})})
    state = State(
        model, plain, fabric, seed, RunLength.for_config(config, len(part) * augment.versions), folder=None, checkpoints=None
    )
    state.freezer.start_epoch(1)
    losses, smooth, ended = [], [], "all steps were made"
    with progress.task("range test", span.steps, "steps") as bar, explain_oom(config.batch):
        for rate, loss in zip(span.rates, _losses(state, part, augment, span), strict=False):
            if not math.isfinite(loss):
                ended = f"the loss was no longer a finite number at {rate:.2g}"
                break
            losses.append(loss)
            smooth.append(_moved(smooth, loss))
            bar.advance(1, f"rate {rate:.1e}, loss {smooth[-1]:.3f}")
            if smooth[-1] > _EXPLODED * min(smooth):
                ended = f"the loss was {_EXPLODED:g} × its lowest at {rate:.2g}"
                break
    if not losses:
        raise RecipeError(f"the loss was not a finite number at the first step, rate {span.start:g}", hint="lower --from")
    rates = tuple(float(r) for r in span.rates[: len(losses)])
    return LrRangeResult(rates, tuple(losses), tuple(smooth), ended, _partners(config))


def _losses(state: State, part: SplitData, augment: Pipeline, span: LrRange) -> Iterator[float]:
    """The loss of each step; the step itself is made when the next loss is asked for."""
    loss_of = Loss(state.config, part.labels, part.classes, state.device)
    for rate, rows in zip(span.rates, _batches(state, part), strict=False):
        for group in state.optimizer.param_groups:
            group["lr"] = group["peak"] * rate / state.config.optimizer.lr
        labels = torch.from_numpy(part.labels[rows % len(part)]).to(state.device)
        loss, _ = batch_loss(state, part, augment, rows, labels, loss_of)
        yield loss.item()
        optimizer_step(state, loss)


def _batches(state: State, part: SplitData) -> Iterator[np.ndarray]:
    """Epoch after epoch."""
    while True:
        yield from shuffled_batches(state, part)


def _moved(smooth: list[float], loss: float) -> float:
    """The bias-corrected moving average after one more loss (Kingma & Ba 2015, section 3)."""
    steps = len(smooth)
    before = smooth[-1] * (1 - _KEPT**steps) if smooth else 0.0
    return (_KEPT * before + (1 - _KEPT) * loss) / (1 - _KEPT ** (steps + 1))


def _partners(config: Train) -> dict[str, float]:
    return {"other_lr": config.optimizer.other_lr / config.optimizer.lr} if config.optimizer.name == "muon" else {}
