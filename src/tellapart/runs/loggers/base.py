"""What a sink promises: it is told of a run's epochs and scores, and shows them in another program.

The plain files of a run are the truth; a sink is fed from them and can be fed anew: telling it of the same run again, from the
first epoch on, logs nothing twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tellapart.recipe.load import Recipe
from tellapart.types import Score

#: Part ("train", "valid") → metric → score.
Scores = Mapping[str, Mapping[str, Score]]
_CURVES = {
    "train_loss": "loss/train",
    "valid_loss": "loss/valid",
    "train_accuracy": "accuracy/train",
    "valid_accuracy": "accuracy/valid",
}


class RunLogger(ABC):
    """Where epochs and scores go beside the plain files; one run at a time."""

    @abstractmethod
    def __init__(self, runs: Path) -> None:
        """Import what is needed, before any work; `runs`: the folder of the runs.

        Raises:
            ImportError: A package is missing.
        """

    @abstractmethod
    def start(self, run_id: str, recipe: Recipe) -> None:
        """The epochs of this run follow, from its first on, those of earlier sessions included."""

    @abstractmethod
    def epoch(self, entry: Mapping[str, Any]) -> None:
        """One line of `log.jsonl`; its `epoch` is the x of its figures."""

    @abstractmethod
    def finish(self, scores: Scores) -> None:
        """The run is done; no epochs follow."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files, whether the run is done, was cut off, or never started."""


def figures(entry: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of one line of `log.jsonl`, but for its epoch, under names that programs group by what stands before "/".

    >>> figures({"epoch": 3, "train_loss": 0.5, "lr": 0.01, "best": True})
    {'loss/train': 0.5, 'lr': 0.01}
    """
    numbers = {k: v for k, v in entry.items() if isinstance(v, int | float) and not isinstance(v, bool) and k != "epoch"}
    return {_CURVES.get(name, name): float(value) for name, value in numbers.items()}


def final(scores: Scores) -> dict[str, float]:
    """`scores/<part>/<metric>` → value."""
    return {f"scores/{part}/{name}": score.value for part, of in scores.items() for name, score in of.items()}
