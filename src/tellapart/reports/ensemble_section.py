"""The ensemble part of a run's page: who takes part, what it gained, and how much the members differ.

Scores, weights and the paired test are those of `gain.json`; how members differ is counted on their stored answers to the
same part. An epoch's answers are not stored, so a vote of epochs has the table alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tellapart.errors import DataError
from tellapart.leaderboards.row import Row
from tellapart.metrics.mcnemar import align
from tellapart.reports.figures import INK, MUTED, TEST, shorten, styled
from tellapart.reports.svg import FigureSheet
from tellapart.reports.templating import environment
from tellapart.runs import lineage
from tellapart.runs.store import DONE, Run
from tellapart.types import Predictions, Score


@dataclass(frozen=True)
class _Alone:
    """What a member gets right that no other does, and how much of it the ensemble keeps."""

    right: int
    kept: int


@dataclass(frozen=True)
class _Member:
    """One line of the table."""

    name: str
    scores: Mapping[str, Score]
    weight: float | None
    best: bool
    alone: _Alone | None


@dataclass(frozen=True)
class _Together:
    """Images by how many members get them right, and the ensemble's answer to them."""

    n: int
    all_right: int
    none_right: int
    some_right: int
    some_right_and_it: int


def page(run: Run, row: Row, key: str, sheet: FigureSheet, level: int = 4) -> Markup | None:
    """The part of an ensemble's page; None for any other run.

    Args:
        run: The run.
        row: Its row of the leaderboard.
        key: Unique on the page.
        sheet: Where its figure goes.
        level: Of the heading.
    """
    gained = lineage.gain(run)
    if gained is None:
        return None
    names = _names(gained)
    answers = _answers(run, gained)
    figure = together = None
    alone: list[_Alone | None] = [None] * len(names)
    if answers is not None:
        ours, theirs = answers
        shares = np.array([[np.mean(a.predicted != b.predicted) for b in theirs] for a in theirs])
        about = f"How often the members of {row.name} answer differently, in per cent of {len(ours):,} images."
        figure = sheet.place(disagreement(shares, names), f"{run.id}-members", f"{key}-members", about)
        alone, together = _counted(ours, theirs)
    members = [
        _Member(
            name,
            {of: Score.from_dict(score) for of, score in entry["valid"].items()},
            entry["weight"],
            entry["member"] == gained["best"],
            by_itself,
        )
        for name, entry, by_itself in zip(names, gained["members"], alone, strict=True)
    ]
    words = lineage.in_words(gained, {})
    return Markup(
        environment()
        .get_template("ensemble.html")
        .render(row=row, words=words, members=members, figure=figure, together=together, gained=gained, level=level)
    )


def _names(gained: Mapping[str, Any]) -> list[str]:
    return [str(entry["member"]).rstrip("/").rpartition("/")[2] for entry in gained["members"]]


def _answers(run: Run, gained: Mapping[str, Any]) -> tuple[Predictions, list[Predictions]] | None:
    """The ensemble's answers and those of its members, aligned; None where one has none stored."""
    ours = run.predictions(gained["part"])
    if ours is None:
        return None
    found = []
    for entry in gained["members"]:
        folder = _folder(run, str(entry["member"]))
        theirs = Run(folder).predictions(gained["part"]) if folder is not None else None
        if theirs is None:
            return None
        try:
            found.append(align(ours, theirs))
        except DataError:  # the member was made again on another split since
            return None
    return ours, found


def _folder(run: Run, member: str) -> Path | None:
    """Where a member lies: beside the ensemble, or where its path says; None if it is gone, or an epoch of a run."""
    found = (folder for folder in (run.runs / member, Path(member)) if (folder / DONE).exists())
    return None if "@" in member else next(found, None)


def _counted(ours: Predictions, theirs: list[Predictions]) -> tuple[list[_Alone | None], _Together]:
    right = np.stack([of.predicted == ours.labels for of in theirs])
    it, count = ours.predicted == ours.labels, right.sum(axis=0)
    only = [(mine & (count == 1)) for mine in right]
    some = (count > 0) & (count < len(theirs))
    return [_Alone(int(of.sum()), int((of & it).sum())) for of in only], _Together(
        len(ours), int((count == len(theirs)).sum()), int((count == 0).sum()), int(some.sum()), int((some & it).sum())
    )


# --- how often the members of an ensemble differ, as a matrix ---------------------------------------------------------


NUMBERS_UP_TO, NAMES_UP_TO = 14, 40


@styled
def disagreement(shares: np.ndarray, names: Sequence[str]) -> Figure:
    """The share of images that two members answer differently; the darker, the more.

    Args:
        shares: (M, M) float64 in [0, 1], symmetric, zeros on the diagonal.
        names: M names.
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
    _names_ensemble_figure(axes, names)
    return figure


def _numbers(axes: Axes, shares: np.ndarray) -> None:
    """Per cent, named `d-<row>-<column>` in the SVG."""
    for i, j in np.ndindex(*shares.shape):
        if i != j:
            text = axes.text(j, i, f"{100 * shares[i, j]:.1f}", ha="center", va="center_baseline", fontsize=8.5, color=INK)
        else:
            text = axes.text(j, i, "–", ha="center", va="center_baseline", fontsize=8.5, color=MUTED)
        text.set_gid(f"d-{i}-{j}")


def _names_ensemble_figure(axes: Axes, names: Sequence[str]) -> None:
    number = len(names)
    places = range(0, number, 1 if number <= NAMES_UP_TO else -(-number // 28))
    shown, size = [shorten(names[i]) for i in places], 8.5 if number <= NUMBERS_UP_TO else 6.5
    turned = {"rotation": 40, "ha": "right", "va": "top", "rotation_mode": "anchor"}
    axes.set_xticks(places, shown, fontsize=size, color=INK, **turned)
    axes.set_yticks(places, shown, fontsize=size, color=INK)
    axes.set(xlim=(-0.5, number - 0.5), ylim=(number - 0.5, -0.5), aspect="equal")
    axes.spines[:].set_visible(False)
