"""Encode and decode images with a lossy codec, by Pillow: image by image, on all threads that torch may use.

The images are moved to the CPU and back. Parameters are drawn before the threads start, so the order of the threads has no
effect.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor

from tellapart.augmentations._random import CountRange, QualityRange, randint
from tellapart.augmentations.base import RandomApply
from tellapart.data.open_image import open_image


class RecompressOptions(RandomApply.Options):
    """Options of all codecs."""

    quality: QualityRange = Field(default=(50, 95), description="minimum and maximum quality, 1 to 100")
    times: CountRange = Field(
        default=(1, 1), description="minimum and maximum number of compressions in a row, each with a quality drawn for it"
    )


def recompress(
    images: Tensor, options: RecompressOptions, save: Callable[[Image.Image, Any, int], None], generator: torch.Generator
) -> Tensor:
    """Compress each image one or more times.

    Args:
        images: (K, C, H, W) uint8.
        options: Ranges of quality and number of compressions, drawn uniformly for each image.
        save: Function that writes an image to a file with a given quality.
        generator: Random generator for the parameters.

    Returns:
        (K, C, H, W) uint8 in channels_last.
    """
    low, high = options.times
    times = randint(low, high, len(images), generator).tolist()
    qualities = randint(options.quality[0], options.quality[1], len(images) * high, generator).view(-1, high).tolist()
    pixels = images.permute(0, 2, 3, 1).cpu().numpy()

    def one(row: int) -> np.ndarray:
        current = pixels[row]
        for quality in qualities[row][: times[row]]:
            current = roundtrip(current, save, quality)
        return current

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        made = np.stack(list(pool.map(one, range(len(images)))))
    return torch.from_numpy(made).to(images.device).permute(0, 3, 1, 2)


def roundtrip(pixels: np.ndarray, save: Callable[[Image.Image, Any, int], None], quality: int) -> np.ndarray:
    """Encode and decode one image: (H, W, C) uint8 → the same shape."""
    gray = pixels.shape[2] == 1
    picture = Image.fromarray(pixels[:, :, 0] if gray else pixels)
    file = io.BytesIO()
    save(picture, file, quality)
    with open_image(file.getvalue()) as read:
        return np.asarray(read.convert("L" if gray else "RGB")).reshape(pixels.shape)
