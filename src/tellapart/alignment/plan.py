"""The plan of an aligned copy: its options, the headers of the source files, the common size, and the crop of each image.

All crops have one size and contain original pixels; nothing is resized. Every file is read once, and no pixel is decoded.
"""

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

_HEIGHTS = 256  # candidate heights; more would not change the rectangle by much
Encoder = Literal["png", "jpeg"]
Grid = Literal["keep", "random"]
ENCODERS: tuple[Encoder, ...] = ("png", "jpeg")
GRIDS: tuple[Grid, ...] = ("keep", "random")
IMAGES = "images"  # the subfolder of images in a copy
LEAST_SIDE = 8  # pixels: one JPEG block
#: Chroma subsampling of JPEG, the one that most software uses.
SUBSAMPLING = "4:2:0"
#: Two JPEG blocks: with chroma at half size, a chroma block covers 16 pixels.
GRID = 16
_CHUNK = 512
_FORMAT, _ORIENTATION = NAMES.index("format"), NAMES.index("EXIF orientation")
#: EXIF orientations in which the first stored column, or row, is the last one of the upright image.
_FROM_RIGHT, _FROM_BELOW = {2, 3, 6, 7}, {3, 4, 7, 8}


@dataclass(frozen=True)
class AlignOptions:
    """Options of an aligned copy.

    Attributes:
        encoder: "png": without compression, so that every file has the same number of bytes, and no pixel changes; or "jpeg".
        quality: Lowest and highest JPEG quality, drawn uniformly for each image, whatever its class; 1 to 100.
        size: (height, width) of every image; None: the largest rectangle that fits into enough images of every class.
        keep: If `size` is None: the lowest share of the images of every class into which the size must fit.
        grid: "keep": crops begin on the 16-pixel grid of the source, so the blocks of an earlier JPEG keep their position;
            "random": crops begin at a random position, so that blocks lie anywhere, in all classes equally.
        seed: Random seed for positions, qualities and names.
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
            raise DataError(
                f"expected a quality from 1 to 100, low to high, found {low}-{high}", hint="for example 90 or 75-95"
            )
        if not 0 < self.keep <= 1:
            raise DataError(f"expected keep above 0 and at most 1, found {self.keep:g}", hint="the default is 0.95")
        if self.size is not None and min(self.size) < LEAST_SIDE:
            size = f"{self.size[1]}×{self.size[0]}"
            raise DataError(f"expected a size of at least {LEAST_SIDE}×{LEAST_SIDE}, found {size}")
        if self.seed < 0:
            raise DataError(f"expected a seed of 0 or more, found {self.seed}")

    @property
    def ending(self) -> str:
        """Extension of the written files, without the dot."""
        return "png" if self.encoder == "png" else "jpg"

    @property
    def encoder_text(self) -> str:
        """The encoder in a sentence."""
        if self.encoder == "png":
            return "PNG without compression"
        low, high = self.quality
        return f"JPEG, quality {low}" + (f" to {high}" if high > low else "")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; the quality only for JPEG."""
        content = asdict(self) | {"size": list(self.size) if self.size else None, "quality": list(self.quality)}
        return content if self.encoder == "jpeg" else content | {"quality": None}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> AlignOptions:
        """Read what `to_dict` wrote."""
        size, quality = content["size"], content["quality"] or (90, 90)
        return cls(**content | {"size": tuple(size) if size else None, "quality": tuple(quality)})


@dataclass(frozen=True, eq=False)
class CropPlan:
    """The crops to write, in the order of their numbers.

    Attributes:
        size: (height, width) of every image.
        rows: (M,) int64, positions in the table in random order, so that neither names nor times reveal the class.
        corners: (M, 2) int64, top and left of each crop in the upright image.
        qualities: (M,) int64, JPEG quality; 0 for PNG.
        small: (K,) int64, positions in the table of images that are too small.
    """

    size: tuple[int, int]
    rows: np.ndarray
    corners: np.ndarray
    qualities: np.ndarray
    small: np.ndarray

    def name(self, number: int, ending: str) -> str:
        """Path of a file below the folder; all names have the same length."""
        return f"{IMAGES}/{number:0{max(6, len(str(len(self.rows) - 1)))}}.{ending}"

    def grid_in(self, number: int, origin: np.ndarray) -> tuple[int, int]:
        """Offset of the 8×8 blocks of a source in its crop, top and left. `origin`: (2,) int64, offset in the source."""
        top, left = ((origin - self.corners[number]) % 8).tolist()
        return top, left


