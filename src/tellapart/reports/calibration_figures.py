"""Figures of the calibration page: the reliability diagram, and the risk-coverage curve. Colors as in `report.figures`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tellapart.calibration.thresholds import RiskCoverage
from tellapart.metrics.reliability import Reliability
from tellapart.reports.figures import INK, LINE, MUTED, PAPER, SPLIT_COLORS, styled

_DASHES = (0, (3, 3))


@dataclass(frozen=True, eq=False)
class Series:
    """One classifier on one part: the first is drawn in the part's color, others in gray."""

    name: str
    reliability: Reliability
    risk: RiskCoverage


@styled
def reliability_diagram(series: Sequence[Series], split: str, classes: int) -> Figure:
    """Accuracy against confidence, bins with their Wilson bars, over how many answers each bin holds.

    Args:
        series: At least one; the first is what the page is about.
        split: "valid" or "test", for the color.
        classes: Confidence cannot be below 1 / classes.
    """
    figure = Figure(figsize=(4.3, 4.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    least = min(1 / classes, *(float(of.reliability.confidence.min()) for of in series))
    least = max(0.0, float(np.floor(20 * least) / 20))
    upper.plot([least, 1], [least, 1], color=MUTED, linewidth=0.9, linestyle=_DASHES, zorder=0.5, label="as sure as right")
    for number, of in reversed(list(enumerate(series))):
        found, color = of.reliability, SPLIT_COLORS[split] if number == 0 else MUTED
        upper.vlines(found.confidence, found.accuracy_low, found.accuracy_high, color=color, linewidth=1.4)
        face = color if number == 0 else PAPER
        upper.plot(found.confidence, found.accuracy, "o", color=color, markerfacecolor=face, markersize=5, label=of.name)
    shown = series[0].reliability
    width = np.maximum(shown.high - np.maximum(shown.low, least), 0.004)
    lower.bar(np.maximum(shown.low, least), shown.n, width, align="edge", color=LINE, edgecolor=MUTED, linewidth=0.5)
    lowest = min(float(of.reliability.accuracy_low.min()) for of in series)
    upper.set(xlim=(least - 0.01, 1.01), ylim=(min(least, lowest) - 0.02, 1.02), ylabel="share that is right")
    lower.set(xlabel="confidence of the answer", ylabel="answers", ylim=(0, 1.15 * shown.n.max()))
    for axes in (upper, lower):
        axes.spines["left"].set_visible(False)
    upper.grid(axis="y")
    upper.set_axisbelow(True)
    upper.legend(loc="upper left", handlelength=1.4)
    return figure


@styled
def risk_coverage_curve(series: Sequence[Series], split: str) -> Figure:
    """The share of wrong answers among the surest, however many are answered.

    Args:
        series: At least one; the first is what the page is about.
        split: "valid" or "test", for the color.
    """
    figure = Figure(figsize=(4.3, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for number, of in reversed(list(enumerate(series))):
        color = SPLIT_COLORS[split] if number == 0 else MUTED
        name = f"{of.name}, area {of.risk.area:.4f}"
        axes.plot(
            of.risk.coverage, of.risk.risk, color=color, label=name, solid_joinstyle="round",
            linestyle="-" if number == 0 else _DASHES, linewidth=1.8 if number == 0 else 1.2,
        )  # fmt: skip
    risk = float(series[0].risk.risk[-1])
    axes.plot([1], [risk], "o", color=SPLIT_COLORS[split], markersize=5)
    axes.annotate(f"all answered: {risk:.1%} wrong", (1, risk), xytext=(-8, 6), textcoords="offset points", ha="right",
                  fontsize=8, color=INK)  # fmt: skip
    top = max(float(of.risk.risk[of.risk.coverage >= 0.02].max()) for of in series)  # the first few answers are noise
    axes.set(xlim=(0, 1.02), ylim=(0, max(1.35 * top, 0.01)), xlabel="share of the images that is answered, the surest first")
    axes.set_ylabel("share of wrong answers among them")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.legend(loc="upper left", handlelength=1.6)
    return figure
