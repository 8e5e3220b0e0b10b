"""Leaderboards, run pages and comparisons of all finished runs, computed on request.

Runs that finish while the server is running appear at the next request. Results are cached until the runs change. Run ids from
a request are looked up among the known runs; no path is built from them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from tellapart.errors import RunError, unknown_name
from tellapart.leaderboards.leaderboard import Leaderboard, build, by_data
from tellapart.leaderboards.row import Row
from tellapart.metrics.classification import confusion_matrix
from tellapart.metrics.mcnemar import align, compare, describe
from tellapart.reports import figures
from tellapart.reports.run_section import MATRIX_UP_TO
from tellapart.reports.svg import place
from tellapart.reports.thumbnails import Picture, ThumbnailCache
from tellapart.runs import store
from tellapart.runs.store import Run
from tellapart.server.middleware import RequestError
from tellapart.types import Predictions

MAX_SHOWN = 24


@dataclass(frozen=True, eq=False)
class RunPage:
    """Content of the page of one run.

    Attributes:
        run, row: The run and its row in the leaderboard.
        split: "test" if the run was evaluated on it, else "valid".
        n: Number of images of that split.
        curves: Learning curves; None for families without epochs.
        confusion: Confusion matrix of the split; None without stored predictions, or with too many classes to draw.
    """

    run: Run
    row: Row
    split: str
    n: int
    curves: Markup | None
    confusion: Markup | None


@dataclass(frozen=True)
class Disagreement:
    """An image for which two runs predict different classes."""

    picture: Picture
    true: str
    a: str
    a_proba: float
    b: str
    b_proba: float


@dataclass(frozen=True, eq=False)
class RunComparison:
    """Two runs on the same images.

    Attributes:
        split: "test" if both have predictions for it, else "valid".
        description: The paired test in one sentence.
        both, only_a, only_b, neither: Number of images predicted correctly by them.
        shown: The disagreements with the highest probability.
        n_disagreements: Number of images with different predictions.
    """

    a: Row
    b: Row
    split: str
    description: str
    both: int
    only_a: int
    only_b: int
    neither: int
    shown: tuple[Disagreement, ...]
    n_disagreements: int


class LeaderboardService:
    """Leaderboards of the served runs and of all runs of a folder.

    Args:
        served: The served runs, in any folder.
        folder: Folder of the other runs; those that cannot be read are left out.
        images: Folder of the images of runs that were trained elsewhere; None: they are not shown.
    """

    def __init__(self, served: Sequence[Run], folder: Path, images: Path | None = None) -> None:
        self._served, self._folder, self._images = list(served), folder, images
        self._lock = threading.Lock()  # matplotlib's settings are global to the process
        self._boards: dict[tuple, Leaderboard] = {}
        self._pages: dict[tuple, RunPage] = {}

    def all(self) -> list[Leaderboard]:
        """One leaderboard for each data set and split; those of the served runs first."""
        groups = by_data(self._runs())
        with self._lock:
            keys = {tuple((run.id, len(run.evaluations)) for run in runs): runs for runs in groups.values()}
            self._boards = {key: self._boards.get(key) or build(runs) for key, runs in keys.items()}
            return list(self._boards.values())

    def run_page(self, run_id: str) -> RunPage:
        """Content of the page of one run.

        Raises:
            RequestError: The run does not exist.
        """
        board, position = self._find(run_id)
        run, row = board.runs[position], board.rows[position]
        with self._lock:
            key = (run.id, len(run.evaluations), row.rank, len(board.rows))
            if key not in self._pages:
                self._pages[key] = _run_page(run, row)
                while len(self._pages) > 64:
                    self._pages.pop(next(iter(self._pages)))
            return self._pages[key]

    def compare(self, a: str, b: str) -> RunComparison:
        """Compare two runs on the images that both have predicted.

        Raises:
            RequestError: A run does not exist, or the runs share no images.
        """
        board, first = self._find(a)
        other, second = self._find(b)
        if board is not other:
            raise RequestError(422, f"{a} and {b} were trained on different data or splits", "compare runs of one leaderboard")
        predictions = _common(board.runs[first], board.runs[second])
        if predictions is None:
            raise RequestError(422, f"{a} and {b} have no stored predictions for the same images", "evaluate both on test")
        return _comparison(board, first, second, *predictions)

    def _find(self, run_id: str) -> tuple[Leaderboard, int]:
        boards = self.all()
        for board in boards:
            for position, run in enumerate(board.runs):
                if run.id == run_id:
                    return board, position
        known = [run.id for board in boards for run in board.runs]
        raise RequestError(404, unknown_name("run", run_id[:100], known), "the leaderboard lists all runs")

    def _runs(self) -> list[Run]:
        damaged: list[RunError] = []
        runs = [Run(run.folder, run.images) for run in self._served] + store.list_runs(self._folder, self._images, damaged)
        return list({run.folder: run for run in runs}.values())


def _run_page(run: Run, row: Row) -> RunPage:
    curves = None
    if run.log:
        about = f"Training and validation loss and accuracy over {len(run.log)} epochs."
        curves = place(figures.curves(run.log), "curves", about)
    split = "test" if run.evaluations else "valid"
    predictions = run.predictions(split)
    if predictions is None or not len(predictions):
        return RunPage(run, row, split, 0, curves, None)
    if len(run.classes) > MATRIX_UP_TO:
        return RunPage(run, row, split, len(predictions), curves, None)
    counts = confusion_matrix(predictions.labels, predictions.predicted, len(run.classes))
    about = f"Confusion matrix of {len(predictions):,} images, {counts.trace():,} of them correct."
    drawn = place(figures.confusion(counts, run.classes), "confusion", about)
    return RunPage(run, row, split, len(predictions), curves, drawn)


def _common(a: Run, b: Run) -> tuple[str, Predictions, Predictions] | None:
    """The split that both have predicted, test preferred, and their predictions in the same order."""
    for split in ("test", "valid"):
        ours, theirs = a.predictions(split), b.predictions(split)
        if ours is not None and theirs is not None and len(ours):
            return split, ours, align(ours, theirs)
    return None


def _comparison(
    board: Leaderboard, first: int, second: int, split: str, ours: Predictions, theirs: Predictions
) -> RunComparison:
    a, b = board.rows[first], board.rows[second]
    right_a, right_b = ours.predicted == ours.labels, theirs.predicted == theirs.labels
    different = np.flatnonzero(ours.predicted != theirs.predicted)
    probability = np.maximum(ours.proba.max(axis=1), theirs.proba.max(axis=1))[different]
    rows = different[np.argsort(-probability, kind="stable")][:MAX_SHOWN]
    with ThumbnailCache(board.runs[first].table()) as cache:
        shown = tuple(_disagreement(ours, theirs, row, cache) for row in rows)
    description = describe(a.name, b.name, compare(ours, theirs))
    both, only_a, only_b = (int(c.sum()) for c in (right_a & right_b, right_a & ~right_b, ~right_a & right_b))
    neither = len(ours) - both - only_a - only_b
    return RunComparison(a, b, split, description, both, only_a, only_b, neither, shown, len(different))


def _disagreement(ours: Predictions, theirs: Predictions, row: int, cache: ThumbnailCache) -> Disagreement:
    names, picture = ours.classes, cache.picture(str(ours.ids[row]))
    (a, a_proba), (b, b_proba) = ((names[p.predicted[row]], float(p.proba[row].max())) for p in (ours, theirs))
    return Disagreement(picture, names[ours.labels[row]], a, a_proba, b, b_proba)
