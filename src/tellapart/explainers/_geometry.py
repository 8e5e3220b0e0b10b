"""From what a classifier was shown back to the picture: the way of `data.decode`, walked backwards."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageOps

from tellapart.data.decode import find_region, quiet
from tellapart.data.regions import Cut, crop_box
from tellapart.errors import ImageError
from tellapart.inference.nearest import shrunk
from tellapart.recipe.schema import Inputs

_SHRUNK_TO = 2_048 * 2_048  # pixels: ten times what a net is shown
_MOST = 25_000_000  # pixels, of what cannot be shrunk: RISE holds fifty bytes for each


def map_to_image(values: np.ndarray, inputs: Inputs, height: int, width: int) -> np.ndarray:
    """Lay a map over the picture that it belongs to.

    Args:
        values: (h, w) float32 over what the classifier was shown.
        inputs: How the picture was shown; resolved.
        height: Of the picture.
        width: Of the picture.

    Returns:
        (height, width) float32; 0 where the classifier saw nothing.
    """
    kept = (max(round(height * inputs.keep), 1), max(round(width * inputs.keep), 1))
    inner = _unfit(values.astype(np.float32), inputs.resize, *kept)
    found = np.zeros((height, width), np.float32)
    top, left = (height - kept[0]) // 2, (width - kept[1]) // 2
    found[top : top + kept[0], left : left + kept[1]] = inner
    return found


def crop_read(content: bytes | np.ndarray, size: tuple[int, int], inputs: Inputs, path: str) -> Cut | None:
    """The part of a picture that its classifier reads; None: all of it, or its center (`keep`), which maps know to lay back.

    Args:
        content: Encoded, or (H, W, 3) uint8.
        size: (height, width), upright.
        inputs: How the classifier is shown it.
        path: Its name, for errors.

    Raises:
        ImageError: Nothing is there, and the recipe makes that an error.
    """
    if inputs.region is None:
        return None
    with quiet():
        return crop_box((size[1], size[0]), inputs, find_region(content, inputs, path), path)


def resize_for_explaining(pixels: np.ndarray, inputs: Inputs, path: str) -> np.ndarray:
    """A picture as small as it must be.

    Args:
        pixels: (H, W, 3) uint8.
        inputs: How the classifier is shown it.
        path: Its name, for errors.

    Returns:
        (h, w, 3) uint8; the same where it is small enough.

    Raises:
        ImageError: It is too large, and must not be shrunk.
    """
    height, width = pixels.shape[:2]
    if inputs.resize in ("center", "none"):
        if height * width > _MOST:
            size = f"{width}×{height} is {height * width / 1e6:,.0f} megapixels"
            hint = f"the run is shown own pixels (resize: {inputs.resize}), so it cannot be shrunk: cut out what matters"
            raise ImageError(path, f"{size}, over the {_MOST / 1e6:,.0f} that can be explained", hint=hint)
        return pixels
    return shrunk(pixels, math.sqrt(min(1.0, _SHRUNK_TO / (height * width))))


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """The mask of a picture that was shrunk: (H, W) bool → (height, width) bool."""
    if mask.shape == (height, width):
        return mask
    return np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize((width, height), Image.Resampling.BOX)) > 127


def resample(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """(h, w) float → (height, width) float32, linear between the centers."""
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)


def _unfit(values: np.ndarray, resize: str, height: int, width: int) -> np.ndarray:
    """(h, w) over the shown part → (height, width) over what was fitted to it."""
    h, w = values.shape
    if (h, w) == (height, width):
        return values
    if resize == "pad":
        inside = ImageOps.contain(Image.new("L", (width, height)), (w, h))
        left, top = round((w - inside.width) / 2), round((h - inside.height) / 2)
        return resample(values[top : top + inside.height, left : left + inside.width], height, width)
    if resize == "crop":
        rows, columns = _covered(height, width, h, w)
        found = np.zeros((height, width), np.float32)
        found[rows, columns] = resample(values, rows.stop - rows.start, columns.stop - columns.start)
        return found
    if resize == "center":
        return _uncenter(_uncenter(values, 0, height), 1, width)
    return resample(values, height, width)


def _covered(height: int, width: int, h: int, w: int) -> tuple[slice, slice]:
    """The middle of a picture that has the shape of h × w."""
    if width * h >= height * w:
        part = max(round(height * w / h), 1)
        return slice(0, height), slice((width - part) // 2, (width - part) // 2 + part)
    part = max(round(width * h / w), 1)
    return slice((height - part) // 2, (height - part) // 2 + part), slice(0, width)


def _uncenter(values: np.ndarray, axis: int, target: int) -> np.ndarray:
    """Undo a cut (with zeros) or a reflection (by cutting it off) along one axis."""
    have = values.shape[axis]
    if have >= target:
        start = (have - target) // 2
        return values.take(range(start, start + target), axis=axis)
    before = (target - have) // 2
    margin = [(0, 0), (0, 0)]
    margin[axis] = (before, target - have - before)
    return np.pad(values, margin)
