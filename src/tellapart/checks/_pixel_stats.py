"""Pixel statistics at the original size of an image: color, contrast, border, 8×8 grid, and thin strokes in the corners.

None of them describes the content. Where one separates the classes, a classifier may rely on it.
"""

from __future__ import annotations

import numpy as np

from tellapart.checks._associations import Feature
from tellapart.features._jpeg_traces import block_steps

_ZONES = (
    "upper left",
    "upper middle",
    "upper right",
    "middle left",
    "middle right",
    "lower left",
    "lower middle",
    "lower right",
)
_PLACES = tuple((row, column) for row in range(3) for column in range(3) if (row, column) != (1, 1))
_GENERAL = (
    "mean red", "mean green", "mean blue", "contrast", "colorfulness", "sharpness", "plain border", "frame width",
    "brightness of the border", "the 8×8 grid",
)  # fmt: skip
TRACES = (*_GENERAL, *(f"thin strokes, {zone}" for zone in _ZONES), *(f"brightness, {zone}" for zone in _ZONES))
STROKES = tuple(f"thin strokes, {zone}" for zone in _ZONES)
#: Statistics of what a program has added; no photograph has them by itself.
DRAWN = ("plain border", "frame width")
#: A trace of compression, which the check `compression` examines; here it only explains other statistics.
GRID = "the 8×8 grid"
_STROKE, _CONTRAST = 5, 72  # width in pixels and contrast of 255 of writing; rare in photographs
_PLAIN = 16  # largest distance of pixels of a plain border from its median, of 255
_FEW = (32, 32)  # pixels that are enough to measure colors


def measure_pixels(pixels: np.ndarray) -> np.ndarray:
    """Statistics of one image: (len(TRACES),) float32; NaN where the image is too small. Thread-safe.

    Args:
        pixels: (H, W, 3) uint8.
    """
    import cv2  # a tenth of the time of NumPy, and it releases the interpreter lock

    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    across, down = _apart(gray[:, 1:], gray[:, :-1]), _apart(gray[1:], gray[:-1])
    few = cv2.resize(pixels, _FEW, interpolation=cv2.INTER_AREA)
    spread = few.max(axis=2).astype(np.float32) - few.min(axis=2)
    steps = across.size + down.size
    general = [
        *cv2.mean(pixels)[:3], cv2.meanStdDev(gray)[1].item(), spread.mean(),
        (across.sum() + down.sum()) / steps if steps else np.nan,
        *_border(gray), block_steps(across, down),
    ]  # fmt: skip
    return np.array([*general, *_zones(_strokes(pixels)), *_zones(gray)], np.float32)


def pixel_features(traces: np.ndarray) -> list[Feature]:
    """The statistics as features. `traces`: (N, len(TRACES)) float32, a row of NaN for an image that cannot be decoded."""
    columns = []
    for i, name in enumerate(TRACES):
        kind, _, zone = name.partition(", ")
        behind = (f"thin strokes, {zone}",) if kind == "brightness" and zone else ()
        behind += ("plain border",) if name in ("frame width", "brightness of the border", *STROKES) else ()
        columns.append(Feature(name, traces[:, i].astype(np.float64), ordered=True, explained_by=behind))
    return columns


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a − b| of uint8 as uint8."""
    return np.maximum(a, b) - np.minimum(a, b)


def _border(gray: np.ndarray) -> tuple[float, float, float]:
    """Share of the outermost pixels near their median; width of the plain frame; brightness of the border minus the image's."""
    ring = np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]]).astype(np.float32)
    plain = float(np.mean(np.abs(ring - np.median(ring)) <= _PLAIN))
    return plain, _frame(gray), float(ring.mean() - gray.mean())


def _frame(gray: np.ndarray) -> float:
    """The widest plain frame on any side, as a share of the rows or columns."""
    widest = 0.0
    for axis in (0, 1):
        varied = np.flatnonzero(gray.max(axis=axis).astype(np.int16) - gray.min(axis=axis) > _PLAIN)
        count = gray.shape[1 - axis]
        widest = max(widest, max(varied[0], count - 1 - varied[-1]) / count if len(varied) else 1.0)
    return float(widest)


def _strokes(pixels: np.ndarray) -> np.ndarray:
    """1 where something thinner than 5 pixels is much lighter or darker, in some channel, than its surroundings: (H, W) uint8.

    White and black top-hat; they respond to writing, and not to the edge of an object.
    """
    import cv2

    kernel = np.ones((_STROKE, _STROKE), np.uint8)
    hats = [cv2.morphologyEx(pixels, kind, kernel) for kind in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT)]
    red, green, blue = cv2.split(np.maximum(*hats))  # a maximum over the last axis takes as long as all the rest
    return (np.maximum(np.maximum(red, green), blue) > _CONTRAST).astype(np.uint8)


def _zones(values: np.ndarray) -> list[float]:
    """Mean of each of the eight outer ninths minus the median of all ninths; NaN for sides below three pixels.

    The median, so that writing in one of them does not affect the others.
    """
    import cv2

    if min(values.shape) < 3:
        return [float("nan")] * len(_PLACES)
    means = cv2.resize(values.astype(np.float32), (3, 3), interpolation=cv2.INTER_AREA)
    return [float(means[place] - np.median(means)) for place in _PLACES]
