"""Pixels to files that differ in nothing but their pixels."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from tellapart.alignment.choices import SUBSAMPLING


def encode(pixels: np.ndarray, quality: int) -> bytes:
    """A file without metadata.

    Args:
        pixels: (H, W, 3) uint8, RGB.
        quality: Of JPEG (baseline, color at half size); 0: PNG, stored without compression, so that its number of bytes
            depends on the size alone. Compressed, it would tell how noisy a picture is, and so whether it was a JPEG.
    """
    file, picture = io.BytesIO(), Image.fromarray(np.ascontiguousarray(pixels))
    if quality:
        picture.save(file, "JPEG", quality=quality, subsampling=SUBSAMPLING)
    else:
        picture.save(file, "PNG", compress_level=0)
    return file.getvalue()


def crop(pixels: np.ndarray, corner: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A part of a picture, pixel for pixel. `pixels`: (H, W, 3) uint8; `corner`: (2,) int64, top and left."""
    top, left = int(corner[0]), int(corner[1])
    return pixels[top : top + size[0], left : left + size[1]]
