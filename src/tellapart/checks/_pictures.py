"""What one look at the pixels of every image leaves behind: small copies, a digest, and how bright, flat and sharp it is.

Sharpness is the strength of the finest detail beside that of all detail: the standard deviation of the Laplacian over that of
the gray values, both at the picture's own size, over its middle of up to 512 × 512 pixels (Pech-Pacheco et al. 2000, "Diatom
autofocusing in brightfield microscopy", divided by the contrast, so that a dim picture is not taken for a blurry one).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tellapart.checks._pixel_stats import TRACES, read_traces

#: Sides of the small copies, in pixels.
THUMB, GRAY = 32, 64
_MIDDLE = 512
_VALUES = np.arange(256, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class PixelStats:
    """Of N images; a row of zeros where one cannot be decoded.

    Attributes:
        thumbnails: (N, 32, 32, 3) uint8 RGB: the whole image, shrunk with an antialiasing filter.
        gray: (N, 64, 64) uint8: the same, larger, without color.
        sides: (N, 2) int64: height and width in pixels, upright.
        digests: (N, 2) uint64: equal for equal pixels at equal size, whatever the file around them.
        brightness: (N,) float32 in [0, 255]: the mean of the gray values.
        contrast: (N,) float32 in [0, 255]: the 99th less the 1st percentile of the gray values.
        sharpness: (N,) float32 ≥ 0; see the module. NaN where there is no contrast.
        traces: (N, len(TRACES)) float32: color, border, grid and corners; NaN where there is nothing to measure.
    """

    thumbnails: np.ndarray
    gray: np.ndarray
    sides: np.ndarray
    digests: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray
    sharpness: np.ndarray
    traces: np.ndarray

    @classmethod
    def blank(cls, count: int) -> PixelStats:
        """Room for `count` images."""
        brightness, contrast, sharpness = (np.zeros(count, np.float32) for _ in range(3))
        return cls(
            np.zeros((count, THUMB, THUMB, 3), np.uint8), np.zeros((count, GRAY, GRAY), np.uint8),
            np.zeros((count, 2), np.int64), np.zeros((count, 2), np.uint64), brightness, contrast, sharpness,
            np.full((count, len(TRACES)), np.nan, np.float32),
        )  # fmt: skip

    def look(self, row: int, pixels: np.ndarray, traces: bool = True) -> None:
        """Fill one row, the traces only if they are wanted. `pixels`: (H, W, 3) uint8 RGB."""
        image = Image.fromarray(pixels)
        self.thumbnails[row] = np.asarray(_shrunk(image, THUMB))
        self.gray[row] = np.asarray(_shrunk(image, GRAY).convert("L"))
        self.sides[row] = pixels.shape[:2]
        self.digests[row] = np.frombuffer(_digest(pixels), np.uint64)
        self.brightness[row], self.contrast[row], self.sharpness[row] = _light(image)
        if traces:
            self.traces[row] = read_traces(pixels)


def _shrunk(image: Image.Image, side: int) -> Image.Image:
    """The whole picture at `side` × `side`; one of that size already is kept pixel by pixel."""
    return image if image.size == (side, side) else image.resize((side, side), Image.Resampling.BICUBIC)


def _digest(pixels: np.ndarray) -> bytes:
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def _light(image: Image.Image) -> tuple[float, float, float]:
    """Brightness, contrast and sharpness of an RGB picture, over its middle."""
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
