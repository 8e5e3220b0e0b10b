"""How often the members of an ensemble differ, as a matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tellapart.reports.figures import INK, MUTED, TEST, shorten, styled

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
    _names(axes, names)
    return figure


def _numbers(axes: Axes, shares: np.ndarray) -> None:
    """Per cent, named `d-<row>-<column>` in the SVG."""
    for i, j in np.ndindex(*shares.shape):
        if i != j:
            text = axes.text(j, i, f"{100 * shares[i, j]:.1f}", ha="center", va="center_baseline", fontsize=8.5, color=INK)
        else:
            text = axes.text(j, i, "–", ha="center", va="center_baseline", fontsize=8.5, color=MUTED)
        text.set_gid(f"d-{i}-{j}")


def _names(axes: Axes, names: Sequence[str]) -> None:
    number = len(names)
    places = range(0, number, 1 if number <= NAMES_UP_TO else -(-number // 28))
    shown, size = [shorten(names[i]) for i in places], 8.5 if number <= NUMBERS_UP_TO else 6.5
    turned = {"rotation": 40, "ha": "right", "va": "top", "rotation_mode": "anchor"}
    axes.set_xticks(places, shown, fontsize=size, color=INK, **turned)
    axes.set_yticks(places, shown, fontsize=size, color=INK)
    axes.set(xlim=(-0.5, number - 0.5), ylim=(number - 0.5, -0.5), aspect="equal")
    axes.spines[:].set_visible(False)
