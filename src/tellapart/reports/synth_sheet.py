"""A picture of what `synth` made: of each forgery one picture, the same forged, and where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from tellapart.reports.figures import INK, styled

_SIDE = 512  # pixels of a picture shown, at most


@styled
def sheet(folder: Path) -> Figure:
    """The first picture of each forgery in a folder of `synth`, beside its mask; a real one first."""
    frame = pd.read_csv(folder / "provenance.csv", dtype=str, keep_default_na=False)
    ids = pd.read_csv(folder / "train.csv", dtype=str, keep_default_na=False)["id"]
    frame = frame.assign(id=ids).drop_duplicates("kind").sort_values("kind", key=lambda kinds: kinds != "none")
    figure = Figure(figsize=(1.7 * len(frame), 3.6), layout="constrained", facecolor="white")
    axes = figure.subplots(2, len(frame), squeeze=False)
    for column, (kind, name, path) in enumerate(zip(frame["kind"], frame["name"], frame["id"], strict=True)):
        pixels = _opened(folder / path)
        mask = folder / "masks" / f"{name}.png"
        axes[0][column].imshow(pixels)
        axes[0][column].set_title("real" if kind == "none" else kind, color=INK, fontsize=9)
        axes[1][column].imshow(_opened(mask) if mask.exists() else np.zeros_like(pixels))
    for place in axes.flat:
        place.set_xticks([])
        place.set_yticks([])
        for side in place.spines.values():  # a mask that is white everywhere must be seen on white paper
            side.set_visible(True)
    return figure


def _opened(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        image = image.convert("RGB")
        image.thumbnail((_SIDE, _SIDE))
        return np.asarray(image)
