"""Learning rate over a run, as a share of its peak."""

from __future__ import annotations

import math

from tellapart.recipe import Schedule


def share(progress: float, schedule: Schedule) -> float:
    """Learning rate / peak at `progress` in [0, 1] of the run: linear warm-up from 0, then decay to `floor`."""
    progress = min(max(progress, 0.0), 1.0)
    if progress < schedule.warmup:
        return progress / schedule.warmup
    rest = (progress - schedule.warmup) / max(1 - schedule.warmup, 1e-12)
    decay = {"constant": 1.0, "linear": 1 - rest, "cosine": (1 + math.cos(math.pi * rest)) / 2}[schedule.name]
    return schedule.floor + (1 - schedule.floor) * decay if schedule.name != "constant" else 1.0
