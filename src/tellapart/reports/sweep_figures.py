"""Figures of a sweep: a heat map over two settings, and curves of training and validation accuracy.

If more settings vary, each point shows the best over the others. Random draws, which form no grid, are drawn as points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from tellapart.metrics.mcnemar import LEVEL
from tellapart.os_errors import translate_os_errors
from tellapart.reports.figures import INK, LINE, MUTED, TRAIN, VALID, shorten, styled
from tellapart.reports.svg import write_png
from tellapart.search.study import Study

_MOST = 40  # maximum number of values of a setting for an axis of cells
_NUMBERS = 12  # maximum number of columns with numbers in the cells
_NAMED = 12  # maximum number of lines in the legend
_WIDE = 30.0  # ratio of the largest to the smallest value from which an axis is logarithmic


def write_figures(study: Study) -> list[Path]:
    """Write `heatmap` (for two settings or more) and `curves` to the folder of the study, as SVG and PNG; returns the paths."""
    drawn = {"curves": curves(study.table, study.settings, study.title)}
    if len(study.settings) > 1:
        drawn = {"heatmap": heatmap(study.table, study.settings, study.title), **drawn}
    written = []
    for name, figure in drawn.items():
        written.append(_write_svg(figure, study.folder / f"{name}.svg"))
        written.append(write_png(figure, study.folder / f"{name}.png"))
    return written


@styled
def heatmap(table: pd.DataFrame, settings: Sequence[str], title: str = "") -> Figure:
    """Draw validation accuracy over the first two settings; darker is better.

    The best is framed; a dot marks trials that are not significantly different from it.

    Args:
        table: Table of a study.
        settings: At least two settings; the first is on the x axis, the second on the y axis.
        title: Title of the figure.
    """
    across, up = settings[:2]
    best = _best_over_others(table, [across, up])
    if not _is_grid(best, across, up):
        return _cloud(best, across, up, title)
    columns, rows = _values(best, across), _values(best, up)
    figure = Figure(
        figsize=(max(4.2, min(0.62 * len(columns) + 2.2, 12)), min(0.42 * len(rows) + 1.4, 12)), layout="constrained"
    )
    axes = figure.add_subplot()
    shades = _shades(_column(best, "valid"))
    for row, shade in zip(best.to_dict("records"), shades, strict=True):
        place = columns.index(row[across]), rows.index(row[up])
        _cell(axes, place, row, float(shade), numbers=len(columns) <= _NUMBERS)
    axes.set_xticks(range(len(columns)), [_text(v) for v in columns], rotation=40 if len(columns) > _NUMBERS else 0)
    axes.set_yticks(range(len(rows)), [_text(v) for v in rows])
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(-0.5, len(rows) - 0.5), xlabel=across, ylabel=up)
    axes.spines[:].set_visible(False)
    legend = f"frame: the best; dot: p ≥ {LEVEL:g} against it"
    _name(axes, title, f"validation accuracy, n = {int(table['valid_n'].iloc[0]):,}", legend)
    return figure


def _cell(axes: Axes, place: tuple[int, int], row: dict[str, Any], shade: float, *, numbers: bool) -> None:
    x, y = place
    axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=VALID, alpha=0.06 + 0.9 * shade, linewidth=0))
    ink = "white" if shade > 0.75 else INK
    if row["first"]:
        axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, fill=False, edgecolor=INK, linewidth=1.6, gid="best"))
    elif row["p"] >= LEVEL:
        axes.plot([x + 0.38], [y + 0.33], "o", markersize=2.4, color=ink, gid="alike")
    if numbers:
        axes.text(x, y, f"{row['valid']:.3f}", ha="center", va="center_baseline", fontsize=8, color=ink)


@styled
def _cloud(best: pd.DataFrame, across: str, up: str, title: str) -> Figure:
    """Draw the same for random draws, with one point each."""
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    x, y = _places(axes, _column(best, across), "x"), _places(axes, _column(best, up), "y")
    colors = [to_rgba(VALID, 0.06 + 0.9 * shade) for shade in _shades(_column(best, "valid"))]
    axes.scatter(x, y, s=42, c=colors, edgecolors="none")
    first = int(np.flatnonzero(best["first"])[0])
    axes.plot([x[first]], [y[first]], "o", markersize=8, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.6)
    axes.annotate(
        f"{best['valid'].iloc[first]:.3f}", (x[first], y[first]), xytext=(7, 4), textcoords="offset points", fontsize=8
    )
    axes.set(xlabel=across, ylabel=up)
    low, high = best["valid"].min(), best["valid"].max()
    _name(axes, title, f"validation accuracy, light {low:.3f} to dark {high:.3f}")
    return figure


@styled
def curves(table: pd.DataFrame, settings: Sequence[str], title: str = "") -> Figure:
    """Draw training and validation accuracy along the first setting, one line per value of the second.

    Args:
        table: Table of a study.
        settings: At least one setting.
        title: Title of the figure.
    """
    best = _best_over_others(table, settings[:2])
    lines = settings[1] if len(settings) > 1 and _is_grid(best, *settings[:2]) else None
    figure = Figure(figsize=(8.6, 3.4), layout="constrained")
    if lines is None:
        axes = figure.add_subplot()
        _both(axes, best.sort_values("valid", kind="stable"), settings[0], joined=len(settings) == 1)
        panels = [axes]
    else:
        panels = list(figure.subplots(1, 2, sharey=True))
        for axes, part, color in zip(panels, ("train", "valid"), (TRAIN, VALID), strict=True):
            _family_of_lines(axes, best, (settings[0], lines), part, color)
    for axes in panels:
        axes.set_xlabel(settings[0])
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.spines["left"].set_visible(False)
    panels[0].set_ylabel("accuracy")
    _name(panels[0], title, "" if lines is None else "train")
    return figure


def _both(axes: Axes, table: pd.DataFrame, across: str, *, joined: bool) -> None:
    """Draw training accuracy, and validation accuracy with its interval, in one panel."""
    x = _places(axes, _column(table, across), "x")
    order = np.argsort(x, kind="stable")
    table, x = table.iloc[order], x[order]
    style: dict[str, Any] = {"marker": "o", "markersize": 4, "linestyle": "-" if joined else ""}
    axes.plot(x, table["train"], color=TRAIN, label="train", **style)
    axes.plot(x, table["valid"], color=VALID, label="validation", **style)
    if joined:
        axes.fill_between(x, table["valid_low"], table["valid_high"], color=VALID, alpha=0.15, linewidth=0)
    axes.legend(loc="best", handlelength=1.4)


def _family_of_lines(axes: Axes, best: pd.DataFrame, names: tuple[str, str], part: str, color: str) -> None:
    """Draw one line per value of the second setting, darker for larger values."""
    across, lines = names
    found = _values(best, lines)
    x_of = dict(zip(_values(best, across), _places(axes, _values(best, across), "x"), strict=True))
    for number, value in enumerate(found):
        line = best[best[lines] == value]
        points = sorted((x_of[a], y) for a, y in zip(line[across], line[part], strict=True))
        named = len(found) <= _NAMED or number in (0, len(found) - 1)
        axes.plot(
            *np.transpose(points), color=color, alpha=0.25 + 0.75 * (number + 1) / len(found), marker="o", markersize=3.5,
            label=_text(value) if named else None, gid=f"{part}-{number}",
        )  # fmt: skip
    axes.set_title("train" if part == "train" else "validation", loc="left", color=INK)
    if part == "valid":
        axes.legend(title=lines, loc="center left", bbox_to_anchor=(1.01, 0.5), handlelength=1.2, fontsize=8, title_fontsize=8)


def _best_over_others(table: pd.DataFrame, settings: Sequence[str]) -> pd.DataFrame:
    """Select the first row (tables are sorted) of each combination; `first` marks the best of all."""
    marked = table.assign(first=np.arange(len(table)) == 0)
    return marked.drop_duplicates(list(settings)).reset_index(drop=True)


def _is_grid(best: pd.DataFrame, across: str, up: str) -> bool:
    sizes = len(_values(best, across)), len(_values(best, up))
    return max(sizes) <= _MOST and len(best) >= 0.6 * sizes[0] * sizes[1]


def _values(table: pd.DataFrame, setting: str) -> list[Any]:
    """Sort distinct values: numbers in increasing order, others by name."""
    return _ordered(_column(table, setting))


def _column(table: pd.DataFrame, name: str) -> list[Any]:
    return list(table[name])


def _ordered(values: Sequence[Any]) -> list[Any]:
    found = list(dict.fromkeys(values))
    return sorted(found, key=lambda v: (isinstance(v, str), v if not isinstance(v, str) else 0, str(v)))


def _places(axes: Axes, values: Sequence[Any], side: str) -> np.ndarray:
    """Set up an axis and return the positions of values on it: (N,) float64. Numbers are to scale, names evenly spaced."""
    names, axis = _ordered(values), axes.xaxis if side == "x" else axes.yaxis
    if all(_is_number(v) for v in names):
        if names[0] > 0 and names[-1] / names[0] >= _WIDE:
            (axes.set_xscale if side == "x" else axes.set_yscale)("log")
        if len(names) <= _NUMBERS:
            axis.set_major_locator(FixedLocator(names))
            axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        return np.asarray(values, dtype=np.float64)
    axis.set_major_locator(FixedLocator(range(len(names))))
    axis.set_major_formatter(FuncFormatter(lambda place, _: _text(names[round(place)]) if 0 <= place < len(names) else ""))
    return np.array([names.index(v) for v in values], dtype=np.float64)


def _shades(valid: Sequence[float]) -> np.ndarray:
    """Scale values to 0 for the worst and 1 for the best: (N,) float64."""
    found = np.asarray(valid, dtype=np.float64)
    low, high = found.min(), found.max()
    return np.ones(len(found)) if math.isclose(low, high) else (found - low) / (high - low)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else shorten(str(value), 18)


def _name(axes: Axes, *lines: str) -> None:
    axes.set_title("\n".join(line for line in lines if line), loc="left", color=INK)


@styled
def _write_svg(figure: Figure, path: Path) -> Path:
    """Write a figure to a file, on white, with the colors as drawn."""
    with translate_os_errors(path):
        FigureCanvasSVG(figure).print_figure(path, facecolor="white", metadata={"Date": None})
    return path


# --- learning rate range test, in the style of the report's figures -----------------------------------------------------


@styled
def rates_figure(
    rates: Sequence[float], losses: Sequence[float], smooth: Sequence[float], marks: dict[str, float], title: str = ""
) -> Figure:
    """Draw the loss against the learning rate, on a logarithmic axis.

    Args:
        rates: (K,) learning rates, increasing.
        losses: (K,) losses of single batches, drawn in a light color.
        smooth: (K,) moving average of the losses; it determines the axis, so that divergence does not flatten the rest.
        marks: Name → learning rate of vertical lines; the first is the suggestion.
        title: Title of the figure.
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
