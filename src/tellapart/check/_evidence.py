"""What checks know of a set of images. Every file is opened once; what is costly is computed when first asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np

from tellapart.data.archives import ImageReader
from tellapart.data.decode import decode_to, quiet
from tellapart.errors import ImageError
from tellapart.features._metadata import NAMES, read_metadata
from tellapart.progress import SILENT, Progress
from tellapart.recipe import Inputs
from tellapart.types import ImageTable, Problem

THUMB = 32
_CHUNK = 512


class Evidence:
    """A table, and what was read of its images.

    Args:
        table: Scanned. Labels may be missing (−1); `split` may be there or not, and may be "" in places.
        seed: Of whatever is drawn.
        progress: Where long work is reported.
    """

    def __init__(self, table: ImageTable, seed: int = 0, progress: Progress = SILENT) -> None:
        self.table, self.seed, self.progress = table, seed, progress
        self.unreadable: dict[int, Problem] = {}

    @property
    def splits(self) -> np.ndarray | None:
        """(N,) object: "train", "valid", "test" or "", as given; None where the data come without a split."""
        frame = self.table.frame
        return frame["split"].to_numpy(dtype=object) if "split" in frame else None

    @cached_property
    def metadata(self) -> np.ndarray:
        """(N, len(NAMES)) float64: headers of the files, no pixel decoded; a row of NaN where there is none."""
        found = np.full((len(self.table), len(NAMES)), np.nan)
        if self.table.has_files:
            self._read("reading headers", self._header, found)
        return found

    @cached_property
    def thumbnails(self) -> np.ndarray:
        """(N, 32, 32, 3) uint8: every image, whole, shrunk with an antialiasing filter; zeros where it cannot be decoded.

        Fills `unreadable`.
        """
        found = np.zeros((len(self.table), THUMB, THUMB, 3), np.uint8)
        self._read("decoding", self._thumbnail, found)
        return found

    def _header(self, row: int, content: bytes | np.ndarray) -> np.ndarray:
        return read_metadata(bytes(content), str(self.table.paths[row]))

    def _thumbnail(self, row: int, content: bytes | np.ndarray) -> np.ndarray:
        return decode_to(content, Inputs(size=THUMB, mode="rgb"), str(self.table.paths[row]))

    def _read(self, title: str, look: Callable[[int, bytes | np.ndarray], np.ndarray], found: np.ndarray) -> None:
        """Fill `found` row by row with what `look` makes of each file; rows that fail stay as they are and are noted."""
        paths, count = self.table.paths, len(self.table)
        with (
            quiet(),
            ImageReader(self.table) as reader,
            ThreadPoolExecutor(os.cpu_count() or 1) as pool,
            self.progress.task(title, count, "img") as task,
        ):

            def one(row: int) -> Problem | None:
                try:
                    found[row] = look(row, reader.get(paths[row]))
                except ImageError as error:
                    return Problem("corrupt image", error.path, error.reason)
                return None

            for start in range(0, count, _CHUNK):
                rows = range(start, min(start + _CHUNK, count))
                self.unreadable |= {row: p for row, p in zip(rows, pool.map(one, rows), strict=True) if p}
                task.advance(len(rows))
