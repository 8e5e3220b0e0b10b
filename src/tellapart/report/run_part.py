"""What the report says of one run: read from its folder, computed by `tellapart.evaluate`.

No number is made here: scores are those stored with the run, tables and matrices come from `evaluate.metrics`, so the
page equals scikit-learn on `predictions/test.parquet`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml
from markupsafe import Markup

from tellapart.evaluate.metrics import PerClass, confusion_matrix, per_class
from tellapart.report import figures
from tellapart.report.pictures import Album, Mistake, mistakes
from tellapart.report.svg import Sheet
from tellapart.runs import wording
from tellapart.runs.leaderboard import Row
from tellapart.runs.store import Run, Scores
from tellapart.types import SPLITS, Predictions

MOST_CONFUSIONS = 10


@dataclass(frozen=True)
class Confused:
    """Images of one class that were taken for another."""

    true: str
    predicted: str
    count: int
    share: float  # of the true class


@dataclass(frozen=True, eq=False)
class Answers:
    """What the predictions of a run on one split show.

    Attributes:
        split: "test" when it was opened, else "valid".
        counts: (C, C) int64, rows are true classes.
        each: Scores of every class.
        wrong: Wrong answers in all.
    """

    split: str
    predictions: Predictions
    counts: np.ndarray
    each: PerClass
    confused: list[Confused]
    mistakes: list[Mistake]
    matrix: Markup

    @property
    def part(self) -> str:
        """The split, in words."""
        return wording.PARTS[self.split]

    @property
    def wrong(self) -> int:
        """Wrong answers in all."""
        return int(self.counts.sum() - self.counts.trace())


@dataclass(frozen=True, eq=False)
class RunPart:
    """One run's part of the page."""

    key: str
    run: Run
    row: Row
    scores: dict[str, Scores]  # split → metric → score, scored splits only
    answers: Answers | None
    curves: Markup | None
    kept: dict[str, Any] | None  # the line of the log whose weights were kept
    recipe: str
    environment: list[tuple[str, str]]

    @property
    def device(self) -> str:
        """What the run was timed on."""
        found = [self.run.environment.get(key) for key in ("device", "processor")]
        return ", ".join(str(name) for name in found if name) or "a machine that was not written down"


def run_part(run: Run, row: Row, key: str, album: Album, sheet: Sheet) -> RunPart:
    """Everything on one run.

    Args:
        run: The run.
        row: Its row of the leaderboard.
        key: Unique on the page.
        album: Pictures of the data.
        sheet: Where its figures go.
    """
    log = run.log
    curves = None
    if log:
        about = f"Loss and accuracy of {row.name} on train and validation over {len(log)} epochs."
        curves = sheet.place(figures.curves(log), f"{run.id}-curves", f"{key}-curves", about)
    best = figures.best_epoch(log)
    return RunPart(
        key=key,
        run=run,
        row=row,
        scores={split: row.scores(split) for split in SPLITS if row.scores(split)},
        answers=_answers(run, row, key, album, sheet),
        curves=curves,
        kept=next((line for line in reversed(log) if best is not None and line["epoch"] == best), None),
        recipe=yaml.safe_dump(run.recipe, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None),
        environment=wording.flat(run.environment),
    )


def _answers(run: Run, row: Row, key: str, album: Album, sheet: Sheet) -> Answers | None:
    """From the latest opening of the test part, else from validation; None without stored predictions."""
    for split in ("test", "valid"):
        predictions = run.predictions(split)
        if predictions is None or not len(predictions):
            continue
        labels, answers, classes = predictions.labels, predictions.answers, predictions.classes
        counts = confusion_matrix(labels, answers, len(classes))
        images = f"{len(labels):,} {wording.PARTS[split]} images, {counts.trace():,} of them right"
        about = f"Confusion matrix of {row.name} on {images}."
        figure = figures.confusion(counts, classes)
        return Answers(
            split=split,
            predictions=predictions,
            counts=counts,
            each=per_class(labels, answers, len(classes)),
            confused=most_confused(counts, classes),
            mistakes=mistakes(predictions, album),
            matrix=sheet.place(figure, f"{run.id}-confusion", f"{key}-confusion", about),
        )
    return None


def most_confused(counts: np.ndarray, classes: Sequence[str]) -> list[Confused]:
    """The most frequent wrong answers, most images first.

    Args:
        counts: (C, C) int64, rows are true classes.
        classes: C names.

    >>> most_confused(np.array([[3, 1], [0, 4]]), ["cat", "dog"])
    [Confused(true='cat', predicted='dog', count=1, share=0.25)]
    """
    wrong = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSIONS]
    pairs = [divmod(int(place), len(counts)) for place in order]
    return [
        Confused(classes[i], classes[j], int(wrong[i, j]), float(wrong[i, j] / counts[i].sum()))
        for i, j in pairs
        if wrong[i, j]
    ]
