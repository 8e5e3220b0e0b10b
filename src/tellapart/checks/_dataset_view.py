"""What checks know of a set of images. Every file is opened once; what is costly is computed when first asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np

from tellapart.checks._pictures import PixelStats
from tellapart.data.decode import decode, quiet
from tellapart.data.metadata import NAMES, code, read_header
from tellapart.data.reader import ImageReader
from tellapart.data.split import DuplicateGroups, find_duplicates
from tellapart.errors import ImageError
from tellapart.progress import SILENT, Progress
from tellapart.types import ImageTable, Problem

_CHUNK = 512


class DatasetView:
    """A table, and what was read of its images.

    Args:
        table: Scanned. Labels may be missing (−1); `split` may be there or not, and may be "" in places.
        seed: Of whatever is drawn.
        progress: Where long work is reported.
        traces: Whether `pictures.traces` is measured; without it reading takes half the time.
        runs: Folder of the runs that options name.
    """

    def __init__(
        self, table: ImageTable, seed: int = 0, progress: Progress = SILENT, traces: bool = True, runs: Path = Path("runs")
    ) -> None:
        self.table, self.seed, self.progress, self.traces, self.runs = table, seed, progress, traces, runs
        self.unreadable: dict[int, Problem] = {}

    @property
    def splits(self) -> np.ndarray | None:
        """(N,) object: "train", "valid", "test" or "", as given; None where the data come without a split."""
        frame = self.table.frame
        return frame["split"].to_numpy(dtype=object) if "split" in frame else None

    @property
    def metadata(self) -> np.ndarray:
        """(N, len(NAMES)) float64: headers of the files, no pixel decoded; a row of NaN where there is none."""
        return self._headers[0]

    @property
    def texts(self) -> dict[float, str]:
        """What the codes of texts in `metadata` stand for."""
        return self._headers[1]

    @cached_property
    def _headers(self) -> tuple[np.ndarray, dict[float, str]]:
        found = np.full((len(self.table), len(NAMES)), np.nan)
        texts: dict[float, str] = {}

        def look(row: int, path: str, content: bytes | np.ndarray) -> None:
            header = read_header(bytes(content), path)
            found[row] = header.values
            texts.update({code(text): text for text in header.texts if text})

        if self.table.has_files:
            self._read("reading headers", look)
        return found, texts

    @property
    def thumbnails(self) -> np.ndarray:
        """(N, 32, 32, 3) uint8: every image, whole, shrunk with an antialiasing filter; zeros where it cannot be decoded.

        Fills `unreadable`.
        """
        return self.pictures.thumbnails

    @cached_property
    def pictures(self) -> PixelStats:
        """Every image decoded once, at its own size, and what is kept of it. Fills `unreadable`."""
        found = PixelStats.blank(len(self.table))
        self._read("decoding", lambda row, path, content: found.look(row, decode(content, path=path), self.traces))
        return found

    @cached_property
    def twins(self) -> DuplicateGroups:
        """Which files are equal byte for byte; only those of equal size are read."""
        return find_duplicates(self.table, self.progress)

    @property
    def readable(self) -> np.ndarray:
        """(N,) bool: the images that can be decoded."""
        found = np.ones(len(self.table), bool)
        if self.pictures:
            found[list(self.unreadable)] = False
        return found

    def _read(self, title: str, look: Callable[[int, str, bytes | np.ndarray], None]) -> None:
        """Let `look` see (row, locator, content) of each file; rows in which it fails are noted."""
        paths, count = self.table.paths, len(self.table)
        with (
            quiet(),
            ImageReader(self.table) as reader,
            ThreadPoolExecutor(os.cpu_count() or 1) as pool,
            self.progress.task(title, count, "img") as task,
        ):

            def one(row: int) -> Problem | None:
                try:
                    look(row, str(paths[row]), reader.get(paths[row]))
                except ImageError as error:
                    return Problem("corrupt image", error.path, error.reason)
                return None

            for start in range(0, count, _CHUNK):
                rows = range(start, min(start + _CHUNK, count))
                self.unreadable |= {row: p for row, p in zip(rows, pool.map(one, rows), strict=True) if p}
                task.advance(len(rows))
