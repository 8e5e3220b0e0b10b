"""One evaluation of a run on its test split, read from `runs/evaluations/<id>/<n>/`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tellapart.plain_data import read_json
from tellapart.runs.stored_tables import read_predictions
from tellapart.types import Predictions, Score

#: Metric → score.
Scores = dict[str, Score]


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a run on the test split."""

    folder: Path
    number: int
    classes: tuple[str, ...]

    @cached_property
    def predictions(self) -> Predictions:
        """The predictions for the test images."""
        return read_predictions(self.folder / "predictions" / "test.parquet", self.classes)

    @cached_property
    def _content(self) -> dict[str, Any]:
        return read_json(self.folder / "scores.json")

    @property
    def scores(self) -> Scores:
        """Scores on the test split, by metric."""
        return {name: Score.from_dict(score) for name, score in self._content["test"].items()}

    @property
    def images_per_second(self) -> float:
        """Speed of `predict` on the test split, with decoded images in memory."""
        return float(self._content["cost"]["images_per_second"])

    @property
    def opened(self) -> str:
        """Time of the evaluation: ISO 8601, UTC."""
        return str(self._content["opened"])
