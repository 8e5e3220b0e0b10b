"""What of a picture is no map over its pixels, drawn: the nearest training images, and the frequencies."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from tellapart.explainers._frequency import Frequencies
from tellapart.inference.nearest import NEIGHBORS
from tellapart.reports.figures import INK, LINE, MUTED, TEST, TRAIN, VALID, shorten
from tellapart.workflows.explain_views import Views

#: Of classes in the plot of rings, after the picture's own line; told apart by color-blind readers.
_CLASS_COLORS = (TEST, VALID, TRAIN, "#cc79a7")
_DRAWN = len(_CLASS_COLORS)  # classes that are drawn: the nearest ones
_APART = 15.0  # decibels from a class's mean at which the colors of a difference end
_GRAIN = 3.0  # standard deviations of the residual at which its grays end


def draw_nearest(part: SubFigure, viewed: Views) -> None:
    """The picture, and the training images nearest to it with class and distance."""
    near = viewed.nearest
    if near is None:
        return
    axes = part.subplots(1, NEIGHBORS + 1, squeeze=False)[0]
    usual = "" if math.isnan(near.usual) else f"; usual among them: {near.usual:.3g}"
    part.suptitle(f"nearest of {near.training:,} training images, by {near.by}{usual}", color=MUTED, fontsize=9)
    _show(axes[0], viewed.pixels, "the picture")
    for place, one, pixels in zip(axes[1:], near.found, near.pictures, strict=False):
        _show(place, pixels, f"{shorten(one.class_name, 18)}, {one.distance:.3g}")
        place.text(0.5, -0.03, shorten(one.id, 26), transform=place.transAxes, ha="center", va="top", fontsize=7, color=MUTED)
    for place in axes:
        place.set_axis_off()


def draw_frequency(part: SubFigure, viewed: Views) -> None:
    """The residual, the spectrum, its difference from the two nearest classes, and all rings."""
    found = viewed.frequency
    if found is None:
        return
    axes = part.subplots(1, 5, width_ratios=(1, 1, 1, 1, 2))
    near = sorted(found.distance, key=lambda name: found.distance[name])
    height, width = found.power.shape
    heading = f"frequencies of the picture's own pixels, the middle {width}×{height}; mean spectra of training images"
    part.suptitle(heading, color=MUTED, fontsize=9)
    _draw_residual(axes[0], found.residual)
    _show(axes[1], found.power, "its spectrum, log", cmap="magma")
    for place, name in zip(axes[2:4], near, strict=False):
        apart = found.power - found.classes[name].power
        _show(place, apart, f"less {shorten(name, 14)} (±{_APART:.0f} dB)", cmap="RdBu_r", vmin=-_APART, vmax=_APART)
    for place in axes[:4]:
        place.set_axis_off()
    _draw_rings(axes[4], found, near[:_DRAWN])


def _draw_residual(axes: Axes, residual: np.ndarray) -> None:
    if not residual.size:
        axes.text(0.5, 0.5, "too small for a residual", ha="center", va="center", fontsize=8, color=MUTED)
        return
    end = _GRAIN * float(residual.std()) or 1.0
    _show(axes, residual, "noise residual", cmap="gray", vmin=-end, vmax=end)


def _draw_rings(axes: Axes, found: Frequencies, names: list[str]) -> None:
    """Decibels of each ring: bands of mean ± one standard deviation, and the picture's own line."""
    at = (np.arange(len(found.rings)) + 0.5) / len(found.rings)
    for name, color in zip(names, _CLASS_COLORS, strict=False):
        of = found.classes[name]
        axes.fill_between(at, of.rings - of.spread, of.rings + of.spread, color=color, alpha=0.18, linewidth=0)
        label = f"{shorten(name, 14)}, n = {of.n:,}: {found.distance[name]:.2g} sd away"
        axes.plot(at, of.rings, color=color, linewidth=1.2, label=label)
    axes.plot(at, found.rings, color=INK, linewidth=1.4, label="the picture")
    axes.set_xlabel("frequency, of the highest")
    axes.set_ylabel("power, dB")
    axes.grid(True, color=LINE)
    axes.legend(fontsize=7.5)


def _show(axes: Axes, pixels: np.ndarray, title: str, **colors: object) -> None:
    axes.imshow(pixels, **colors)  # type: ignore[arg-type]
    axes.set_title(title, color=INK, fontsize=9)
