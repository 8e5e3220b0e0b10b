"""Section of the report on one data set: images, leaderboard and runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from tellapart import formatting
from tellapart.leaderboards.leaderboard import Leaderboard
from tellapart.leaderboards.render import comparison_lines, left_out_lines, opening_lines
from tellapart.recipe.groups import BASELINE
from tellapart.reports import figures
from tellapart.reports.run_section import RunSection, most_frequent, run_section
from tellapart.reports.summary import headline_figures, summarize
from tellapart.reports.svg import FigureSheet
from tellapart.reports.thumbnails import Picture, Samples, ThumbnailCache, samples
from tellapart.runs.store import Run
from tellapart.types import SPLITS, ImageTable, Problem

#: Up to this number of classes, counts are a table with bars; above it a chart, with a collapsed table.
TABLE_UP_TO = 20
FIRST_PROBLEMS = 5
#: Counts under `duplicates` in data.json, in words.
DUPLICATES = {
    "images": "images with a byte-identical duplicate",
    "across_splits": "validation or test images with a duplicate in an earlier split",
    "across_classes": "images with a duplicate that has another label",
}


@dataclass(frozen=True, eq=False)
class DatasetSection:
    """Content of the section on one data set."""

    key: str
    name: str
    table: ImageTable
    unlabeled: int
    counts: pd.DataFrame
    listed: list[int]  # labels of the classes in the table and the chart
    chart: Markup | None
    samples: list[Samples]
    missing: list[Picture]
    left_out: list[str]
    problems: list[tuple[str, int, list[Problem], int]]
    duplicates: list[tuple[str, int]]
    duplicate_pairs: list[tuple[str, str]]  # examples of ids whose files are byte-identical
    board: Leaderboard
    plot: Markup
    summary: list[str]
    headline: list[tuple[str, str, str]]
    runs: list[RunSection]
    commands: list[str]  # commands that created the runs
    devices: list[str]  # devices of the time measurements
    comparisons: list[str]  # comparison with the first run, and the minimum detectable difference
    openings: list[str]
    grouped: bool  # intervals are computed over groups of images


def dataset_section(board: Leaderboard, runs: Sequence[Run], key: str, png: Path | None, *, only: bool) -> DatasetSection:
    """Collect the content of the section on one data set.

    Args:
        board: The leaderboard of `runs`.
        runs: The runs, in any order.
        key: Unique key on the page.
        png: Folder for PNG files.
        only: Whether the report has no other data set; otherwise file names are prefixed with the name of the data.
    """
    known = {run.id: run for run in runs}
    ranked = [known[row.run_id] for row in board.rows]
    table = ranked[0].table()
    name = board.name
    sheet = FigureSheet(png, "" if only else f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}-")
    with ThumbnailCache(table) as album:
        shown = samples(album)
        parts = [
            run_section(run, row, f"{key}-r{row.rank}", album, FigureSheet(png), 4 if only else 5)
            for run, row in zip(ranked, board.rows, strict=True)
        ]
        missing = album.missing()
    return DatasetSection(
        key=key,
        name=name,
        table=table,
        unlabeled=len(table.unlabeled()),
        counts=table.counts(),
        listed=most_frequent(table.counts()["all"].to_numpy()),
        chart=_count_chart(table, sheet, key),
        samples=shown,
        missing=missing,
        left_out=left_out_lines(board),
        problems=_by_kind(table.problems),
        duplicates=_duplicates(ranked[0]),
        duplicate_pairs=[(str(a), str(b)) for a, b in (ranked[0].data.get("duplicates") or {}).get("examples", [])],
        board=board,
        plot=_plot(board, sheet, key),
        summary=summarize(board),
        headline=headline_figures(board),
        runs=parts,
        devices=list(dict.fromkeys(part.device for part in parts)),
        commands=list(dict.fromkeys(_command(run) for run in ranked)),
        comparisons=[line.replace("vs first: ", "Vs first: ") for line in comparison_lines(board) if line != board.top_two],
        openings=[line.replace("† m", "M") for line in opening_lines(board)[:-1]],
        grouped="group" in table.frame,
    )


def _by_kind(problems: Sequence[Problem]) -> list[tuple[str, int, list[Problem], int]]:
    """Problems by kind: (kind, number of images, first problems, number of further problems), most frequent first."""
    kinds: dict[str, list[Problem]] = {}
    for problem in problems:
        kinds.setdefault(problem.kind, []).append(problem)
    found = [
        (kind, sum(max(p.count, 1) for p in some), some[:FIRST_PROBLEMS], len(some[FIRST_PROBLEMS:]))
        for kind, some in kinds.items()
    ]
    return sorted(found, key=lambda item: -item[1])


def _duplicates(run: Run) -> list[tuple[str, int]]:
    """Byte-identical files: (description, number of images); empty if there are none."""
    found = run.data.get("duplicates") or {}
    return [(what, int(found[key])) for key, what in DUPLICATES.items() if found.get(key)]


def _count_chart(table: ImageTable, sheet: FigureSheet, key: str) -> Markup | None:
    if len(table.classes) <= TABLE_UP_TO:
        return None
    everything = table.counts()
    grid = everything.iloc[listed := most_frequent(everything["all"].to_numpy())]
    counts = {split: grid[split].tolist() for split in grid if split in SPLITS} or {"all": grid["all"].tolist()}
    low, high = min(everything["all"].tolist()), max(everything["all"].tolist())
    about = f"Bar chart of the images in each of {len(table.classes)} classes: between {low:,} and {high:,}."
    return sheet.add(figures.class_counts(counts, [table.classes[c] for c in listed]), "classes", f"{key}-classes", about)


def _plot(board: Leaderboard, sheet: FigureSheet, key: str) -> Markup:
    rows = [figures.Dots(row.name, row.valid.get("accuracy"), row.test.get("accuracy")) for row in board.rows]
    baseline = next((row for row in board.rows if row.family == BASELINE), None)
    score = baseline and (baseline.test or baseline.valid).get("accuracy")
    figure = figures.leaderboard(rows, {"the metadata baseline": score.value} if score else {})
    about = "; ".join(f"{r.name} {formatting.fraction(s.value)}" for r in rows if (s := r.test or r.valid))
    return sheet.add(figure, "leaderboard", f"{key}-board", f"Accuracy of each run with its interval: {about}.")


def _command(run: Run) -> str:
    """Recorded command line of a run; for a run from Python, the equivalent command."""
    recorded = str(run.environment.get("command") or "")
    equivalent = shlex.join(["tellapart", "train", str(run.data["root"]), "-r", run.recipe_name])
    return recorded if recorded.startswith("tellapart ") else equivalent
