"""TensorBoard: event files in `runs/tensorboard/<run>`, shown by `tensorboard --logdir runs/tensorboard`."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tellapart.recipe.load import Recipe
from tellapart.runs.loggers.base import RunLogger, Scores, figures, final


class TensorBoard(RunLogger):
    """One folder per run. A resumed run is rewritten from its first epoch: TensorBoard draws a step twice if it is logged
    twice.
    """

    def __init__(self, runs: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder, self._make = runs / "tensorboard", SummaryWriter
        self.writer: SummaryWriter | None = None
        self.last = 0

    def start(self, run_id: str, recipe: Recipe) -> None:
        """Remove the files of an earlier session of this run, and open its folder."""
        self.close()
        place = self.folder / run_id
        for old in place.glob("events.out.tfevents.*"):
            old.unlink()
        self.writer, self.last = self._make(str(place)), 0
        self.writer.add_text("recipe", textwrap.indent(recipe.dump(), "    "), 0)

    def epoch(self, entry: Mapping[str, Any]) -> None:
        """Add one point per curve; an epoch that is repeated after a crash is not logged again."""
        if entry["epoch"] > self.last:
            self.last = int(entry["epoch"])
            self._write(figures(entry))

    def finish(self, scores: Scores) -> None:
        """Add points at the last epoch; at 0 for runs without epochs."""
        self._write(final(scores))

    def close(self) -> None:
        """Close the event file."""
        if self.writer is not None:
            self.writer.close()
        self.writer = None

    def _write(self, values: Mapping[str, float]) -> None:
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(name, value, self.last)
            self.writer.flush()
