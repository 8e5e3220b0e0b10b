"""Ensemble section of the report: members, gain, and disagreement between the members.

Scores, weights and the paired test are those of `gain.json`. The disagreement is computed from the stored predictions of the
members for the same split. Predictions of single epochs are not stored, so a vote of epochs has the table only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tellapart.errors import DataError, RunError
from tellapart.leaderboards.row import Row
from tellapart.metrics.mcnemar import align
from tellapart.reports.figures import INK, MUTED, TEST, shorten, styled
from tellapart.reports.svg import FigureSheet
from tellapart.reports.templating import environment
from tellapart.runs import lineage
from tellapart.runs.store import Run, open_parent
from tellapart.types import Predictions, Score

#: Above these numbers of members, the matrix has no numbers, and not all names.
NUMBERS_UP_TO, NAMES_UP_TO = 14, 40


@dataclass(frozen=True)
class _UniqueHits:
    """Images that only one member predicts correctly, and how many of them the ensemble predicts correctly."""

    correct: int
    kept: int


@dataclass(frozen=True)
class _Member:
    """One line of the table."""

    name: str
    scores: Mapping[str, Score]
    weight: float | None
    best: bool
    unique: _UniqueHits | None


@dataclass(frozen=True)
class _Overlap:
    """Images that all, none or some members predict correctly, and how many of the latter the ensemble predicts correctly."""

    n: int
    all_correct: int
    none_correct: int
    some_correct: int
    kept: int


def render_section(run: Run, row: Row, key: str, sheet: FigureSheet, level: int = 4) -> Markup | None:
    """Render the section of an ensemble; None for any other run.

    Args:
        run: The run.
        row: Row of the run in the leaderboard.
        key: Unique key on the page.
        sheet: Destination of the figure.
        level: Level of the heading.
    """
    gained = lineage.gain(run)
    if gained is None:
        return None
    names = [str(entry["member"]).rstrip("/").rpartition("/")[2] for entry in gained["members"]]
    stored = _stored_predictions(run, gained)
    figure = overlap = None
    unique: list[_UniqueHits | None] = [None] * len(names)
    if stored is not None:
        ours, theirs = stored
        shares = np.array([[np.mean(a.predicted != b.predicted) for b in theirs] for a in theirs])
        about = f"Disagreement between the members of {row.name}, in per cent of {len(ours):,} images."
        figure = sheet.add(disagreement(shares, names), f"{run.id}-members", f"{key}-members", about)
        unique, overlap = _count_hits(ours, theirs)
    members = [
        _Member(
            name,
            {metric: Score.from_dict(score) for metric, score in entry["valid"].items()},
            entry["weight"],
            entry["member"] == gained["best"],
            hits,
        )
        for name, entry, hits in zip(names, gained["members"], unique, strict=True)
    ]
    content: dict[str, Any] = {
        "row": row, "description": lineage.in_words(gained, {}), "members": members, "figure": figure, "overlap": overlap,
        "gained": gained, "level": level,
    }  # fmt: skip
    return Markup(environment().get_template("ensemble.html").render(**content))


def _stored_predictions(run: Run, gained: Mapping[str, Any]) -> tuple[Predictions, list[Predictions]] | None:
    """Aligned predictions of the ensemble and of its members; None if any are not stored."""
    ours = run.predictions(gained["split"])
    if ours is None:
        return None
    found = []
    for entry in gained["members"]:
        member = str(entry["member"])
        try:
            theirs = None if "@" in member else open_parent(member, run.runs).predictions(gained["split"])
        except RunError:  # it was removed, or must not be read
            return None
        if theirs is None:
            return None
        try:
            found.append(align(ours, theirs))
        except DataError:  # the member has been retrained on another split
            return None
    return ours, found


def _count_hits(ours: Predictions, theirs: list[Predictions]) -> tuple[list[_UniqueHits | None], _Overlap]:
    correct = np.stack([member.predicted == ours.labels for member in theirs])
    combined, count = ours.predicted == ours.labels, correct.sum(axis=0)
    unique = [member & (count == 1) for member in correct]
    some = (count > 0) & (count < len(theirs))
    return [_UniqueHits(int(hits.sum()), int((hits & combined).sum())) for hits in unique], _Overlap(
        len(ours), int((count == len(theirs)).sum()), int((count == 0).sum()), int(some.sum()), int((some & combined).sum())
    )


@styled
def disagreement(shares: np.ndarray, names: Sequence[str]) -> Figure:
    """Draw the share of images on which two members predict different classes; darker is more.

    Args:
        shares: (M, M) float64 in [0, 1], symmetric, zeros on the diagonal.
        names: Names of the M members.
    """
    number = len(names)
    cell = 0.55 if number <= NUMBERS_UP_TO else max(0.06, 6.6 / number)
    side, margin = cell * number + 0.3, min(2.2, 0.085 * max(len(shorten(name)) for name in names) + 0.3)
    figure = Figure(figsize=(side + margin, side + margin), layout="constrained")
    axes = figure.add_subplot()
    shade = shares / max(float(shares.max()), 1e-9)
    for i, j in np.ndindex(*shares.shape):
        if i != j and shade[i, j] > 0:
            edges = ((j - 0.48, i - 0.48), 0.96, 0.96)
            axes.add_patch(Rectangle(*edges, facecolor=TEST, alpha=0.06 + 0.6 * float(shade[i, j]), linewidth=0))
    if number <= NUMBERS_UP_TO:
        _numbers(axes, shares)
    _label_axes(axes, names)
    return figure


def _numbers(axes: Axes, shares: np.ndarray) -> None:
    """Write percentages, with the id `d-<row>-<column>` in the SVG."""
    for i, j in np.ndindex(*shares.shape):
        if i != j:
            text = axes.text(j, i, f"{100 * shares[i, j]:.1f}", ha="center", va="center_baseline", fontsize=8.5, color=INK)
        else:
            text = axes.text(j, i, "–", ha="center", va="center_baseline", fontsize=8.5, color=MUTED)
        text.set_gid(f"d-{i}-{j}")


def _label_axes(axes: Axes, names: Sequence[str]) -> None:
    number = len(names)
    places = range(0, number, 1 if number <= NAMES_UP_TO else -(-number // 28))
    shown, size = [shorten(names[i]) for i in places], 8.5 if number <= NUMBERS_UP_TO else 6.5
    turned = {"rotation": 40, "ha": "right", "va": "top", "rotation_mode": "anchor"}
    axes.set_xticks(places, shown, fontsize=size, color=INK, **turned)
    axes.set_yticks(places, shown, fontsize=size, color=INK)
    axes.set(xlim=(-0.5, number - 0.5), ylim=(number - 0.5, -0.5), aspect="equal")
    axes.spines[:].set_visible(False)
