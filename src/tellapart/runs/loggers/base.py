"""The contract of loggers, which show the epochs and scores of runs in another program.

The plain files of a run are the source of truth. A logger can be fed the same run again from the first epoch on without logging
anything twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tellapart.recipe.load import Recipe
from tellapart.types import Score

#: Split ("train", "valid") → metric → score.
Scores = Mapping[str, Mapping[str, Score]]
_CURVES = {
    "train_loss": "loss/train",
    "valid_loss": "loss/valid",
    "train_accuracy": "accuracy/train",
    "valid_accuracy": "accuracy/valid",
}


class RunLogger(ABC):
    """Receives epochs and scores in addition to the plain files, one run at a time."""

    @abstractmethod
    def __init__(self, runs: Path) -> None:
        """Import what is needed, before any work; `runs`: the folder of the runs.

        Raises:
            ImportError: A package is missing.
        """

    @abstractmethod
    def start(self, run_id: str, recipe: Recipe) -> None:
        """Begin a run; its epochs follow from the first on, those of earlier sessions included."""

    @abstractmethod
    def epoch(self, entry: Mapping[str, Any]) -> None:
        """Log one line of `log.jsonl`; its `epoch` is the step."""

    @abstractmethod
    def finish(self, scores: Scores) -> None:
        """End a run; no epochs follow."""

    @abstractmethod
    def close(self) -> None:
        """Close files, whether the run is finished, was interrupted, or never began."""


def figures(entry: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of one line of `log.jsonl`, except for its epoch, under names that programs group by the prefix before "/".

    >>> figures({"epoch": 3, "train_loss": 0.5, "lr": 0.01, "best": True})
    {'loss/train': 0.5, 'lr': 0.01}
    """
    numbers = {k: v for k, v in entry.items() if isinstance(v, int | float) and not isinstance(v, bool) and k != "epoch"}
    return {_CURVES.get(name, name): float(value) for name, value in numbers.items()}


def final(scores: Scores) -> dict[str, float]:
    """`scores/<part>/<metric>` → value."""
    return {f"scores/{part}/{name}": score.value for part, of in scores.items() for name, score in of.items()}
