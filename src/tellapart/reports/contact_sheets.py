"""Contact sheets: an image with augmented versions of it, and examples of forgeries with their masks."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from tellapart.data.open_image import open_file
from tellapart.regular_files import read_bytes
from tellapart.reports.figures import INK, styled

if TYPE_CHECKING:  # `synth` draws its sheet without torch
    import torch

    from tellapart.augmentations.base import Entry, Pipeline

COLUMNS, GAP, LABEL = 6, 6, 18
SMALLEST, LARGEST = 96, 256
_FORGERY_SIDE = 512  # maximum length of the longer side of a forgery, in pixels


def augmentation_sheet(
    entries: Sequence[Entry],
    image: np.ndarray,
    seed: int = 0,
    count: int = 11,
    other: np.ndarray | None = None,
) -> Image.Image:
    """Draw an image and augmented versions of it, in rows of six.

    Args:
        entries: The `augment` section of a recipe.
        image: (H, W, C) uint8, RGB or gray.
        seed: Random seed of the augmentations.
        count: Number of versions.
        other: (H, W, C) uint8, second image for `mixup` and `cutmix`; default: the image upside down.

    Raises:
        RecipeError: The augmentations are invalid, or not applicable to images of this size.
    """
    import torch

    from tellapart.augmentations.base import Pipeline

    pipeline, generator = Pipeline(entries), torch.Generator().manual_seed(seed)
    batch = _batch(image, count)
    out = pipeline(batch, generator, torch.arange(count) % pipeline.versions)
    labels = [f"version {row % pipeline.versions + 1}" if pipeline.versions > 1 else str(row + 1) for row in range(count)]
    if pipeline.mix(out[:1], torch.Generator()) is not None:
        second = pipeline(_batch(np.ascontiguousarray(image[::-1]) if other is None else other, count), generator)
        out, labels = _mixed(pipeline, out, second, generator)
    versions = out.permute(0, 2, 3, 1).numpy()
    return _grid([image, *versions], ["original", *labels], max(image.shape[:2]))


@styled
def forgery_sheet(folder: Path) -> Figure:
    """Draw the first image of each forgery in a folder of `synth` above its mask; a real image first."""
    frame = pd.read_csv(io.BytesIO(read_bytes(folder / "provenance.csv")), dtype=str, keep_default_na=False)
    ids = pd.read_csv(io.BytesIO(read_bytes(folder / "train.csv")), dtype=str, keep_default_na=False)["id"]
    frame = frame.assign(id=ids).drop_duplicates("kind").sort_values("kind", key=lambda kinds: kinds != "none")
    figure = Figure(figsize=(1.7 * len(frame), 3.6), layout="constrained", facecolor="white")
    axes = figure.subplots(2, len(frame), squeeze=False)
    for column, (kind, name, path) in enumerate(zip(frame["kind"], frame["name"], frame["id"], strict=True)):
        pixels = _read_thumbnail(folder / path)
        mask = folder / "masks" / f"{name}.png"
        axes[0][column].imshow(pixels)
        axes[0][column].set_title("real" if kind == "none" else kind, color=INK, fontsize=9)
        axes[1][column].imshow(_read_thumbnail(mask) if mask.exists() else np.zeros_like(pixels))
    for place in axes.flat:
        place.set_xticks([])
        place.set_yticks([])
        for side in place.spines.values():  # so that an all-white mask is visible on white paper
            side.set_visible(True)
    return figure


def _batch(image: np.ndarray, count: int) -> torch.Tensor:
    """Repeat the image: (count, C, H, W) uint8, channels_last."""
    import torch

    return torch.from_numpy(np.repeat(image[None], count, axis=0)).permute(0, 3, 1, 2)


def _mixed(
    pipeline: Pipeline, images: torch.Tensor, others: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, list[str]]:
    """Mix images with others; the labels state the share of the original image."""
    import torch

    made: list[torch.Tensor] = []
    labels: list[str] = []
    while len(made) < len(images):
        mix = pipeline.mix(torch.cat([images, others]), generator)
        if mix is not None:
            rows = [row for row in range(len(images)) if mix.partner[row] >= len(images)]
            made += [mix.images[row] for row in rows]
            labels += [f"{mix.share[row]:.0%} own" for row in rows]
    return torch.stack(made[: len(images)]), labels[: len(images)]


def _grid(pictures: Sequence[np.ndarray], labels: Sequence[str], longest: int) -> Image.Image:
    """Arrange images in cells of the size of the first one; smaller images are centered, at the same scale."""
    enlarged = max(1, -(-SMALLEST // longest))  # integer scale, so that small images remain sharp
    scale = enlarged if enlarged > 1 else min(1.0, LARGEST / longest)
    height, width = (round(side * scale) for side in pictures[0].shape[:2])
    columns, rows = min(COLUMNS, len(pictures)), -(-len(pictures) // COLUMNS)
    page = Image.new("RGB", (columns * (width + GAP) + GAP, rows * (height + LABEL + GAP) + GAP), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for place, (pixels, label) in enumerate(zip(pictures, labels, strict=True)):
        left, top = GAP + place % columns * (width + GAP), GAP + place // columns * (height + LABEL + GAP)
        cell = _scaled(pixels, scale)
        page.paste(cell, (left + (width - cell.width) // 2, top + (height - cell.height) // 2))
        draw.text((left + width / 2, top + height + LABEL / 2), label, fill="black", font=font, anchor="mm")
    return page


def _scaled(pixels: np.ndarray, scale: float) -> Image.Image:
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS).convert("RGB")


def _read_thumbnail(path: Path) -> np.ndarray:
    with open_file(path, path.name) as image:
        image = image.convert("RGB")
        image.thumbnail((_FORGERY_SIDE, _FORGERY_SIDE))
        return np.asarray(image)
