"""The input of health checks: a table with the headers and the pixel statistics of its images.

Every file is opened once for its header and once for its pixels; both are read when first needed. *Sharpness* is the standard
deviation of the Laplacian over that of the gray values.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from tellapart.checks._pixel_stats import TRACES, measure_pixels
from tellapart.data.decode import decode, quiet
from tellapart.data.metadata import NAMES, code, read_header
from tellapart.data.reader import ImageReader
from tellapart.data.split import DuplicateGroups, find_duplicates
from tellapart.data.whole_files import trailing_zeros
from tellapart.errors import ImageError
from tellapart.features import _jpeg_traces
from tellapart.progress import SILENT, Progress
from tellapart.types import ImageTable, Problem

_CHUNK = 512
#: Sides of the downsampled images, in pixels.
THUMB, GRAY = 32, 64
_MIDDLE = 512
_VALUES = np.arange(256, dtype=np.float64)


class DatasetView:
    """A table and lazily read properties of its images.

    Args:
        table: A scanned table. Labels may be missing (−1); `split` may be missing as a column, or "" in single rows.
        seed: Random seed of the checks.
        progress: Progress display.
        traces: Whether to measure `pixel_stats.traces`; without it reading takes half the time.
        runs: Folder of the runs that options name.

    Attributes:
        unreadable: Row → why its image cannot be decoded; filled as pixels are read.
        pairs: Pairs of duplicates and near-duplicates, each (P, 2) int64 positions, that the checks run so far have found.
    """

    def __init__(
        self, table: ImageTable, seed: int = 0, progress: Progress = SILENT, traces: bool = True, runs: Path = Path("runs")
    ) -> None:
        self.table, self.seed, self.progress, self.traces, self.runs = table, seed, progress, traces, runs
        self.unreadable: dict[int, Problem] = {}
        self.pairs: list[np.ndarray] = []

    @property
    def splits(self) -> np.ndarray | None:
        """(N,) object: "train", "valid", "test" or "", as given; None if the data have no split."""
        frame = self.table.frame
        return frame["split"].to_numpy(dtype=object) if "split" in frame else None

    @property
    def metadata(self) -> np.ndarray:
        """Headers of the files, read without decoding pixels: (N, len(NAMES)) float64; a row of NaN without a header."""
        return self._headers[0]

    @property
    def texts(self) -> dict[float, str]:
        """Code → text, for the codes in `metadata`."""
        return self._headers[1]

    @property
    def zero_tails(self) -> np.ndarray:
        """Share of each file that its trailing zero bytes take: (N,) float64; 0 without a header."""
        return self._headers[2]

    @cached_property
    def _headers(self) -> tuple[np.ndarray, dict[float, str], np.ndarray]:
        found, zeros = np.full((len(self.table), len(NAMES)), np.nan), np.zeros(len(self.table))
        texts: dict[float, str] = {}

        def look(row: int, path: str, content: bytes | np.ndarray) -> None:
            content = bytes(content)
            header = read_header(content, path)
            found[row], zeros[row] = header.values, trailing_zeros(content) / len(content)
            texts.update({code(text): text for text in header.texts if text})

        if self.table.has_files:
            self._read("reading headers", look)
        return found, texts, zeros

    @property
    def thumbnails(self) -> np.ndarray:
        """Every whole image, downsampled with antialiasing: (N, 32, 32, 3) uint8; zeros for an image that cannot be decoded.

        Fills `unreadable`.
        """
        return self.pixel_stats.thumbnails

    @cached_property
    def pixel_stats(self) -> PixelStats:
        """Statistics of every image, decoded once at its original size. Fills `unreadable`."""
        found = PixelStats.empty(len(self.table))
        self._read("decoding", lambda row, path, content: found.measure(row, decode(content, path=path), self.traces))
        return found

    @cached_property
    def duplicates(self) -> DuplicateGroups:
        """Clusters of files that are equal byte for byte; only files of equal size are read."""
        return find_duplicates(self.table, self.progress)

    @property
    def readable(self) -> np.ndarray:
        """Whether each image can be decoded: (N,) bool."""
        found = np.ones(len(self.table), bool)
        if self.pixel_stats:
            found[list(self.unreadable)] = False
        return found

    def _read(self, title: str, look: Callable[[int, str, bytes | np.ndarray], None]) -> None:
        """Call `look` with (row, locator, content) of each file; rows in which it fails go to `unreadable`."""
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


@dataclass(frozen=True, eq=False)
class PixelStats:
    """Statistics of the pixels of N images; a row of zeros for an image that cannot be decoded.

    Attributes:
        thumbnails: (N, 32, 32, 3) uint8 RGB: the whole image, downsampled with antialiasing.
        gray: (N, 64, 64) uint8: the same, larger, in gray.
        sides: (N, 2) int64: height and width in pixels, upright.
        digests: (N, 2) uint64: equal for equal pixels at equal size, whatever the file format.
        brightness: (N,) float32 in [0, 255]: the mean of the gray values.
        contrast: (N,) float32 in [0, 255]: the 99th minus the 1st percentile of the gray values.
        sharpness: (N,) float32 ≥ 0, see the module; NaN without contrast.
        traces: (N, len(TRACES)) float32: color, border, grid and corners; NaN where not defined.
        compression: (N, 3) float64: traces of an earlier JPEG compression; NaN where not defined.
    """

    thumbnails: np.ndarray
    gray: np.ndarray
    sides: np.ndarray
    digests: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray
    sharpness: np.ndarray
    traces: np.ndarray
    compression: np.ndarray

    @classmethod
    def empty(cls, count: int) -> PixelStats:
        """Allocate room for `count` images."""
        brightness, contrast, sharpness = (np.zeros(count, np.float32) for _ in range(3))
        return cls(
            np.zeros((count, THUMB, THUMB, 3), np.uint8), np.zeros((count, GRAY, GRAY), np.uint8),
            np.zeros((count, 2), np.int64), np.zeros((count, 2), np.uint64), brightness, contrast, sharpness,
            np.full((count, len(TRACES)), np.nan, np.float32), np.full((count, _jpeg_traces.COUNT), np.nan),
        )  # fmt: skip

    def measure(self, row: int, pixels: np.ndarray, traces: bool = True) -> None:
        """Measure one image and fill its row. `pixels`: (H, W, 3) uint8 RGB; `traces`: whether to measure the traces."""
        image = Image.fromarray(pixels)
        self.thumbnails[row] = np.asarray(_shrunk(image, THUMB))
        self.gray[row] = np.asarray(_shrunk(image, GRAY).convert("L"))
        self.sides[row] = pixels.shape[:2]
        self.digests[row] = np.frombuffer(_digest(pixels), np.uint64)
        self.brightness[row], self.contrast[row], self.sharpness[row] = _light(image)
        if traces:
            self.traces[row] = measure_pixels(pixels)
            self.compression[row] = _jpeg_traces.traces(pixels)[: _jpeg_traces.COUNT]


def _shrunk(image: Image.Image, side: int) -> Image.Image:
    """The whole image resized to `side` × `side`; an image of that size is returned unchanged."""
    return image if image.size == (side, side) else image.resize((side, side), Image.Resampling.BICUBIC)


def _digest(pixels: np.ndarray) -> bytes:
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def _light(image: Image.Image) -> tuple[float, float, float]:
    """Brightness, contrast and sharpness of an RGB image, over its center."""
    left, top = (max(side - _MIDDLE, 0) // 2 for side in image.size)
    middle = np.asarray(image.convert("L"))[top : top + _MIDDLE, left : left + _MIDDLE]
    counts = np.bincount(middle.ravel(), minlength=256)
    below = np.cumsum(counts) / counts.sum()
    low, high = np.searchsorted(below, (0.01, 0.99))
    mean = float(counts @ _VALUES) / middle.size
    spread = math.sqrt(max(float(counts @ _VALUES**2) / middle.size - mean**2, 0))
    if min(middle.shape) < 3 or spread < 1:
        return mean, float(high - low), float("nan")
    gray = middle.astype(np.int16)
    sides = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:]
    return mean, float(high - low), float((sides - 4 * gray[1:-1, 1:-1]).std()) / spread
