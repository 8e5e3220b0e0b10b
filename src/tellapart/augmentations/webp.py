"""Lossy WebP compression of some images, once or several times; libwebp through Pillow."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor

from tellapart.augmentations._codecs import RecompressOptions, recompress
from tellapart.augmentations.base import RandomApply


class Webp(RandomApply):
    """WebP compression. The slowest augmentation: images are encoded (with libwebp's fastest method) and decoded one by one,
    several
    times slower than `jpeg`.
    """

    class Options(RecompressOptions):
        """Options of `webp`."""

    options: Options

    def change(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Apply to all given images: (K, C, H, W) uint8 → the same shape."""
        return recompress(images, self.options, _save, generator)


def _save(picture: Image.Image, file: Any, quality: int) -> None:
    picture.save(file, "WEBP", quality=quality, method=0)
