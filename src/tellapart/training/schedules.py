"""Learning rate schedules: the learning rate during a run, as a factor of its peak.

Progress is a fraction of the whole run, so a time limit compresses a schedule instead of cutting it off; options in epochs
(`every`, `patience`) stay in epochs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tellapart.recipe.schema import Schedule

_CYCLE_START = 1 / 25  # initial factor of `one_cycle`, as in Smith & Topin 2018, "Super-Convergence"


def lr_factor(progress: float, schedule: Schedule, epoch: float = 0.0, warmup_epochs: float = 0.0) -> float:
    """Learning rate / peak, in [0, 1], without the reductions of a plateau.

    Args:
        progress: Fraction of the run that is over, in [0, 1].
        schedule: Schedule of the recipe.
        epoch: Epochs so far, including the fraction of the current one.
        warmup_epochs: Length of the warm-up, in epochs.
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < schedule.warmup:
        rise = progress / schedule.warmup
        if schedule.name == "one_cycle":
            return _CYCLE_START + (1 - _CYCLE_START) * (1 - math.cos(math.pi * rise)) / 2
        return rise
    rest = (progress - schedule.warmup) / max(1 - schedule.warmup, 1e-12)
    after = max(epoch - warmup_epochs, 0.0)
    if schedule.name in _SHAPES:
        return schedule.floor + (1 - schedule.floor) * _SHAPES[schedule.name](rest)
    if schedule.name == "restarts":
        return schedule.floor + (1 - schedule.floor) * _half_cosine(_place_in_cycle(after, schedule))
    if schedule.name == "step":
        return max(schedule.factor ** math.floor(after / schedule.every), schedule.floor)
    if schedule.name == "exponential":
        return max(schedule.factor ** (after / schedule.every), schedule.floor)
    return 1.0  # constant, plateau


def _half_cosine(place: float) -> float:
    return (1 + math.cos(math.pi * place)) / 2


_SHAPES: dict[str, Callable[[float], float]] = {
    "linear": lambda rest: 1 - rest,
    "cosine": _half_cosine,
    "one_cycle": _half_cosine,
}


def _place_in_cycle(epoch: float, schedule: Schedule) -> float:
    """Position in the cycle, in [0, 1): Loshchilov & Hutter 2017, "SGDR", eq. 5; cycle i lasts every · growthⁱ epochs."""
    length = schedule.every
    while epoch >= length:
        epoch -= length
        length *= schedule.growth
    return epoch / length


class Plateau:
    """Multiplies the rate by `factor` after more than `patience` epochs without improvement, down to `floor` (`plateau` only).

    Attributes:
        reduction: Product of the factors so far, in [floor, 1].
        waited: Epochs since the last improvement or reduction.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.reduction, self.waited = 1.0, 0

    def after_epoch(self, better: bool) -> None:
        """Count one epoch."""
        if self.schedule.name != "plateau":
            return
        self.waited = 0 if better else self.waited + 1
        if self.waited > self.schedule.patience:
            self.reduction, self.waited = max(self.reduction * self.schedule.factor, self.schedule.floor), 0
