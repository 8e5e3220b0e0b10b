"""Leaderboards and comparisons of all finished runs that the server can see, made when they are asked for.

Runs that finish while the server stands are there at the next look. What was made is kept until the runs change. Names from a
request are looked up among the runs that were found; no path is made of them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from tellapart.errors import unknown_name
from tellapart.leaderboards.leaderboard import Leaderboard, build, by_data
from tellapart.leaderboards.row import Row
from tellapart.metrics.classification import confusion_matrix
from tellapart.metrics.mcnemar import align, compare, in_words
from tellapart.reports import figures
from tellapart.reports.svg import place
from tellapart.reports.thumbnails import Picture, ThumbnailCache
from tellapart.runs import store
from tellapart.runs.store import Run
from tellapart.server.middleware import RequestError
from tellapart.types import Predictions

MOST_SHOWN = 24


@dataclass(frozen=True, eq=False)
class RunPage:
    """What the page of one run shows.

    Attributes:
        run, row: The run and its row.
        part: "test" where it was opened, else "valid".
        n: Images of that part.
        curves: How it learnt; None for families without epochs.
        confusion: Of the part; None without stored answers.
    """

    run: Run
    row: Row
    part: str
    n: int
    curves: Markup | None
    confusion: Markup | None


@dataclass(frozen=True)
class Disagreement:
    """An image of which two runs say different things."""

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
        part: "test" where both have answered it, else "valid".
        words: The comparison in one sentence.
        both, only_a, only_b, neither: Images that were right.
        found: The first of those that the two answer differently, the surest first.
        differ: How many there are.
    """

    a: Row
    b: Row
    part: str
    words: str
    both: int
    only_a: int
    only_b: int
    neither: int
    found: tuple[Disagreement, ...]
    differ: int


class LeaderboardService:
    """All runs of a folder, and those that are served.

    Args:
        served: Runs that are served, wherever they lie.
        folder: Where others are looked for.
    """

    def __init__(self, served: Sequence[Run], folder: Path) -> None:
        self._served, self._folder = list(served), folder
        self._lock = threading.Lock()  # matplotlib's settings belong to the whole process
        self._made: dict[tuple, Leaderboard] = {}
        self._pages: dict[tuple, RunPage] = {}

    def boards(self) -> list[Leaderboard]:
        """One for each data set and split; those of the served runs first."""
        groups = by_data(self._runs())
        with self._lock:
            keys = {tuple((run.id, len(run.evaluations)) for run in runs): runs for runs in groups.values()}
            self._made = {key: self._made.get(key) or build(runs) for key, runs in keys.items()}
            return list(self._made.values())

    def page(self, run_id: str) -> RunPage:
        """One run.

        Raises:
            Refused: There is no such run.
        """
        board, place = self._find(run_id)
        run, row = board.runs[place], board.rows[place]
        with self._lock:
            key = (run.id, len(run.evaluations), row.rank, len(board.rows))
            if key not in self._pages:
                self._pages[key] = _run_page(run, row)
                while len(self._pages) > 64:
                    self._pages.pop(next(iter(self._pages)))
            return self._pages[key]

    def versus(self, a: str, b: str) -> RunComparison:
        """Two runs, compared on the images that both have answered.

        Raises:
            Refused: No such run, or they share no images.
        """
        board, first = self._find(a)
        other, second = self._find(b)
        if board is not other:
            raise RequestError(
                422, f"{a} and {b} were trained on other data or another split", "compare runs of one leaderboard"
            )
        answers = _common(board.runs[first], board.runs[second])
        if answers is None:
            raise RequestError(422, f"{a} and {b} have no stored answers to the same images", "open the test part for both")
        return _versus(board, first, second, *answers)

    def _find(self, run_id: str) -> tuple[Leaderboard, int]:
        boards = self.boards()
        for board in boards:
            for position, run in enumerate(board.runs):
                if run.id == run_id:
                    return board, position
        known = [run.id for board in boards for run in board.runs]
        raise RequestError(404, unknown_name("run", run_id[:100], known), "the leaderboard lists all of them")

    def _runs(self) -> list[Run]:
        found = [Run(run.folder) for run in self._served] + store.list_runs(self._folder)
        return list({run.folder: run for run in found}.values())


def _run_page(run: Run, row: Row) -> RunPage:
    curves = None
    if run.log:
        about = f"Loss and accuracy on train and validation over {len(run.log)} epochs."
        curves = place(figures.curves(run.log), "curves", about)
    part = "test" if run.evaluations else "valid"
    predictions = run.predictions(part)
    if predictions is None or not len(predictions):
        return RunPage(run, row, part, 0, curves, None)
    counts = confusion_matrix(predictions.labels, predictions.predicted, len(run.classes))
    about = f"Confusion matrix of {len(predictions):,} images, {counts.trace():,} of them right."
    drawn = place(figures.confusion(counts, run.classes), "confusion", about)
    return RunPage(run, row, part, len(predictions), curves, drawn)


def _common(a: Run, b: Run) -> tuple[str, Predictions, Predictions] | None:
    """The part that both have answered, the test part first, and their answers in one order."""
    for part in ("test", "valid"):
        ours, theirs = a.predictions(part), b.predictions(part)
        if ours is not None and theirs is not None and len(ours):
            return part, ours, align(ours, theirs)
    return None


def _versus(board: Leaderboard, first: int, second: int, part: str, ours: Predictions, theirs: Predictions) -> RunComparison:
    a, b = board.rows[first], board.rows[second]
    right_a, right_b = ours.predicted == ours.labels, theirs.predicted == theirs.labels
    differ = np.flatnonzero(ours.predicted != theirs.predicted)
    sure = np.maximum(ours.proba.max(axis=1), theirs.proba.max(axis=1))[differ]
    rows = differ[np.argsort(-sure, kind="stable")][:MOST_SHOWN]
    with ThumbnailCache(board.runs[first].table()) as album:
        found = tuple(_disagreement(ours, theirs, row, album) for row in rows)
    words = in_words(a.name, b.name, compare(ours, theirs))
    both, only_a, only_b = (int(c.sum()) for c in (right_a & right_b, right_a & ~right_b, ~right_a & right_b))
    neither = len(ours) - both - only_a - only_b
    return RunComparison(a, b, part, words, both, only_a, only_b, neither, found, len(differ))


def _disagreement(ours: Predictions, theirs: Predictions, row: int, album: ThumbnailCache) -> Disagreement:
    names, picture = ours.classes, album.picture(str(ours.ids[row]))
    (a, a_proba), (b, b_proba) = ((names[p.predicted[row]], float(p.proba[row].max())) for p in (ours, theirs))
    return Disagreement(picture, names[ours.labels[row]], a, a_proba, b, b_proba)
