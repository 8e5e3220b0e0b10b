"""Error analysis section of the report: scores by slice, suspicious labels, errors with their nearest training images.

Everything is computed from stored predictions by `tellapart.metrics`. Only the headers of the images are read, for their sizes,
and a dozen thumbnails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from tellapart.data.metadata import add_header_columns
from tellapart.data.regions import words
from tellapart.leaderboards.row import Row
from tellapart.metrics.label_issues import find_label_issues
from tellapart.metrics.slices import POINTS, POWER, Slice, SliceReport, slices
from tellapart.recipe.schema import Inputs
from tellapart.reports import nearest_to_errors
from tellapart.reports.figures import INK, LINE, MUTED, PAPER, SPLIT_COLORS, shorten, styled
from tellapart.reports.nearest_to_errors import NearestToError
from tellapart.reports.svg import FigureSheet
from tellapart.reports.templating import environment
from tellapart.reports.thumbnails import Picture, ThumbnailCache
from tellapart.runs.store import Run
from tellapart.runs.stored_tables import read_regions
from tellapart.types import Predictions

MOST_SUSPICIOUS, MOST_NEAR = 12, 12
_MOST_DRAWN = 60  # slices of the forest plot
_TOO_MANY = 0.2  # above this share of flagged labels, the classifier is the more likely cause


@dataclass(frozen=True)
class _SuspiciousLabel:
    """A label that is probably wrong."""

    picture: Picture
    label: str
    guess: str
    score: float
    proba: float


@dataclass(frozen=True)
class _ErrorWithNeighbor:
    """An error, its nearest training image, and both thumbnails."""

    near: NearestToError
    picture: Picture
    other: Picture


@dataclass(frozen=True, eq=False)
class _LabelIssues:
    """Result of confident learning."""

    flagged: int
    n: int
    examples: list[_SuspiciousLabel]

    @property
    def too_many(self) -> bool:
        return self.flagged > _TOO_MANY * self.n


def render_section(run: Run, row: Row, key: str, album: ThumbnailCache, sheet: FigureSheet, level: int = 4) -> Markup | None:
    """Render slices, suspicious labels and nearest training images; None if there is nothing to show.

    Args:
        run: The run.
        row: Row of the run in the leaderboard.
        key: Unique key on the page.
        album: Thumbnails of the data.
        sheet: Destination of the figure.
        level: Level of the headings.
    """
    split = next((part for part in ("test", "valid") if _labeled_predictions(run, part) is not None), None)
    predictions = _labeled_predictions(run, split) if split else None
    if split is None or predictions is None:
        return None
    table = run.table()
    rows = table.take(np.isin(table.ids, predictions.ids))
    found = slices(predictions, _with_regions(run, add_header_columns(rows)), None, run.positive)
    issues = _label_issues(predictions, album)
    nearest = nearest_to_errors.stored(run, split)
    neighbors = [
        _ErrorWithNeighbor(one, album.picture(one.id), album.picture(one.nearest))
        for one in (nearest.found[:MOST_NEAR] if nearest else ())
    ]
    if not found.slices and not issues.flagged and not neighbors:
        return None
    figure = None
    if found.slices:
        about = f"Accuracy of {row.name} by slice with 95 % intervals. {found.describe()}"
        figure = sheet.add(forest(found, split), f"{run.id}-slices", f"{key}-slices", about)
    reasons = sorted({why for one in found.slices for why in one.undefined.values() if why.startswith("no image of")})
    content: dict[str, Any] = {
        "row": row, "level": level, "split": split, "found": found, "figure": figure, "issues": issues, "nearest": nearest,
        "neighbors": neighbors, "two": len(predictions.classes) == 2, "least": POINTS, "power": POWER, "reasons": reasons,
    }  # fmt: skip
    return Markup(environment().get_template("slices.html").render(**content))


@styled
def forest(report: SliceReport, split: str) -> Figure:
    """Draw accuracy with interval, one line per slice; the dashed line is the overall accuracy, a ring a slice that is too
    small.

    Args:
        report: A report with slices.
        split: "valid" or "test", for the color.
    """
    lines: list[tuple[str, Slice | None]] = []
    for column in report.columns:
        lines.append((column, None))
        lines += [(one.name, one) for one in report.slices if one.column == column]
    lines = lines[:_MOST_DRAWN]
    figure = Figure(figsize=(8.6, 0.9 + 0.27 * len(lines)), layout="constrained")
    axes, color = figure.add_subplot(), SPLIT_COLORS.get(split, MUTED)
    axes.axvline(report.overall.value, color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)), zorder=0.5)
    axes.annotate(
        f"all {report.overall.value:.3f}", (report.overall.value, -0.75), xytext=(4, 0), textcoords="offset points", fontsize=8,
        color=MUTED, va="center",
    )  # fmt: skip
    for y, (_, one) in enumerate(lines):
        if one is None:
            continue
        axes.axhline(y, color=LINE, linewidth=0.6, zorder=0)
        axes.plot([one.accuracy.low, one.accuracy.high], [y, y], color=color, linewidth=1.8, solid_capstyle="round")
        face = PAPER if one.too_small else color
        axes.plot([one.accuracy.value], [y], "o", markersize=5.5, markeredgewidth=1.4, color=color, markerfacecolor=face)
    axes.set_yticks(range(len(lines)), [_tick(name, one) for name, one in lines], color=INK)
    for tick, (_, one) in zip(axes.get_yticklabels(), lines, strict=True):
        tick.set_fontweight("bold" if one is None else "normal")
    axes.set_ylim(len(lines) - 0.4, -1.1)
    axes.set_xlabel("accuracy")
    axes.spines["left"].set_visible(False)
    return figure


def _tick(name: str, one: Slice | None) -> str:
    return shorten(name, 34) if one is None else f"{shorten(name, 30)}  n={one.n:,}"


def _with_regions(run: Run, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with a column that says whether a face was found, or a box given, if the run reads one."""
    regions = read_regions(run.folder / "regions.parquet")
    if regions is None:
        return frame
    found: dict[str, bool] = dict(zip(regions["id"], regions["found"], strict=True))
    cells = [{True: "yes", False: "no", None: ""}[found.get(image_id)] for image_id in frame["id"]]
    return frame.assign(**{words(Inputs.model_validate(run.recipe["inputs"])): cells})


def _labeled_predictions(run: Run, part: str) -> Predictions | None:
    found = run.predictions(part)
    return found if found is not None and len(found) and (found.labels >= 0).any() else None


def _label_issues(predictions: Predictions, album: ThumbnailCache) -> _LabelIssues:
    table: Any = find_label_issues(predictions)
    flagged: Any = table[table["is_issue"]]
    examples = [
        _SuspiciousLabel(album.picture(str(one["id"])), one["label"], one["guess"], float(one["score"]), float(one["proba"]))
        for one in flagged.head(MOST_SUSPICIOUS).to_dict("records")
    ]
    return _LabelIssues(len(flagged), len(table), examples)