def plan_crops(table: ImageTable, inventory: FileInventory, options: AlignOptions) -> CropPlan:
    """Choose the size, the crops and the order.

    Args:
        table: N readable images.
        inventory: Headers of the same rows.
        options: Options of the copy.

    Raises:
        DataError: There is no common size, or a class has no image of the size.
    """
    usable = _usable(inventory, options)
    size = options.size or common_size(usable, table.labels, options.keep)
    fits = np.all(usable >= size, axis=1)
    _check_classes(table, fits, size)
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


@dataclass(frozen=True, eq=False)
class FileInventory:
    """Headers of N images.

    Attributes:
        sizes: (N, 2) int64, height and width, upright.
        origins: (N, 2) int64, offset of the grid of 16×16 pixels in the upright image, top and left: 0, unless EXIF rotates the
            image, so that the grid is counted from its other end.
        digests: (N,) object (str), 32 hex digits of the encoded bytes, or of the pixels if the data are pixel arrays.
        metadata: (N, len(NAMES)) float64, the features of the metadata baseline; NaN without a file.
    """

    sizes: np.ndarray
    origins: np.ndarray
    digests: np.ndarray
    metadata: np.ndarray

    def take(self, rows: np.ndarray) -> FileInventory:
        """Select rows. `rows`: (M,) int64."""
        return FileInventory(self.sizes[rows], self.origins[rows], self.digests[rows], self.metadata[rows])


def read_inventory(table: ImageTable, progress: Progress) -> tuple[FileInventory, CorruptImages | None]:
    """Read all headers in parallel.

    Returns:
        An inventory of all rows, zeros where a header cannot be read; and the unreadable rows, if any.
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
                _read_header(found, row, reader.get(paths[row]), str(paths[row]))
            except ImageError as error:
                return Problem("corrupt image", error.path, error.reason)
            return None

        for start in range(0, count, _CHUNK):
            rows = range(start, min(start + _CHUNK, count))
            bad |= {row: problem for row, problem in zip(rows, pool.map(one, rows), strict=True) if problem}
            task.advance(len(rows))
    return found, CorruptImages(list(bad), list(bad.values()), hint=CorruptImages.SKIP) if bad else None


def common_size(usable: np.ndarray, labels: np.ndarray, keep: float) -> tuple[int, int]:
    """The rectangle of the largest area that fits into at least a share `keep` of the images of every class.

    Args:
        usable: (N, 2) int64, height and width.
        labels: (N,) int64; images without a label count as a class.
        keep: In (0, 1].

    Raises:
        DataError: The rectangle is smaller than `LEAST_SIDE`.

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
        message = f"no size of at least {LEAST_SIDE}×{LEAST_SIDE} fits into {keep:.0%} of the images of every class"
        hint = "exclude the small images, or pass --size: smaller images are then excluded and reported"
        raise DataError(message, hint=hint)
    return best


def _usable(inventory: FileInventory, options: AlignOptions) -> np.ndarray:
    """The largest possible crop of each image, given its grid or the random offset: (N, 2) int64."""
    if options.grid == "random":
        return inventory.sizes - (GRID - 1)
    return inventory.sizes - inventory.origins


def _check_classes(table: ImageTable, fits: np.ndarray, size: tuple[int, int]) -> None:
    """Raise an error if no image of a class fits. `fits`: (N,) bool."""
    for label in np.unique(table.labels):
        if not fits[table.labels == label].any():
            name = f"of the class {table.classes[label]!r}" if label >= 0 else "without a label"
            message = f"no image {name} is large enough for {size[1]}×{size[0]} pixels"
            raise DataError(message, hint="pass a smaller --size, or omit it")


def _generator(seed: int, name: str) -> np.random.Generator:
    """A random generator that depends on the seed and on the id of the image only."""
    key = int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
    return np.random.default_rng([seed, key])


def digest(content: bytes | np.ndarray) -> str:
    """Digest of an encoded file, or of a pixel array: 32 hex digits."""
    raw = content if isinstance(content, bytes) else content.tobytes()
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


def _read_header(found: FileInventory, row: int, content: bytes | np.ndarray, path: str) -> None:
    height, width, _ = header(content, path)
    if isinstance(content, bytes):
        values = metadata_features(content, path)
        found.metadata[row] = values
        if values[_FORMAT] != FORMATS.index("TIFF"):  # Pillow rotates a TIFF itself; it has no JPEG grid to keep
            turned = int(values[_ORIENTATION])
            found.origins[row] = height % GRID * (turned in _FROM_BELOW), width % GRID * (turned in _FROM_RIGHT)
    found.sizes[row], found.digests[row] = (height, width), digest(content)
