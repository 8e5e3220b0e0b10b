"""Which part of each image is kept: one size for all, native pixels, nothing resized."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from tellapart.alignment.choices import IMAGES, LEAST_SIDE, AlignOptions
from tellapart.alignment.survey import GRID, FileInventory
from tellapart.errors import DataError
from tellapart.types import ImageTable

_HEIGHTS = 256  # candidates that are tried; more would not change the rectangle by much


@dataclass(frozen=True, eq=False)
class CropPlan:
    """What is written, in the order of its numbers.

    Attributes:
        size: (height, width) of every image.
        rows: (M,) int64, positions in the table, in an order that was drawn: neither names nor times tell the class.
        corners: (M, 2) int64, top and left of each crop in the upright picture.
        qualities: (M,) int64, of JPEG; 0 without.
        small: (K,) int64, positions in the table of images that are too small.
    """

    size: tuple[int, int]
    rows: np.ndarray
    corners: np.ndarray
    qualities: np.ndarray
    small: np.ndarray

    def name(self, number: int, ending: str) -> str:
        """Of a file, below the folder; all names are of one length."""
        return f"{IMAGES}/{number:0{max(6, len(str(len(self.rows) - 1)))}}.{ending}"

    def grid_in(self, number: int, origin: np.ndarray) -> tuple[int, int]:
        """Where the 8×8 blocks of a source begin in its crop, top and left. `origin`: (2,) int64, in the source."""
        top, left = ((origin - self.corners[number]) % 8).tolist()
        return top, left


def plan(table: ImageTable, surveyed: FileInventory, choices: AlignOptions) -> CropPlan:
    """Choose the size, the crops and the order.

    Args:
        table: N images that can be read.
        surveyed: Of the same rows.
        choices: As given.

    Raises:
        DataError: No common size, or a class that has no image of the size.
    """
    usable = _usable(surveyed, choices)
    size = choices.size or common_size(usable, table.labels, choices.keep)
    fits = np.all(usable >= size, axis=1)
    _refuse_lost(table, fits, size)
    rows = np.flatnonzero(fits)
    rows = np.random.default_rng(choices.seed).permutation(rows)
    ids, (low, high) = table.ids, choices.quality
    corners, qualities = np.zeros((len(rows), 2), np.int64), np.zeros(len(rows), np.int64)
    for number, row in enumerate(rows):
        rng = _generator(choices.seed, str(ids[row]))
        spare = surveyed.sizes[row] - size
        first = rng.integers(0, GRID, 2) if choices.grid == "random" else surveyed.origins[row]
        places = np.asarray((spare - first) // GRID + 1, dtype=np.int64)
        corners[number] = first + GRID * rng.integers(0, places)
        if choices.encoder == "jpeg":
            qualities[number] = rng.integers(low, high + 1)
    return CropPlan(size, rows, corners, qualities, np.flatnonzero(~fits))


def common_size(usable: np.ndarray, labels: np.ndarray, keep: float) -> tuple[int, int]:
    """The rectangle of the largest area that fits into a share of at least `keep` of the images of every class.

    Args:
        usable: (N, 2) int64, height and width.
        labels: (N,) int64; images without a label count as a class.
        keep: In (0, 1].

    Raises:
        DataError: It would be too small to be of use.

    >>> common_size(np.array([[60, 80], [80, 60], [100, 100], [100, 100]]), np.array([0, 0, 1, 1]), 1.0)
    (60, 60)
    >>> common_size(np.array([[60, 80], [80, 60], [100, 100], [100, 100]]), np.array([0, 0, 1, 1]), 0.5)
    (60, 80)
    """
    heights = np.unique(usable[:, 0])
    if len(heights) > _HEIGHTS:
        heights = np.unique(np.quantile(heights, np.linspace(0, 1, _HEIGHTS), method="lower"))
    classes = [usable[labels == label] for label in np.unique(labels)]
    needed = [max(1, math.ceil(keep * len(own) - 1e-9)) for own in classes]
    best = (0, 0)
    for height in heights.tolist():
        widths = [np.sort(own[own[:, 0] >= height, 1])[::-1] for own in classes]
        if all(len(of) >= count for of, count in zip(widths, needed, strict=True)):
            width = min(int(of[count - 1]) for of, count in zip(widths, needed, strict=True))
            best = max(best, (height, width), key=lambda size: (size[0] * size[1], min(size)))
    if min(best) < LEAST_SIDE:
        said = f"no size of at least {LEAST_SIDE}×{LEAST_SIDE} fits into {keep:.0%} of the images of every class"
        raise DataError(said, hint="leave out the small ones, or name a size with --size: smaller images are left out, counted")
    return best


def _usable(surveyed: FileInventory, choices: AlignOptions) -> np.ndarray:
    """(N, 2) int64: the largest crop of each image that may begin where its grid, or the draw, says."""
    if choices.grid == "random":
        return surveyed.sizes - (GRID - 1)
    return surveyed.sizes - surveyed.origins


def _refuse_lost(table: ImageTable, fits: np.ndarray, size: tuple[int, int]) -> None:
    """A class must not vanish. `fits`: (N,) bool."""
    for label in np.unique(table.labels):
        if not fits[table.labels == label].any():
            name = f"of the class {table.classes[label]!r}" if label >= 0 else "without a label"
            said = f"no image {name} is large enough for {size[1]}×{size[0]} pixels"
            raise DataError(said, hint="give a smaller --size, or leave it out")


def _generator(seed: int, name: str) -> np.random.Generator:
    """One for each image: what is drawn for it depends on nothing else."""
    key = int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
    return np.random.default_rng([seed, key])
