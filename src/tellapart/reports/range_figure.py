"""The picture of a learning-rate range test, in the style of the report's figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tellapart.reports.figures import INK, LINE, MUTED, TRAIN, VALID, styled


@styled
def rates_figure(
    rates: Sequence[float], losses: Sequence[float], smooth: Sequence[float], marks: dict[str, float], title: str = ""
) -> Figure:
    """Loss against learning rate, which is drawn logarithmically.

    Args:
        rates: (K,) rising.
        losses: (K,) of single batches, drawn pale.
        smooth: (K,) their moving average; the axis follows it, so that an explosion does not flatten the rest.
        marks: Name → rate of vertical lines; the first is the suggestion.
        title: Above the figure.
    """
    figure = Figure(figsize=(8.6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(rates, losses, color=LINE, linewidth=1.2, zorder=1)
    axes.plot(rates, smooth, color=TRAIN, zorder=2)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
    axes.minorticks_off()
    low, high = float(np.min(smooth)), float(np.max(smooth[: int(np.argmin(smooth)) + 1]))
    room = max(high - low, 0.05 * abs(high), 1e-6)
    axes.set_ylim(low - 0.15 * room, high + 0.35 * room)
    for number, (name, rate) in enumerate(marks.items()):
        color = VALID if number == 0 else MUTED
        axes.axvline(rate, color=color, linewidth=1.4 if number == 0 else 0.9, linestyle=(0, (3, 3)), zorder=1.5)
        place = (rate, 1 - 0.075 * (number + 0.5))
        axes.annotate(
            f"{name} {rate:.2g}", place, xycoords=("data", "axes fraction"), xytext=(4, 0), textcoords="offset points",
            fontsize=8, color=color, va="center",
        )  # fmt: skip
    axes.set(xlabel="learning rate", ylabel="training loss, smoothed")
    axes.set_title(title, loc="left", color=INK)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    return figure
