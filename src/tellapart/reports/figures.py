"""Figures of the report, as matplotlib `Figure`s without global state.

Colors are those of Okabe and Ito (2008), which color-blind readers can distinguish, and have the same meaning in every figure:
green is training, vermilion is validation (and wrong predictions), blue is test (and correct predictions). Figures are drawn in
the values of `PALETTE`; `reports.svg` replaces these by the colors of the page, so that a figure follows the theme, while a PNG
keeps them. Text remains text, in the bundled DejaVu Sans, so that the layout is the same on every machine.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from tellapart.metrics.classification import confusion_shares
from tellapart.types import Score

INK, MUTED, LINE, PAPER = "#1c2126", "#59626b", "#d9dee2", "#fefefe"
TRAIN, VALID, TEST = "#009e73", "#d55e00", "#0072b2"
RIGHT, WRONG = "#0072b3", "#d55e01"  # colors of test and validation, dark enough for white numbers
#: Drawn color → CSS variable of the page.
PALETTE = {
    INK: "--ink",
    MUTED: "--muted",
    LINE: "--line",
    PAPER: "--paper",
    TRAIN: "--train",
    VALID: "--valid",
    TEST: "--test",
    RIGHT: "--right",
    WRONG: "--wrong",
}
SPLIT_COLORS = {"train": TRAIN, "valid": VALID, "test": TEST}
#: The same two colors for pixels inside a figure, with one value for both themes.
RIGHT_RGB, WRONG_RGB = (0x12, 0x7F, 0xC2), (0xE0, 0x6A, 0x12)
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.labelsize": 9, "axes.titlesize": 9.5, "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5, "text.color": INK, "axes.labelcolor": MUTED, "axes.titlecolor": INK, "axes.edgecolor": LINE,
    "xtick.color": LINE, "ytick.color": LINE, "xtick.labelcolor": MUTED, "ytick.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": False, "grid.color": LINE, "grid.linewidth": 0.8,
    "xtick.major.size": 0, "ytick.major.size": 0, "xtick.major.pad": 5, "ytick.major.pad": 6, "lines.linewidth": 1.8,
    "figure.facecolor": "none", "axes.facecolor": "none", "legend.frameon": False, "text.parse_math": False,
    "svg.fonttype": "none", "svg.hashsalt": "tellapart", "axes.unicode_minus": True, "image.composite_image": False,
}  # fmt: skip
P = ParamSpec("P")
R = TypeVar("R")
#: Maximum number of classes for a confusion matrix with numbers.
NUMBERS_UP_TO = 15
NAMES_UP_TO = 40


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Apply the style of the report; no warning for characters that DejaVu lacks, since browsers have them."""

    @functools.wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with rc_context(STYLE), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
            return function(*args, **kwargs)

    return inside


@dataclass(frozen=True)
class Dots:
    """One row of the plot of dots and intervals."""

    name: str
    valid: Score | None
    test: Score | None


@styled
def leaderboard(rows: Sequence[Dots], references: Mapping[str, float], metric: str = "accuracy") -> Figure:
    """Draw validation (ring) and test scores (dot) with 95 % intervals, one row per run, the first on top.

    Args:
        rows: Rows in the order of the leaderboard.
        references: Name → value of dashed vertical lines, such as the metadata baseline's score.
        metric: The axis label.
    """
    figure = Figure(figsize=(8.6, 0.9 + 0.42 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for y, row in enumerate(rows):
        axes.axhline(y, color=LINE, linewidth=0.8, zorder=0)
        _interval(axes, row.valid, y - 0.13, VALID, filled=False)
        _interval(axes, row.test, y + 0.13, TEST, filled=True)
    for name, value in references.items():
        axes.axvline(value, color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)), zorder=0.5)
        axes.annotate(name, (value, -0.62), xytext=(4, 0), textcoords="offset points", fontsize=8, color=MUTED, va="center")
    axes.set_yticks(range(len(rows)), [shorten(row.name, 34) for row in rows], color=INK)
    axes.set_ylim(len(rows) - 0.45, -0.95)
    axes.set_xlabel(metric)
    axes.spines["left"].set_visible(False)
    _legend(axes, [("validation", VALID, PAPER), ("test", TEST, TEST)])
    return figure


def _interval(axes: Axes, score: Score | None, y: float, color: str, *, filled: bool) -> None:
    if score is None or not math.isfinite(score.value):
        return
    if math.isfinite(score.low) and math.isfinite(score.high):
        axes.plot([score.low, score.high], [y, y], color=color, linewidth=1.8, solid_capstyle="round")
    face = color if filled else PAPER
    axes.plot([score.value], [y], "o", markersize=6, markeredgewidth=1.6, color=color, markerfacecolor=face)


