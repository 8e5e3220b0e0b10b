"""Geometry between an image and the input of a classifier: invert the steps of `data.decode`, crop, and limit the size."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageOps

from tellapart.data.decode import find_region, quiet
from tellapart.data.regions import Cut, crop_box
from tellapart.errors import ImageError
from tellapart.inference.nearest import shrunk
from tellapart.recipe.schema import Inputs

_MAX_EXPLAINED = 2_048 * 2_048  # pixels; larger images are downsampled: ten times the input of a net
_MAX_ORIGINAL = 25_000_000  # pixels, if an image cannot be downsampled: RISE needs fifty bytes for each


def map_to_image(values: np.ndarray, inputs: Inputs, height: int, width: int) -> np.ndarray:
    """Map values over the input of a classifier back to the image.

    Args:
        values: (h, w) float32 over the input of the classifier.
        inputs: Resolved `inputs` section.
        height: Height of the image.
        width: Width of the image.

    Returns:
        (height, width) float32; 0 outside the input.
    """
    kept = (max(round(height * inputs.keep), 1), max(round(width * inputs.keep), 1))
    inner = _unfit(values.astype(np.float32), inputs.resize, *kept)
    found = np.zeros((height, width), np.float32)
    top, left = (height - kept[0]) // 2, (width - kept[1]) // 2
    found[top : top + kept[0], left : left + kept[1]] = inner
    return found


def crop_read(content: bytes | np.ndarray, size: tuple[int, int], inputs: Inputs, path: str) -> Cut | None:
    """The region that the classifier reads; None: the whole image, or its center (`keep`), which `map_to_image` handles.

    Args:
        content: An encoded file, or (H, W, 3) uint8.
        size: (height, width), upright.
        inputs: Inputs of the classifier.
        path: Name of the image in errors.

    Raises:
        ImageError: No region is found, and the recipe makes that an error.
    """
    if inputs.region is None:
        return None
    with quiet():
        return crop_box((size[1], size[0]), inputs, find_region(content, inputs, path), path)


def resize_for_explaining(pixels: np.ndarray, inputs: Inputs, path: str) -> np.ndarray:
    """Downsample an image that is too large to explain.

    Args:
        pixels: (H, W, 3) uint8.
        inputs: Inputs of the classifier.
        path: Name of the image in errors.

    Returns:
        (h, w, 3) uint8; unchanged if it is small enough.

    Raises:
        ImageError: The image is too large, and cannot be downsampled.
    """
    height, width = pixels.shape[:2]
    if inputs.resize in ("center", "none"):
        if height * width > _MAX_ORIGINAL:
            size = f"{width}×{height} is {height * width / 1e6:,.0f} megapixels"
            hint = f"the run reads original pixels (resize: {inputs.resize}), so it cannot be downsampled: crop it first"
            raise ImageError(path, f"{size}, above the limit of {_MAX_ORIGINAL / 1e6:,.0f}", hint=hint)
        return pixels
    return shrunk(pixels, math.sqrt(min(1.0, _MAX_EXPLAINED / (height * width))))


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize the mask of a downsampled image: (H, W) bool → (height, width) bool."""
    if mask.shape == (height, width):
        return mask
    return np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize((width, height), Image.Resampling.BOX)) > 127


def resample(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a map with linear interpolation: (h, w) float → (height, width) float32."""
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)


def _unfit(values: np.ndarray, resize: str, height: int, width: int) -> np.ndarray:
    """Undo the resizing: (h, w) over the input → (height, width) over the region that was resized to it."""
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
    """The center of an image with the aspect ratio of h × w."""
    if width * h >= height * w:
        part = max(round(height * w / h), 1)
        return slice(0, height), slice((width - part) // 2, (width - part) // 2 + part)
    part = max(round(width * h / w), 1)
    return slice((height - part) // 2, (height - part) // 2 + part), slice(0, width)


def _uncenter(values: np.ndarray, axis: int, target: int) -> np.ndarray:
    """Undo a center crop (pad with zeros) or a reflection (crop it) along one axis."""
    have = values.shape[axis]
    if have >= target:
        start = (have - target) // 2
        return values.take(range(start, start + target), axis=axis)
    before = (target - have) // 2
    margin = [(0, 0), (0, 0)]
    margin[axis] = (before, target - have - before)
    return np.pad(values, margin)
