"""Figure of an explanation: the image with its heatmaps, its nearest training images, and its frequencies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure

from tellapart.explainers._frequency import Frequencies
from tellapart.explainers.faithfulness import Explanation
from tellapart.inference.nearest import NEIGHBORS
from tellapart.reports.figures import INK, LINE, MUTED, TEST, TRAIN, VALID, shorten, styled
from tellapart.workflows.class_maps import ClassMap
from tellapart.workflows.explain import Views

#: Color map for evidence, perceptually uniform in color and in gray.
COLORS = "inferno"
_STRONGEST = 0.75  # opacity at the highest value of the map, so that the image remains visible
_DOTS = 120  # pixels per inch
_SIDE = 2.6  # size of an image, in inches
_VIEW_WIDTH = 13.0  # height of the rows of views, in inches


def overlay(pixels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Blend a heatmap with an image: the higher the value, the more opaque the map.

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
    """Draw an image with the heatmaps of one or several methods, and its views.

    Args:
        found: Explanations of the image; may be empty if there are views.
        viewed: Views of the image.
    """
    rows: list[tuple[float, float, str]] = []  # width and height in inches, and drawing function
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
    """Draw a row for each method with the mean image and the mean map of each class. `found`: as returned by `class_maps`."""
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
                right.text(0.5, 0.5, "no image", ha="center", va="center", fontsize=8, color=MUTED)
    for place in axes.flat:
        place.set_axis_off()
    _bar(figure, list(axes.flat), "mean of maps, each relative to its maximum", most)
    return figure


@styled
def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the file extension."""
    figure.savefig(path, dpi=_DOTS)


def _draw_maps(part: SubFigure, found: Sequence[Explanation]) -> None:
    axes, first = part.subplots(1, len(found) + 1, squeeze=False)[0], found[0]
    _show(axes[0], first.pixels, f"{first.predicted} {first.proba[first.predicted]:.1%}")
    for place, one in zip(axes[1:], found, strict=True):
        _show(place, overlay(one.pixels, one.heatmap.values), f"{one.heatmap.method}, {one.heatmap.class_name}")
    for place in axes:
        place.set_axis_off()
    _bar(part, list(axes), "evidence, relative to the maximum", 1.0)


def _show(axes: Axes, pixels: np.ndarray, title: str, most: float | None = None) -> None:
    """Draw an image, or a map with values up to `most`."""
    axes.imshow(pixels, **({} if most is None else {"cmap": COLORS, "vmin": 0, "vmax": most}))
    axes.set_title(title, color=INK, fontsize=9)


def _bar(figure: Figure | SubFigure, axes: list[Axes], label: str, most: float) -> None:
    bar = figure.colorbar(ScalarMappable(Normalize(0, most), COLORS), ax=axes, fraction=0.03, pad=0.01)
    bar.set_label(label, fontsize=8)


# --- views other than heatmaps: nearest training images and frequencies ------------------------------------------------


#: Colors of classes in the plot of rings, suitable for color-blind readers; the image has its own color.
_CLASS_COLORS = (TEST, VALID, TRAIN, "#cc79a7")
_DRAWN = len(_CLASS_COLORS)  # maximum number of classes that are drawn, the nearest first
_APART = 15.0  # limit of the color scale of differences, in decibels
_GRAIN = 3.0  # limit of the gray scale of a residual, in standard deviations


def draw_nearest(part: SubFigure, viewed: Views) -> None:
    """Draw the image and its nearest training images, with class and distance."""
    near = viewed.nearest
    if near is None:
        return
    axes = part.subplots(1, NEIGHBORS + 1, squeeze=False)[0]
    usual = "" if math.isnan(near.usual) else f"; typical distance between them: {near.usual:.3g}"
    part.suptitle(f"nearest of {near.training:,} training images, by {near.by}{usual}", color=MUTED, fontsize=9)
    _show_views_figure(axes[0], viewed.pixels, "the image")
    for place, one, pixels in zip(axes[1:], near.found, near.pictures, strict=False):
        _show_views_figure(place, pixels, f"{shorten(one.class_name, 18)}, {one.distance:.3g}")
        place.text(0.5, -0.03, shorten(one.id, 26), transform=place.transAxes, ha="center", va="top", fontsize=7, color=MUTED)
    for place in axes:
        place.set_axis_off()


def draw_frequency(part: SubFigure, viewed: Views) -> None:
    """Draw the residual, the spectrum, its difference from the two nearest classes, and all rings."""
    found = viewed.frequency
    if found is None:
        return
    axes = part.subplots(1, 5, width_ratios=(1, 1, 1, 1, 2))
    near = sorted(found.distance, key=lambda name: found.distance[name])
    height, width = found.power.shape
    heading = f"frequencies of the original pixels of the image, the central {width}×{height}; mean spectra of training images"
    part.suptitle(heading, color=MUTED, fontsize=9)
    _draw_residual(axes[0], found.residual)
    _show_views_figure(axes[1], found.power, "spectrum, log", cmap="magma")
    for place, name in zip(axes[2:4], near, strict=False):
        apart = found.power - found.classes[name].power
        _show_views_figure(
            place, apart, f"minus {shorten(name, 14)} (±{_APART:.0f} dB)", cmap="RdBu_r", vmin=-_APART, vmax=_APART
        )
    for place in axes[:4]:
        place.set_axis_off()
    _draw_rings(axes[4], found, near[:_DRAWN])


def _draw_residual(axes: Axes, residual: np.ndarray) -> None:
    if not residual.size:
        axes.text(0.5, 0.5, "too small for a residual", ha="center", va="center", fontsize=8, color=MUTED)
        return
    end = _GRAIN * float(residual.std()) or 1.0
    _show_views_figure(axes, residual, "noise residual", cmap="gray", vmin=-end, vmax=end)


def _draw_rings(axes: Axes, found: Frequencies, names: list[str]) -> None:
    """Draw decibels of each ring: bands of mean ± one standard deviation, and a line for the image."""
    at = (np.arange(len(found.rings)) + 0.5) / len(found.rings)
    for name, color in zip(names, _CLASS_COLORS, strict=False):
        of = found.classes[name]
        axes.fill_between(at, of.rings - of.spread, of.rings + of.spread, color=color, alpha=0.18, linewidth=0)
        label = f"{shorten(name, 14)}, n = {of.n:,}: distance {found.distance[name]:.2g} sd"
        axes.plot(at, of.rings, color=color, linewidth=1.2, label=label)
    axes.plot(at, found.rings, color=INK, linewidth=1.4, label="the image")
    axes.set_xlabel("frequency, relative to the highest")
    axes.set_ylabel("power, dB")
    axes.grid(True, color=LINE)
    axes.legend(fontsize=7.5)


def _show_views_figure(axes: Axes, pixels: np.ndarray, title: str, **colors: object) -> None:
    axes.imshow(pixels, **colors)  # type: ignore[arg-type]
    axes.set_title(title, color=INK, fontsize=9)
