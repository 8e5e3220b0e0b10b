"""A picture of an explanation: the image under its maps, then its nearest training images and its frequencies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure

from tellapart.explainers.base import Explanation
from tellapart.reports.figures import INK, MUTED, shorten, styled
from tellapart.reports.views_figure import draw_frequency, draw_nearest
from tellapart.workflows.class_maps import ClassMap
from tellapart.workflows.explain_views import Views

#: From nothing to most; as even to the eye as it looks, in color and in gray.
COLORS = "inferno"
_STRONGEST = 0.75  # opacity where the map is highest: the picture stays visible
_DOTS = 120  # an inch
_SIDE = 2.6  # inches of one picture
_VIEW_WIDTH = 13.0  # inches of the rows of views


def overlay(pixels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Lay a map over a picture: the higher, the less of the picture is seen.

    Args:
        pixels: (H, W, 3) uint8.
        values: (H, W) float in [0, 1].

    Returns:
        (H, W, 3) uint8.
    """
    colors = matplotlib.colormaps[COLORS](values)[..., :3] * 255
    share = _STRONGEST * values[..., None]
    gray = pixels.mean(axis=2, keepdims=True)
    return np.rint((1 - share) * (0.5 * pixels + 0.5 * gray) + share * colors).astype(np.uint8)


@styled
def sheet(found: Sequence[Explanation], viewed: Views | None = None) -> Figure:
    """One picture under the maps of one or several methods, and its views.

    Args:
        found: Of the same picture; may be empty where there are views.
        viewed: The views of that picture.
    """
    rows: list[tuple[float, float, str]] = []  # width and height in inches, and what is drawn
    if found:
        height, across = found[0].pixels.shape[:2]
        tall = min(max(_SIDE * height / across, 1.2), 3 * _SIDE)
        rows.append((_SIDE * (len(found) + 1) + 0.6, tall + 0.5, "maps"))
    if viewed is not None and viewed.nearest is not None:
        rows.append((_VIEW_WIDTH, 3.0, "nearest"))
    if viewed is not None and viewed.frequency is not None:
        rows.append((_VIEW_WIDTH, 3.2, "frequency"))
    size = (max(row[0] for row in rows), sum(row[1] for row in rows))
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=[row[1] for row in rows])[:, 0]
    for part, (_, _, what) in zip(parts, rows, strict=True):
        if what == "maps":
            _draw_maps(part, found)
        elif viewed is not None:
            draw_nearest(part, viewed) if what == "nearest" else draw_frequency(part, viewed)
    return figure


@styled
def class_sheet(found: Sequence[ClassMap]) -> Figure:
    """A row for each method, a mean picture and a mean map for each class. `found`: as `class_maps` gives them."""
    methods, classes = (list(dict.fromkeys(names)) for names in zip(*((m.method, m.class_name) for m in found), strict=True))
    by_name = {(m.method, m.class_name): m for m in found}
    height, across = found[0].values.shape
    tall = min(max(2.0 * height / across, 1.0), 6.0) + 0.45
    size = (4.1 * len(classes) + 0.8, tall * len(methods) + 0.2)
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    axes = figure.subplots(len(methods), 2 * len(classes), squeeze=False)
    most = max((float(m.values.max()) for m in found), default=0.0) or 1.0
    for row, method in enumerate(methods):
        for column, class_name in enumerate(classes):
            one, (left, right) = by_name[method, class_name], axes[row, 2 * column : 2 * column + 2]
            _show(left, one.picture, f"{shorten(class_name, 18)}, n = {one.n:,}")
            if one.n:
                _show(right, one.values, method, most)
            else:
                right.text(0.5, 0.5, "no picture", ha="center", va="center", fontsize=8, color=MUTED)
    for place in axes.flat:
        place.set_axis_off()
    _bar(figure, list(axes.flat), "mean of maps, each of its highest", most)
    return figure


@styled
def save(figure: Figure, path: Path) -> None:
    """Write a sheet as the file's ending says."""
    figure.savefig(path, dpi=_DOTS)


def _draw_maps(part: SubFigure, found: Sequence[Explanation]) -> None:
    axes, first = part.subplots(1, len(found) + 1, squeeze=False)[0], found[0]
    _show(axes[0], first.pixels, f"{first.answer} {first.proba[first.answer]:.1%}")
    for place, one in zip(axes[1:], found, strict=True):
        _show(place, overlay(one.pixels, one.heatmap.values), f"{one.heatmap.method}, {one.heatmap.class_name}")
    for place in axes:
        place.set_axis_off()
    _bar(part, list(axes), "evidence, of its highest", 1.0)


def _show(axes: Axes, pixels: np.ndarray, title: str, most: float | None = None) -> None:
    """A picture, or a map up to `most`."""
    axes.imshow(pixels, **({} if most is None else {"cmap": COLORS, "vmin": 0, "vmax": most}))
    axes.set_title(title, color=INK, fontsize=9)


def _bar(figure: Figure | SubFigure, axes: list[Axes], label: str, most: float) -> None:
    bar = figure.colorbar(ScalarMappable(Normalize(0, most), COLORS), ax=axes, fraction=0.03, pad=0.01)
    bar.set_label(label, fontsize=8)
