"""Small synthetic images and tables on which plug-ins are tested; the same for every call."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tellapart.classifiers.base import Classifier, Context
from tellapart.data.memory import from_bytes
from tellapart.recipe.load import parse
from tellapart.types import ImageTable


def noise(count: int, height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Uniform random gray values: (count, height, width, channels) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def textured(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Images with edges, gradients and some noise, as in photographs: (count, height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    found = []
    for _ in range(count):
        slope = rng.uniform(-1, 1, (2, 3))
        edges = 40 * np.sign(np.sin(rows / rng.uniform(2, 5) + columns / rng.uniform(2, 5)))[..., None]
        level = 128 + rows[..., None] * slope[0] + columns[..., None] * slope[1] + edges
        found.append(level + rng.normal(0, 6, (height, width, 3)))
    return np.clip(np.rint(np.array(found)), 0, 255).astype(np.uint8).reshape(count, height, width, 3)


def levels(labels: np.ndarray, classes: int, side: int = 12, seed: int = 0) -> np.ndarray:
    """Noise around one brightness per class: (N, side, side, 3) uint8."""
    level = (labels + 1) * 255 // (classes + 1)
    drawn = np.random.default_rng(seed).integers(-20, 20, (len(labels), side, side, 3))
    return (level[:, None, None, None] + drawn).clip(0, 255).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """An image, encoded losslessly."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def table(count: int = 60, classes: int = 3, seed: int = 0, split: str = "train") -> ImageTable:
    """Encoded images whose class can be predicted from pixels, and partly from the file size."""
    labels = np.arange(count) % classes
    ids = [f"{split}-{seed}-{i}" for i in range(count)]
    names = [f"class {c}" for c in range(classes)]
    return from_bytes([png(p) for p in levels(labels, classes, seed=seed)], labels, names, ids, split=[split] * count)


def mixed_table(
    labels: Sequence[int], classes: Sequence[str] = ("cat", "dog"), split: Sequence[str] | None = None, seed: int = 0
) -> ImageTable:
    """Encoded textured images; if there are more than three, the last occurs twice. A label of −1 is unknown."""
    pictures = list(textured(len(labels), 24, 24, seed))
    if len(pictures) > 3:
        pictures[-1] = pictures[-2]
    return from_bytes([png(p) for p in pictures], list(labels), list(classes), split=split)


@cache
def tiny_network() -> tuple[Classifier, Context]:
    """A network with two small convolutions, trained for one epoch on color images of 16×16."""
    return _fitted(
        {
            "inputs": {"size": 16, "mode": "rgb"},
            "classifier": {"family": "network", "net": "staged", "stages": [{"widths": [4]}, {"widths": [6], "pool": 1}]},
            "train": {"epochs": 1, "batch": 16, "precision": "32"},
        }
    )


@cache
def tiny_neighbors() -> tuple[Classifier, Context]:
    """Nearest neighbors on pixels, as a classifier without gradients."""
    return _fitted({"inputs": {"size": 16, "mode": "rgb"}, "classifier": {"family": "knn", "k": 3}})


def save_tiny_network(folder: Path) -> Path:
    """The model folder of a network trained on 16×16 color images, as in a run."""
    tiny_network()[0].save(folder)
    return folder


def _fitted(content: dict[str, Any]) -> tuple[Classifier, Context]:
    from tellapart import registry

    recipe, context = parse(content), Context()
    classifier = registry.find("classifiers", recipe.classifier.family)(recipe)
    return classifier.fit(table(30), table(12, seed=1, split="valid"), context), context
