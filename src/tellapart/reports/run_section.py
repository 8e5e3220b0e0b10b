"""Section of the report on one run.

No scores are computed here: scores are those stored with the run, tables and matrices come from `tellapart.metrics`. The page
therefore agrees with scikit-learn on `predictions/test.parquet`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml
from markupsafe import Markup

from tellapart import formatting
from tellapart.errors import RunError
from tellapart.leaderboards.row import Row
from tellapart.metrics.classification import confused_pairs, confusion_matrix
from tellapart.metrics.score_all import score_classes
from tellapart.reports import calibration_section, codec_section, ensemble_section, errors_section, figures, robustness_section
from tellapart.reports.svg import FigureSheet
from tellapart.reports.thumbnails import Mistake, ThumbnailCache, mistakes
from tellapart.runs.store import Run, Scores
from tellapart.types import SPLITS, Predictions, Score

MOST_CONFUSIONS = 10
#: Maximum number of classes for a confusion matrix: its memory and drawing grow with the square of it.
MATRIX_UP_TO = 500
#: Maximum number of classes in a table.
MOST_LISTED = 200
#: Renders a section from run, row, key, thumbnails, figure sheet and level of the headings.
Renderer = Callable[[Run, Row, str, ThumbnailCache, FigureSheet, int], Markup | None]
#: Views of the confusion matrix: content of the cells, and basis of the colors.
VIEWS = {"counts": "counts", "row": "by row", "column": "by column"}


@dataclass(frozen=True)
class Confusion:
    """Images of one class that are predicted as another."""

    true: str
    predicted: str
    count: int
    share: float  # of the true class


@dataclass(frozen=True, eq=False)
class Errors:
    """Errors of a run on one split.

    Attributes:
        split: "test" if it was opened, else "valid".
        predictions: The predictions.
        images: (C,) int64, images of each class.
        said: (C,) int64, predictions of each class.
        wrong: Number of wrong predictions.
        listed: Labels of the classes in the table.
        each: Precision, recall and F1 of each of them, each with its n; undefined scores are omitted.
        confused: The most frequent confusions.
        mistakes: The most confident errors.
        views: Views of the confusion matrix: (key, name, figure); none if there are more than `MATRIX_UP_TO` classes.
    """

    split: str
    predictions: Predictions
    images: np.ndarray
    said: np.ndarray
    wrong: int
    listed: list[int]
    each: dict[str, dict[str, Score]]
    confused: list[Confusion]
    mistakes: list[Mistake]
    views: list[tuple[str, str, Markup]]

    @property
    def part(self) -> str:
        """Name of the split."""
        return formatting.PARTS[self.split]


@dataclass(frozen=True)
class OptionalSection:
    """A section that not every run has."""

    name: str
    title: str
    content: Markup


@dataclass(frozen=True, eq=False)
class RunSection:
    """Content of the section on one run."""

    key: str
    run: Run
    row: Row
    scores: dict[str, Scores]  # split → metric → score, scored splits only
    errors: Errors | None
    curves: Markup | None
    kept: dict[str, Any] | None  # line of the log of the epoch whose weights were kept
    sections: list[OptionalSection]
    recipe: str
    environment: list[tuple[str, str]]

    @property
    def metrics(self) -> set[str]:
        """Metrics of all splits."""
        return {metric for scores in self.scores.values() for metric in scores}

    @property
    def anchors(self) -> list[tuple[str, str]]:
        """Anchors and names of the subsections, in order."""
        training = [("training", "training curves")] if self.curves else []
        errors = [("errors", "errors")] if self.errors else []
        optional = [(section.name, section.title) for section in self.sections]
        return [("scores", "scores"), *training, *errors, *optional, ("recipe", "recipe")]

    @property
    def device(self) -> str:
        """Device on which times were measured."""
        found = [self.run.environment.get(key) for key in ("device", "processor")]
        return ", ".join(str(name) for name in found if name) or "an unknown machine"


def run_section(run: Run, row: Row, key: str, album: ThumbnailCache, sheet: FigureSheet, level: int = 4) -> RunSection:
    """Collect the content of the section on one run.

    Args:
        run: The run.
        row: Row of the run in the leaderboard.
        key: Unique key on the page.
        album: Thumbnails of the data.
        sheet: Destination of the figures.
        level: Level of the headings.
    """
    log = run.log
    curves = None
    if log:
        about = f"Loss and accuracy of {row.name} on train and validation over {len(log)} epochs."
        curves = sheet.add(figures.curves(log), f"{run.id}-curves", f"{key}-curves", about)
    best = figures.best_epoch(log)
    return RunSection(
        key=key,
        run=run,
        row=row,
        scores={split: row.scores(split) for split in SPLITS if row.scores(split)},
        errors=_errors(run, row, key, album, sheet),
        curves=curves,
        kept=next((line for line in reversed(log) if best is not None and line["epoch"] == best), None),
        sections=[
            OptionalSection(name, title, content)
            for name, title, render in OPTIONAL_SECTIONS
            if (content := _optional(render, title, run, row, key, album, sheet, level)) is not None
        ],
        recipe=yaml.safe_dump(run.recipe, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None),
        environment=formatting.flat(run.environment),
    )


def _optional(
    render: Renderer, title: str, run: Run, row: Row, key: str, album: ThumbnailCache, sheet: FigureSheet, level: int
) -> Markup | None:
    """Render an optional section; where the results that it shows cannot be read, it names the file instead."""
    try:
        return render(run, row, key, album, sheet, level)
    except RunError as error:
        return Markup('<h{0} class="part">{1}</h{0}>\n<p>Left out: {2}</p>').format(level, title.capitalize(), error.message)


def _errors(run: Run, row: Row, key: str, album: ThumbnailCache, sheet: FigureSheet) -> Errors | None:
    """Errors on the latest test predictions, else on validation; None without stored predictions."""
    for split in ("test", "valid"):
        predictions = run.predictions(split)
        if predictions is None or not len(predictions):
            continue
        labels, predicted, classes = predictions.labels, predictions.predicted, predictions.classes
        images, said = (np.bincount(of, minlength=len(classes)) for of in (labels, predicted))
        listed = most_frequent(images)
        return Errors(
            split=split,
            predictions=predictions,
            images=images,
            said=said,
            wrong=int((labels != predicted).sum()),
            listed=listed,
            each=score_classes(predictions, listed),
            confused=most_confused(labels, predicted, classes),
            mistakes=mistakes(predictions, album),
            views=_views(run, row, key, predictions, split, sheet) if len(classes) <= MATRIX_UP_TO else [],
        )
    return None


def most_frequent(counts: np.ndarray) -> list[int]:
    """Labels of the classes that a table shows: all, or the `MOST_LISTED` most frequent; in label order.

    Args:
        counts: (C,) int64.

    >>> most_frequent(np.array([3, 1, 2]))
    [0, 1, 2]
    """
    return sorted(np.argsort(-counts, kind="stable")[:MOST_LISTED].tolist())


def _views(
    run: Run, row: Row, key: str, predictions: Predictions, split: str, sheet: FigureSheet
) -> list[tuple[str, str, Markup]]:
    """Draw the views of the confusion matrix."""
    classes = predictions.classes
    counts = confusion_matrix(predictions.labels, predictions.predicted, len(classes))
    images = f"{len(predictions):,} {formatting.PARTS[split]} images, {counts.trace():,} of them correct"
    about = f"Confusion matrix of {row.name} on {images}."
    shown = [view for view in VIEWS if len(classes) <= figures.NUMBERS_UP_TO or view != "counts"]
    return [
        (view, VIEWS[view], sheet.add(figures.confusion(counts, classes, view), *_placed(run, key, view), about))
        for view in shown
    ]


def _placed(run: Run, key: str, view: str) -> tuple[str, str]:
    """File name and key of a view."""
    ending = "confusion" if view == "counts" else f"confusion-{view}"
    return f"{run.id}-{ending}", f"{key}-{ending}"


def most_confused(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> list[Confusion]:
    """Find the most frequent confusions, in decreasing order.

    Args:
        labels: (N,) int64.
        predicted: (N,) int64.
        classes: Names of the C classes.

    >>> most_confused(np.array([0, 0, 0, 0, 1]), np.array([0, 0, 0, 1, 1]), ["cat", "dog"])
    [Confusion(true='cat', predicted='dog', count=1, share=0.25)]
    """
    pairs: list[list[int]] = confused_pairs(labels, predicted)[:MOST_CONFUSIONS].tolist()
    return [Confusion(classes[i], classes[j], n, n / int((labels == i).sum())) for i, j, n in pairs]


def _without_thumbnails(render: Callable[[Run, Row, str, FigureSheet, int], Markup | None]) -> Renderer:
    """Adapt a section without thumbnails to `Renderer`."""
    return lambda run, row, key, album, sheet, level: render(run, row, key, sheet, level)


#: Sections that only some runs have: anchor, name, and the function that renders it, or returns None.
OPTIONAL_SECTIONS: tuple[tuple[str, str, Renderer], ...] = (
    ("ensemble", "members", _without_thumbnails(ensemble_section.render_section)),
    ("calibration", "calibration", _without_thumbnails(calibration_section.render_section)),
    ("slices", "slices", errors_section.render_section),
    ("robustness", "robustness", _without_thumbnails(robustness_section.render_section)),
    ("bias", "codec bias", _without_thumbnails(codec_section.render_section)),
)
