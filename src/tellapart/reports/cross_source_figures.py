"""Figures of generalization: the cross-source matrix as a heat map, and the learning curve with its extrapolation."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from tellapart.errors import DataError
from tellapart.metrics.cross_source import Cell, CrossSourceMatrix
from tellapart.metrics.learning_curve import LearningCurve
from tellapart.reports.figures import INK, MUTED, RIGHT, VALID, shorten, styled
from tellapart.types import Score

_NUMBERS = 12  # maximum number of sources with numbers in the cells


@styled
def heatmap(found: CrossSourceMatrix) -> Figure:
    """Draw a heat map of classifiers trained on one source, evaluated on each: AUROC if all cells have it, else accuracy.

    White is 0.5 and below (chance), dark is 1; a frame marks the cells whose source is in the training split.

    Args:
        found: A result with a matrix.

    Raises:
        DataError: The result has no matrix.
    """
    if not found.matrix:
        raise DataError("there is no matrix to draw", hint="omit --no-matrix")
    area = len(found.classes) == 2 and all(cell.auroc is not None for cell in found.matrix)
    number = len(found.sources)
    figure = Figure(figsize=(min(2.6 + 0.95 * number, 12), min(1.7 + 0.62 * number, 12)), layout="constrained")
    axes = figure.add_subplot()
    for y, trained_on in enumerate(found.sources):
        for x, evaluated_on in enumerate(found.sources):
            cell = found.cell(trained_on, evaluated_on)
            score = _score(cell, area=area)
            axes.add_patch(_tile(x, y, score))
            if cell is not None and cell.seen:
                axes.add_patch(
                    Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, fill=False, edgecolor=INK, linewidth=1.4, gid="seen")
                )
            if number <= _NUMBERS:
                dark = score is not None and _shade(score) > 0.72
                text = "–" if score is None else f"{score.value:.2f}\n{score.low:.2f}–{score.high:.2f}"
                size, ink = (8 if number <= 8 else 6.5), "white" if dark else INK
                axes.text(x, y, text, ha="center", va="center", fontsize=size, color=ink, gid=f"cell-{y}-{x}", linespacing=1.3)
    names = [shorten(name, 16) for name in found.sources]
    turned = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if max(map(len, names)) > 9 else {}
    axes.set_xticks(range(number), names, color=INK, **turned)
    axes.set_yticks(range(number), names, color=INK)
    axes.set(xlim=(-0.5, number - 0.5), ylim=(number - 0.5, -0.5), xlabel="evaluated on", ylabel="trained on")
    axes.spines[:].set_visible(False)
    metric = "AUROC" if area else "accuracy"
    axes.set_title(f"{found.title}\n{metric} with 95 % intervals; frame: its own validation images", loc="left", color=INK)
    return figure


@styled
def learning(curve: LearningCurve) -> Figure:
    """Draw accuracy against the number of training images, with intervals, seeds and, if possible, an extrapolation."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    n = np.array([size.images for size in curve.sizes], dtype=np.float64)
    value, low, high = (np.array([getattr(size.accuracy, end) for size in curve.sizes]) for end in ("value", "low", "high"))
    axes.fill_between(n, low, high, color=VALID, alpha=0.15, linewidth=0)
    axes.plot(n, value, color=VALID, marker="o", markersize=5, label="validation, mean over seeds", gid="mean")
    for size in curve.sizes:
        axes.plot([size.images] * len(size.seeds), size.seeds, "o", markersize=2.4, color=MUTED, alpha=0.8)
    if curve.law is not None:
        law = curve.law
        x = np.geomspace(n[0], law.images, 60)
        axes.plot(
            x,
            1 - law.a * x**-law.b,
            color=MUTED,
            linewidth=1,
            linestyle=(0, (4, 3)),
            label="power law, extrapolated",
            gid="law",
        )
        axes.plot([law.images] * 2, [law.low, law.high], color=MUTED, linewidth=1.4)
        axes.plot([law.images], [law.accuracy], "o", markersize=5, color=MUTED, markerfacecolor="none", gid="guess")
    axes.set_xscale("log")
    ticks = [*n, *([curve.law.images] if curve.law else [])]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.set(xlabel="training images", ylabel="accuracy")
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.legend(loc="lower right", handlelength=1.6)
    axes.set_title(f"{curve.title}, validation n = {curve.sizes[0].accuracy.n:,}", loc="left", color=INK)
    return figure


def _tile(x: int, y: int, score: Score | None) -> Rectangle:
    alpha = 0.0 if score is None else 0.04 + 0.92 * _shade(score)
    return Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=RIGHT, alpha=alpha, linewidth=0)


def _shade(score: Score) -> float:
    return float(np.clip(2 * score.value - 1, 0, 1))


def _score(cell: Cell | None, *, area: bool) -> Score | None:
    return None if cell is None else cell.auroc if area else cell.accuracy