def _legend(axes: Axes, entries: Sequence[tuple[str, str, str]]) -> None:
    """Draw a legend of round markers (label, edge, face) at the upper right of the axes."""
    handles = [
        axes.plot([], [], "o", markersize=6, markeredgewidth=1.6, color=edge, markerfacecolor=face, label=label)[0]
        for label, edge, face in entries
    ]
    _legend_above(axes, handles)


def _legend_above(axes: Axes, handles: Sequence[Any]) -> None:
    place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0}
    axes.legend(handles=handles, **place, ncols=len(handles), handlelength=1)


@styled
def curves(log: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw loss and accuracy per epoch on training and validation, with the kept epoch marked.

    Args:
        log: Lines of `log.jsonl`, at least one.
    """
    figure = Figure(figsize=(8.6, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    best = best_epoch(log)
    for axes, kind in ((left, "loss"), (right, "accuracy")):
        for split, color in (("train", TRAIN), ("valid", VALID)):
            _curve(axes, log, f"{split}_{kind}", color, "validation" if split == "valid" else split, best)
        axes.set_title(kind, loc="left", color=INK)
        axes.set_xlabel("epoch")
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        if best is not None:
            axes.axvline(best, color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)), zorder=0.5)
    drawn = [axes for axes in (left, right) if axes.get_legend_handles_labels()[0]]
    if drawn:
        drawn[0].legend(loc="best", handlelength=1.4)
    return figure


def _curve(axes: Axes, log: Sequence[Mapping[str, Any]], key: str, color: str, label: str, best: float | None) -> None:
    """Draw one line; epochs without a value (None or absent) are gaps."""
    epochs = np.array([float(line["epoch"]) for line in log])
    values = np.array([float("nan") if line.get(key) is None else float(line[key]) for line in log])
    if not np.isfinite(values).any():
        return
    marker = "o" if len(log) <= 2 else ""
    axes.plot(epochs, values, color=color, label=label, marker=marker, markersize=4, solid_joinstyle="round")
    if best is not None:
        axes.plot(epochs[epochs == best], values[epochs == best], "o", markersize=5.5, color=color)


def best_epoch(log: Sequence[Mapping[str, Any]]) -> float | None:
    """Find the epoch whose weights were kept: the last line with `best: true`, or None."""
    marked = [float(line["epoch"]) for line in log if line.get("best")]
    return marked[-1] if marked else None


@styled
def confusion(counts: np.ndarray, classes: Sequence[str], by: str = "counts") -> Figure:
    """Draw a confusion matrix as a heat map: the color shows a share, blue for correct, vermilion for wrong predictions.

    Colors use the square root of the share, so that rare confusions are visible; with up to 15 classes, cells contain numbers.

    Args:
        counts: (C, C) int; rows are true classes, columns are predicted classes.
        classes: C names.
        by: "counts": cells contain counts, colors are shares of the row; "row", "column": cells contain these shares in per
            cent.
    """
    number = len(classes)
    side = min(6.6, max(2.2, 0.52 * number + 0.6)) if number <= NUMBERS_UP_TO else 6.6
    margin = min(1.7, 0.09 * max(len(shorten(c)) for c in classes) + 0.3)
    figure = Figure(figsize=(side + margin + 0.9, side + margin), layout="constrained")
    axes = figure.add_subplot()
    shares = confusion_shares(counts, "column" if by == "column" else "row")
    shade = np.sqrt(np.nan_to_num(shares))
    if number <= NUMBERS_UP_TO:
        _cells(axes, counts, shade, None if by == "counts" else shares)
    else:
        axes.imshow(_rgba(shade), interpolation="none", aspect="equal", extent=(-0.5, number - 0.5, number - 0.5, -0.5))
    _class_axes(axes, classes)
    _shade_key(axes, side, "predicted\nclass" if by == "column" else "true class")
    return figure


def _cells(axes: Axes, counts: np.ndarray, shade: np.ndarray, shares: np.ndarray | None) -> None:
    """Draw cells with numbers; the id of each text in the SVG is `n-<true>-<predicted>`, or `s-…` for shares."""
    size = (9.5 if len(counts) <= 10 else 7.5) - (shares is not None)
    for i, j in np.ndindex(*counts.shape):
        color = RIGHT if i == j else WRONG
        if counts[i, j]:
            alpha = 0.06 + 0.9 * shade[i, j]
            axes.add_patch(Rectangle((j - 0.48, i - 0.48), 0.96, 0.96, facecolor=color, alpha=alpha, linewidth=0))
        ink = "white" if shade[i, j] > 0.9 else INK if counts[i, j] else MUTED
        said = str(counts[i, j]) if shares is None else "–" if np.isnan(shares[i, j]) else f"{100 * shares[i, j]:.1f}"
        text = axes.text(j, i, said, ha="center", va="center_baseline", fontsize=size, color=ink)
        text.set_gid(f"{'n' if shares is None else 's'}-{i}-{j}")


def _rgba(shade: np.ndarray) -> np.ndarray:
    """Convert shares (C, C) in [0, 1] to (C, C, 4) uint8 with the shade as alpha, so that the background of the page is
    visible.
    """
    picture = np.empty((*shade.shape, 4), dtype=np.uint8)
    picture[..., :3] = WRONG_RGB
    picture[np.eye(len(shade), dtype=bool), :3] = RIGHT_RGB
    picture[..., 3] = np.rint(255 * np.where(shade > 0, 0.08 + 0.9 * shade, 0))
    return picture


def _class_axes(axes: Axes, classes: Sequence[str]) -> None:
    """Label both axes with class names: all of them up to `NAMES_UP_TO`, else every k-th."""
    number = len(classes)
    step = 1 if number <= NAMES_UP_TO else math.ceil(number / 28)
    size = 8.5 if number <= NUMBERS_UP_TO else 7 if number <= 28 else 6.5
    places = range(0, number, step)
    names = [shorten(classes[i]) for i in places]
    upright = number <= 6 and max(map(len, names)) <= 9
    turned: dict[str, Any] = {} if upright else {"rotation": 40, "ha": "right", "va": "top", "rotation_mode": "anchor"}
    axes.set_xticks(places, names, fontsize=size, color=INK, **turned)
    axes.set_yticks(places, names, fontsize=size, color=INK)
    axes.set(xlim=(-0.5, number - 0.5), ylim=(number - 0.5, -0.5), aspect="equal", xlabel="predicted", ylabel="true")
    axes.spines[:].set_visible(number > NUMBERS_UP_TO)


def _shade_key(axes: Axes, side: float, of: str) -> None:
    """Draw a narrow double color bar next to the matrix, labeled as shares of `of`. `side`: side of the matrix in inches."""
    key = axes.inset_axes((1 + 0.18 / side, 0.0, 0.24 / side, min(1.0, 2.4 / side)))
    picture = np.empty((64, 2, 4), dtype=np.uint8)
    picture[:, 0, :3], picture[:, 1, :3] = RIGHT_RGB, WRONG_RGB
    picture[..., 3] = np.rint(255 * (0.06 + 0.9 * np.linspace(1, 0, 64)[:, None]))
    key.imshow(picture, interpolation="none", aspect="auto", extent=(0, 2, 0, 1))
    shares = (0, 0.01, 0.1, 0.25, 0.5, 1)
    key.set_xticks([])
    key.set_yticks([math.sqrt(s) for s in shares], [f"{s:.0%}" for s in shares], fontsize=7)
    key.yaxis.tick_right()
    key.set_title(f"share of\n{of}", fontsize=7, loc="left", color=MUTED)
    key.spines[:].set_visible(False)


@styled
def class_counts(counts: Mapping[str, Sequence[int]], classes: Sequence[str]) -> Figure:
    """Draw images per class as thin stacked bars, the largest class first; used if there are too many classes for a table.

    Args:
        counts: Split → C counts; splits are stacked in this order.
        classes: C names.
    """
    total = np.sum(list(counts.values()), axis=0)
    order = np.argsort(-total, kind="stable")
    named = len(classes) <= 60
    figure = Figure(figsize=(8.6, 2.9 if named else 2.2), layout="constrained")
    axes = figure.add_subplot()
    floor = np.zeros(len(classes))
    handles = []
    for split, values in counts.items():
        height, color = np.asarray(values)[order], SPLIT_COLORS.get(split, MUTED)
        handles.append(axes.bar(range(len(classes)), height, 0.8, floor, color=color, label=split, linewidth=0))
        floor = floor + height
    names = [shorten(str(classes[i]), 18) for i in order] if named else []
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axes.set_xlim(-0.7, len(classes) - 0.3)
    axes.set_ylabel("images")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    _legend_above(axes, handles)
    return figure


def shorten(name: str, limit: int = 22) -> str:
    """Shorten a long name in the middle.

    >>> shorten("a_very_long_class_name_indeed", 15)
    'a_very_…_indeed'
    """
    if len(name) <= limit:
        return name
    head = (limit - 1) // 2
    return f"{name[:head]}…{name[len(name) - (limit - 1 - head) :]}"
