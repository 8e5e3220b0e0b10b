"""What there is to align: every file is read once, no pixel is decoded."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tellapart.data.cache import CorruptImages
from tellapart.data.decode import header, quiet
from tellapart.data.metadata import FORMATS, NAMES, read_metadata
from tellapart.data.reader import ImageReader
from tellapart.errors import ImageError
from tellapart.progress import Progress
from tellapart.types import ImageTable, Problem

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


def survey(table: ImageTable, progress: Progress) -> tuple[FileInventory, CorruptImages | None]:
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
        values = read_metadata(content, path)
        found.metadata[row] = values
        if values[_FORMAT] != FORMATS.index("TIFF"):  # Pillow turns a TIFF itself; it holds no JPEG grid worth keeping
            turned = int(values[_ORIENTATION])
            found.origins[row] = height % GRID * (turned in _FROM_BELOW), width % GRID * (turned in _FROM_RIGHT)
    found.sizes[row], found.digests[row] = (height, width), digest(content)
