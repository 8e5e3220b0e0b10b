"""What the report says of one run: read from its folder, computed by `tellapart.metrics`.

No number is made here: scores are those stored with the run, tables and matrices come from `evaluate.metrics`, so the
page equals scikit-learn on `predictions/test.parquet`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml
from markupsafe import Markup

from tellapart import formatting
from tellapart.leaderboards.row import Row
from tellapart.metrics.classification import confusion_matrix
from tellapart.metrics.score_all import score_classes
from tellapart.reports import calibration_section, codec_section, ensemble_section, errors_section, figures, robustness_section
from tellapart.reports.svg import FigureSheet
from tellapart.reports.thumbnails import Mistake, ThumbnailCache, mistakes
from tellapart.runs.store import Run, Scores
from tellapart.types import SPLITS, Predictions, Score

MOST_CONFUSIONS = 10
#: Of a run, its row, a key, pictures, where figures go, and the level of headings.
PageMaker = Callable[[Run, Row, str, ThumbnailCache, FigureSheet, int], Markup | None]
#: The confusion matrix, three times: what is written in its cells, and what the colors are shares of.
VIEWS = {"counts": "counts", "row": "by row", "column": "by column"}


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
        each: Precision, recall and F1 of every class, each with its n; what is undefined is left out.
        views: The confusion matrix: (key, name, figure).
        wrong: Wrong answers in all.
    """

    split: str
    predictions: Predictions
    counts: np.ndarray
    each: dict[str, dict[str, Score]]
    confused: list[Confused]
    mistakes: list[Mistake]
    views: list[tuple[str, str, Markup]]

    @property
    def part(self) -> str:
        """The split, in words."""
        return formatting.PARTS[self.split]

    @property
    def wrong(self) -> int:
        """Wrong answers in all."""
        return int(self.counts.sum() - self.counts.trace())


@dataclass(frozen=True)
class Page:
    """A part of the run's page that not every run has."""

    name: str
    title: str
    content: Markup


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
    pages: list[Page]
    recipe: str
    environment: list[tuple[str, str]]

    @property
    def metrics(self) -> set[str]:
        """The metrics that some part has."""
        return {metric for scores in self.scores.values() for metric in scores}

    @property
    def parts(self) -> list[tuple[str, str]]:
        """(anchor, name) of what the page of this run holds, in its order."""
        learnt = [("learnt", "how it learnt")] if self.curves else []
        errs = [("errs", "where it errs")] if self.answers else []
        return [("scores", "scores"), *learnt, *errs, *((of.name, of.title) for of in self.pages), ("recipe", "recipe")]

    @property
    def device(self) -> str:
        """What the run was timed on."""
        found = [self.run.environment.get(key) for key in ("device", "processor")]
        return ", ".join(str(name) for name in found if name) or "a machine that was not written down"


def run_part(run: Run, row: Row, key: str, album: ThumbnailCache, sheet: FigureSheet, level: int = 4) -> RunPart:
    """Everything on one run.

    Args:
        run: The run.
        row: Its row of the leaderboard.
        key: Unique on the page.
        album: Pictures of the data.
        sheet: Where its figures go.
        level: Of the headings inside.
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
        pages=[
            Page(name, title, content)
            for name, title, page in PAGES
            if (content := page(run, row, key, album, sheet, level)) is not None
        ],
        recipe=yaml.safe_dump(run.recipe, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None),
        environment=formatting.flat(run.environment),
    )


def _answers(run: Run, row: Row, key: str, album: ThumbnailCache, sheet: FigureSheet) -> Answers | None:
    """From the latest opening of the test part, else from validation; None without stored predictions."""
    for split in ("test", "valid"):
        predictions = run.predictions(split)
        if predictions is None or not len(predictions):
            continue
        labels, answers, classes = predictions.labels, predictions.predicted, predictions.classes
        counts = confusion_matrix(labels, answers, len(classes))
        images = f"{len(labels):,} {formatting.PARTS[split]} images, {counts.trace():,} of them right"
        about = f"Confusion matrix of {row.name} on {images}."
        shown = [view for view in VIEWS if len(classes) <= figures.NUMBERS_UP_TO or view != "counts"]
        return Answers(
            split=split,
            predictions=predictions,
            counts=counts,
            each=score_classes(predictions),
            confused=most_confused(counts, classes),
            mistakes=mistakes(predictions, album),
            views=[
                (view, VIEWS[view], sheet.place(figures.confusion(counts, classes, view), *_placed(run, key, view), about))
                for view in shown
            ],
        )
    return None


def _placed(run: Run, key: str, view: str) -> tuple[str, str]:
    """The name of its file, and its key on the page."""
    ending = "confusion" if view == "counts" else f"confusion-{view}"
    return f"{run.id}-{ending}", f"{key}-{ending}"


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


def _without_pictures(page: Callable[[Run, Row, str, FigureSheet, int], Markup | None]) -> PageMaker:
    """A page that shows no picture, as one that could."""
    return lambda run, row, key, album, sheet, level: page(run, row, key, sheet, level)


#: Parts of a run's page that only some runs have: anchor, name in the run's list of parts, and what makes it, or None.
PAGES: tuple[tuple[str, str, PageMaker], ...] = (
    ("ensemble", "its members", _without_pictures(ensemble_section.page)),
    ("calibration", "how true its probabilities are", _without_pictures(calibration_section.page)),
    ("slices", "by slice", errors_section.page),
    ("robustness", "under damage", _without_pictures(robustness_section.page)),
    ("bias", "codec, or fragility", _without_pictures(codec_section.page)),
)
