"""Parity check of an export: torch and ONNX Runtime predict the same images, and the largest difference is limited.

The images are photographs from scikit-image, and noise, in many sizes, so that all of the preprocessing is covered. Torch
predicts as in every command, with Pillow's decoding and resize.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from tellapart.data.decode import target_size
from tellapart.data.sample_photos import PHOTOGRAPHS
from tellapart.errors import RunError
from tellapart.recipe.schema import Inputs

#: Maximum difference of a probability for the check to pass.
LIMIT = 1e-4
#: Batch sizes.
BATCHES = (1, 2, 5)
#: (B, H, W, 3) uint8 → (B, classes) float32.
Ask = Callable[[np.ndarray], np.ndarray]

#: Photograph and box (left, top, width, height): odd sides, a tall, a wide and a small one.
_BOXES = {
    "astronaut": (120, 0, 257, 255), "coffee": (40, 30, 500, 333), "chelsea": (0, 100, 451, 90),
    "rocket": (250, 0, 133, 420), "hubble": (300, 200, 64, 64), "text": (10, 10, 31, 47),
}  # fmt: skip


@dataclass(frozen=True)
class Parity:
    """Result of a parity check.

    Attributes:
        largest: The largest difference of a probability, ≥ 0.
        limit: The largest difference allowed.
        sizes: (height, width) of the images.
        batches: Sizes of the batches.
        answers: Number of predictions that were compared.
    """

    largest: float
    limit: float
    sizes: tuple[tuple[int, int], ...]
    batches: tuple[int, ...]
    predictions: int

    @property
    def holds(self) -> bool:
        """Whether the difference is within the limit."""
        return self.largest <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"holds": self.holds}


def golden_images(inputs: Inputs | Sequence[Inputs] = ()) -> list[np.ndarray]:
    """Images of several sizes: (H, W, 3) uint8 RGB each.

    Args:
        inputs: Inputs of the run; with `resize: none` all images have its size.
    """
    boxed = {one.name: one.load() for one in PHOTOGRAPHS if one.name in _BOXES}
    found = []
    for name, (left, top, width, height) in _BOXES.items():
        pixels = boxed[name][top : top + height, left : left + width]
        found.append(np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3))))
    noise = np.random.default_rng(0).integers(0, 256, (53, 37, 3), dtype=np.uint8)
    found += [noise, noise[:1, :1].copy()]
    strict = [one for one in ([inputs] if isinstance(inputs, Inputs) else inputs) if one.resize == "none"]
    if strict:
        height, width = (_whole_side(side, strict[0].keep) for side in target_size(strict[0]))
        found = [np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)) for image in found]
    return found


def batches_of(image: np.ndarray) -> list[np.ndarray]:
    """Batches of 1, 2 and 5 images made from one: itself, mirrored, upside down, rotated, inverted."""
    five = np.stack([image, image[:, ::-1], image[::-1], image[::-1, ::-1], 255 - image])
    return [five[:length] for length in BATCHES]


def largest_difference(ask: Ask, reference: Ask, images: Sequence[np.ndarray]) -> float:
    """The largest difference of a probability over all images, in batches of 1, 2 and 5.

    Args:
        ask: The function to test, called once per batch.
        reference: The reference function, called once per image, with the largest batch.
        images: (H, W, 3) uint8 each, for example `golden_images()`.

    Returns:
        ≥ 0; infinity if a prediction is not finite.
    """
    largest = 0.0
    for image in images:
        batches = batches_of(image)
        expected = reference(batches[-1]).astype(np.float64)
        for batch in batches:
            apart = np.abs(ask(batch).astype(np.float64) - expected[: len(batch)]).max()
            largest = max(largest, float(apart) if np.isfinite(apart) else float("inf"))
    return largest


def check_parity(ask: Ask, reference: Ask, images: Sequence[np.ndarray], whose: str) -> Parity:
    """Compare, and raise an error if the predictions differ.

    Args:
        ask: Function to test, as for `largest_difference`.
        reference: Reference function, as for `largest_difference`.
        images: Images, as for `largest_difference`.
        whose: Name of the graph in the error.

    Raises:
        RunError: The predictions differ by more than `LIMIT`.
    """
    largest = largest_difference(ask, reference, images)
    sizes = tuple((int(image.shape[0]), int(image.shape[1])) for image in images)
    found = Parity(largest, LIMIT, sizes, BATCHES, sum(BATCHES) * len(images))
    if not found.holds:
        hint = "nothing was written; `tellapart predict` and `serve` use torch"
        raise RunError(
            f"{whose}: the graph's probabilities differ from torch's by up to {largest:.2g} (limit {LIMIT:g})", hint=hint
        )
    return found


def _whole_side(kept: int, share: float) -> int:
    """A side length of which `keep` leaves this many pixels."""
    near = round(kept / share)
    return next(side for side in range(max(near - 2, 1), near + 3) if max(round(side * share), 1) == kept)
