"""Which part of each image is kept: one size for all, native pixels, nothing resized."""

from __future__ import annotations

import hashlib
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from tellapart.data.cache import CorruptImages
from tellapart.data.decode import header, quiet
from tellapart.data.metadata import FORMATS, NAMES, metadata_features
from tellapart.data.reader import ImageReader
from tellapart.errors import DataError, ImageError
from tellapart.progress import Progress
from tellapart.types import ImageTable, Problem

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


def plan_crops(table: ImageTable, inventory: FileInventory, options: AlignOptions) -> CropPlan:
    """Choose the size, the crops and the order.

    Args:
        table: N images that can be read.
        surveyed: Of the same rows.
        choices: As given.

    Raises:
        DataError: No common size, or a class that has no image of the size.
    """
    usable = _usable(inventory, options)
    size = options.size or common_size(usable, table.labels, options.keep)
    fits = np.all(usable >= size, axis=1)
    _refuse_lost(table, fits, size)
    rows = np.flatnonzero(fits)
    rows = np.random.default_rng(options.seed).permutation(rows)
    ids, (low, high) = table.ids, options.quality
    corners, qualities = np.zeros((len(rows), 2), np.int64), np.zeros(len(rows), np.int64)
    for number, row in enumerate(rows):
        rng = _generator(options.seed, str(ids[row]))
        spare = inventory.sizes[row] - size
        first = rng.integers(0, GRID, 2) if options.grid == "random" else inventory.origins[row]
        places = np.asarray((spare - first) // GRID + 1, dtype=np.int64)
        corners[number] = first + GRID * rng.integers(0, places)
        if options.encoder == "jpeg":
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


# --- how a copy is to be aligned --------------------------------------------------------------------------------------


Encoder = Literal["png", "jpeg"]
Grid = Literal["keep", "random"]
ENCODERS: tuple[Encoder, ...] = ("png", "jpeg")
GRIDS: tuple[Grid, ...] = ("keep", "random")
IMAGES = "images"  # the folder of a copy that holds them
LEAST_SIDE = 8  # pixels: one block of JPEG; less is no picture
#: Color at half size, as most software writes JPEG; the only one that is written.
SUBSAMPLING = "4:2:0"


@dataclass(frozen=True)
class AlignOptions:
    """What all files have in common afterwards.

    Attributes:
        encoder: "png": not compressed, so that every file has the same number of bytes, and no pixel changes; "jpeg".
        quality: Smallest and largest quality of JPEG, drawn evenly for each image, whatever its class; 1 to 100.
        size: (height, width) of every image; None: the largest rectangle that fits into enough images of every class.
        keep: The share of the images of every class, at least, into which a size that is not given must fit.
        grid: "keep": crops begin on the 16-pixel grid of the source, so the blocks of an old JPEG stay where they were;
            "random": at a position drawn for each image, so that blocks lie anywhere, in all classes alike.
        seed: Draws positions, qualities and names.
    """

    encoder: Encoder = "png"
    quality: tuple[int, int] = (90, 90)
    size: tuple[int, int] | None = None
    keep: float = 0.95
    grid: Grid = "keep"
    seed: int = 0

    def __post_init__(self) -> None:
        low, high = self.quality
        if self.encoder not in ENCODERS or self.grid not in GRIDS:
            found = f"{self.encoder!r} and {self.grid!r}"
            raise DataError(f"expected a format of {', '.join(ENCODERS)} and a grid of {', '.join(GRIDS)}, found {found}")
        if not 1 <= low <= high <= 100:
            raise DataError(f"the quality {low}-{high} is not in 1 to 100, low to high", hint="for example 90, or 75-95")
        if not 0 < self.keep <= 1:
            raise DataError(f"keep is {self.keep:g}, expected a share above 0, at most 1", hint="0.95 is usual")
        if self.size is not None and min(self.size) < LEAST_SIDE:
            wanted = f"{self.size[1]}×{self.size[0]}"
            raise DataError(f"a size of {wanted} was asked for; {LEAST_SIDE}×{LEAST_SIDE} is the least")
        if self.seed < 0:
            raise DataError(f"the seed is {self.seed}, expected 0 or more")

    @property
    def ending(self) -> str:
        """Of the files that are written, without the dot."""
        return "png" if self.encoder == "png" else "jpg"

    @property
    def encoder_text(self) -> str:
        """The encoder, for a sentence."""
        if self.encoder == "png":
            return "PNG without compression"
        low, high = self.quality
        return f"JPEG, quality {low}" + (f" to {high}" if high > low else "")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; qualities only where there are any."""
        content = asdict(self) | {"size": list(self.size) if self.size else None, "quality": list(self.quality)}
        return content if self.encoder == "jpeg" else content | {"quality": None}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> AlignOptions:
        """Read what `to_dict` wrote."""
        size, quality = content["size"], content["quality"] or (90, 90)
        return cls(**content | {"size": tuple(size) if size else None, "quality": tuple(quality)})


# --- what there is to align: every file is read once, no pixel is decoded ---------------------------------------------


#: Two blocks of JPEG: with color at half size, a block of color covers 16 pixels.
GRID = 16
_CHUNK = 512
_FORMAT, _ORIENTATION = NAMES.index("format"), NAMES.index("EXIF orientation")
#: Orientations of EXIF in which the first stored column, or row, is the last one of the upright picture.
_FROM_RIGHT, _FROM_BELOW = {2, 3, 6, 7}, {3, 4, 7, 8}


@dataclass(frozen=True, eq=False)
class FileInventory:
    """Headers of N images.

    Attributes:
        sizes: (N, 2) int64, height and width, upright.
        origins: (N, 2) int64, where the grid of 16×16 pixels begins in the upright picture, top and left: 0, unless EXIF turns
            the picture, so that the grid is counted from its other end.
        digests: (N,) object (str), 32 hex digits of the encoded bytes, or of the pixels where the data are bare arrays.
        metadata: (N, len(NAMES)) float64, what the metadata baseline sees; NaN where there is no file.
    """

    sizes: np.ndarray
    origins: np.ndarray
    digests: np.ndarray
    metadata: np.ndarray

    def take(self, rows: np.ndarray) -> FileInventory:
        """Some rows. `rows`: (M,) int64."""
        return FileInventory(self.sizes[rows], self.origins[rows], self.digests[rows], self.metadata[rows])


def read_inventory(table: ImageTable, progress: Progress) -> tuple[FileInventory, CorruptImages | None]:
    """Read all headers.

    Returns:
        A survey of all rows, zeros where a header cannot be read; and those that cannot, if any.
    """
    count, paths = len(table), table.paths
    found = FileInventory(
        np.zeros((count, 2), np.int64),
        np.zeros((count, 2), np.int64),
        np.full(count, "", object),
        np.full((count, len(NAMES)), np.nan),
    )
    bad: dict[int, Problem] = {}
    with (
        quiet(), ImageReader(table) as reader, ThreadPoolExecutor(os.cpu_count() or 1) as pool,
        progress.task("reading headers", count, "img") as task,
    ):  # fmt: skip

        def one(row: int) -> Problem | None:
            try:
                _look(found, row, reader.get(paths[row]), str(paths[row]))
            except ImageError as error:
                return Problem("corrupt image", error.path, error.reason)
            return None

        for start in range(0, count, _CHUNK):
            rows = range(start, min(start + _CHUNK, count))
            bad |= {row: problem for row, problem in zip(rows, pool.map(one, rows), strict=True) if problem}
            task.advance(len(rows))
    return found, CorruptImages(list(bad), list(bad.values())) if bad else None


def digest(content: bytes | np.ndarray) -> str:
    """32 hex digits of an encoded file, or of bare pixels."""
    raw = content if isinstance(content, bytes) else content.tobytes()
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


def _look(found: FileInventory, row: int, content: bytes | np.ndarray, path: str) -> None:
    height, width, _ = header(content, path)
    if isinstance(content, bytes):
        values = metadata_features(content, path)
        found.metadata[row] = values
        if values[_FORMAT] != FORMATS.index("TIFF"):  # Pillow turns a TIFF itself; it holds no JPEG grid worth keeping
            turned = int(values[_ORIENTATION])
            found.origins[row] = height % GRID * (turned in _FROM_BELOW), width % GRID * (turned in _FROM_RIGHT)
    found.sizes[row], found.digests[row] = (height, width), digest(content)
