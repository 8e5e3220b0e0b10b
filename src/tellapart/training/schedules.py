"""Learning rate over a run, as a share of its peak.

Progress is a share of the whole run, so that a bound in minutes shortens a course instead of cutting it off; what people state
in epochs (`every`, `patience`) stays in epochs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tellapart.recipe.schema import Schedule

_CYCLE_START = 1 / 25  # of the peak, as in Smith & Topin 2018, "Super-Convergence"


def lr_factor(progress: float, schedule: Schedule, epoch: float = 0.0, warmup_epochs: float = 0.0) -> float:
    """Learning rate / peak, without what a plateau takes off.

    Args:
        progress: In [0, 1] of the run.
        schedule: Of the recipe.
        epoch: Passes over the data so far, with the fraction of the one under way.
        warmup_epochs: How many of them the warm-up takes.
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < schedule.warmup:
        rise = progress / schedule.warmup
        if schedule.name == "one_cycle":
            return _CYCLE_START + (1 - _CYCLE_START) * (1 - math.cos(math.pi * rise)) / 2
        return rise
    rest = (progress - schedule.warmup) / max(1 - schedule.warmup, 1e-12)
    after = max(epoch - warmup_epochs, 0.0)
    if schedule.name in _COURSES:
        return schedule.floor + (1 - schedule.floor) * _COURSES[schedule.name](rest)
    if schedule.name == "restarts":
        return schedule.floor + (1 - schedule.floor) * _half_cosine(_place_in_cycle(after, schedule))
    if schedule.name == "step":
        return max(schedule.factor ** math.floor(after / schedule.every), schedule.floor)
    if schedule.name == "exponential":
        return max(schedule.factor ** (after / schedule.every), schedule.floor)
    return 1.0  # constant, plateau


def _half_cosine(place: float) -> float:
    return (1 + math.cos(math.pi * place)) / 2


_COURSES: dict[str, Callable[[float], float]] = {
    "linear": lambda rest: 1 - rest,
    "cosine": _half_cosine,
    "one_cycle": _half_cosine,
}


def _place_in_cycle(epoch: float, schedule: Schedule) -> float:
    """In [0, 1): Loshchilov & Hutter 2017, "SGDR", eq. 5; cycle i lasts every · growthⁱ epochs."""
    length = schedule.every
    while epoch >= length:
        epoch -= length
        length *= schedule.growth
    return epoch / length


class Plateau:
    """× `factor` after more than `patience` epochs without a better validation, down to `floor` (plateau schedules only).

    Attributes:
        reduction: Product of the factors so far, in [floor, 1].
        waited: Epochs since the last better one, or the last reduction.
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
