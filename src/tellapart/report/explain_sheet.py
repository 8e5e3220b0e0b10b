"""A picture of an explanation: the image, and the same under its map, with a bar that says what the colours mean."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from tellapart.explain._verb import Explained
from tellapart.report.figures import INK, styled

#: From nothing to most; as even to the eye as it looks, in colour and in grey.
COLOURS = "inferno"
_STRONGEST = 0.75  # opacity where the map is highest: the picture stays visible


def overlay(pixels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Lay a map over a picture: the higher, the less of the picture is seen.

    Args:
        pixels: (H, W, 3) uint8.
        values: (H, W) float in [0, 1].

    Returns:
        (H, W, 3) uint8.
    """
    colours = matplotlib.colormaps[COLOURS](values)[..., :3] * 255
    share = _STRONGEST * values[..., None]
    grey = pixels.mean(axis=2, keepdims=True)
    return np.rint((1 - share) * (0.5 * pixels + 0.5 * grey) + share * colours).astype(np.uint8)


@styled
def sheet(found: list[Explained]) -> Figure:
    """One picture under the maps of one or several methods. `found`: of the same picture."""
    first, width = found[0], len(found) + 1
    height, across = first.pixels.shape[:2]
    figure = Figure(figsize=(2.6 * width + 0.6, max(2.6 * height / across, 1.2) + 0.5), layout="constrained", facecolor="white")
    axes = figure.subplots(1, width, squeeze=False)[0]
    axes[0].imshow(first.pixels)
    axes[0].set_title(f"{first.answer} {first.proba[first.answer]:.1%}", color=INK, fontsize=9)
    for place, one in zip(axes[1:], found, strict=True):
        place.imshow(overlay(one.pixels, one.heatmap.values))
        place.set_title(f"{one.heatmap.method}, {one.heatmap.class_name}", color=INK, fontsize=9)
    for place in axes:
        place.set_axis_off()
    scale = ScalarMappable(Normalize(0, 1), COLOURS)
    bar = figure.colorbar(scale, ax=list(axes), fraction=0.03, pad=0.01)
    bar.set_label("evidence, of its highest", fontsize=8)
    return figure
