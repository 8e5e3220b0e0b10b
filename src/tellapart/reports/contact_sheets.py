"""A picture of what a recipe's augmentations do: one image beside altered versions of it, each with a label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from tellapart.augmentations.base import Entry, Pipeline

COLUMNS, GAP, LABEL = 6, 6, 18
SMALLEST, LARGEST = 96, 256


def sheet(
    entries: Sequence[Entry],
    image: np.ndarray,
    seed: int = 0,
    count: int = 11,
    other: np.ndarray | None = None,
) -> Image.Image:
    """The original and `count` augmented versions, in rows of six.

    Args:
        entries: The `augment` section of a recipe.
        image: (H, W, C) uint8, RGB or gray.
        seed: Of the parameters.
        count: Versions.
        other: (H, W, C) uint8, for `mixup` and `cutmix` to mix in; default: the image upside down.

    Raises:
        RecipeError: The augmentations cannot be made, or not for images of this size.
    """
    pipeline, generator = Pipeline(entries), torch.Generator().manual_seed(seed)
    batch = _batch(image, count)
    out = pipeline(batch, generator, torch.arange(count) % pipeline.versions)
    labels = [f"version {row % pipeline.versions + 1}" if pipeline.versions > 1 else str(row + 1) for row in range(count)]
    if pipeline.mix(out[:1], torch.Generator()) is not None:
        second = pipeline(_batch(np.ascontiguousarray(image[::-1]) if other is None else other, count), generator)
        out, labels = _mixed(pipeline, out, second, generator)
    versions = out.permute(0, 2, 3, 1).numpy()
    return _grid([image, *versions], ["original", *labels], max(image.shape[:2]))


def _batch(image: np.ndarray, count: int) -> torch.Tensor:
    """The image `count` times: (count, C, H, W) uint8, channels_last."""
    return torch.from_numpy(np.repeat(image[None], count, axis=0)).permute(0, 3, 1, 2)


def _mixed(
    pipeline: Pipeline, images: torch.Tensor, others: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, list[str]]:
    """Images that took some of the others, as often as there are images; labels say what is left of the own."""
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
    """Cells of the first picture's size; smaller ones stand in the middle of theirs, at the same scale."""
    enlarged = max(1, -(-SMALLEST // longest))  # whole pixels, so that small pictures stay sharp
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
