"""Real photographs in tiles, and what happens to pictures on their way through the web."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from tellapart.checks._registration import has_structure
from tellapart.data.sample_photos import PHOTOGRAPHS

TILE = 128
Damage = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def saved(pixels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Through JPEG of quality 50 to 95."""
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "JPEG", quality=int(draw.integers(50, 96)))
    return np.asarray(Image.open(target).convert("RGB"))


def halved(pixels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """At half its size."""
    del draw
    image = Image.fromarray(pixels)
    return np.asarray(image.resize((image.width // 2, image.height // 2), Image.Resampling.BILINEAR))


def cropped(pixels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Less 5 % of each side, at a random place."""
    height, width = (round(0.95 * side) for side in pixels.shape[:2])
    top, left = draw.integers(pixels.shape[0] - height + 1), draw.integers(pixels.shape[1] - width + 1)
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def mirrored(pixels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Left for right, and saved again."""
    return saved(np.ascontiguousarray(pixels[:, ::-1]), draw)


DAMAGES: dict[str, Damage] = {"saved": saved, "halved": halved, "cropped": cropped, "mirrored": mirrored}


@pytest.fixture(scope="session")
def tiles() -> np.ndarray:
    """Different pieces of real photographs: (N, 128, 128, 3) uint8, N ≥ 250; no two overlap.

    Sky and skin without a mark are left out by the rule of the check itself: of them it says nothing.
    """
    found: list[np.ndarray] = []
    scenes = set()
    for photograph in PHOTOGRAPHS:
        # the other picture of a stereo pair shows the same, and pieces of a brick wall are alike, as the check rightly says
        if photograph.scene in scenes or "brick" in photograph.file:
            continue
        scenes.add(photograph.scene)
        with Image.open(photograph.path) as image:
            pixels = np.asarray(image.convert("RGB"))
        rows, columns = (side // TILE for side in pixels.shape[:2])
        cut = pixels[: rows * TILE, : columns * TILE].reshape(rows, TILE, columns, TILE, 3).swapaxes(1, 2)
        found.append(cut.reshape(-1, TILE, TILE, 3))
    every = np.concatenate(found)
    gray = [np.asarray(Image.fromarray(tile).resize((64, 64), Image.Resampling.BICUBIC).convert("L")) for tile in every]
    return every[has_structure(np.stack(gray))]


@pytest.fixture(scope="session")
def damages() -> dict[str, Damage]:
    """What a picture comes back from the web as, by name."""
    return DAMAGES
