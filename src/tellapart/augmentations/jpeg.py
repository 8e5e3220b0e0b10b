"""JPEG compression of some images, once or several times; libjpeg-turbo through Pillow, chroma at half size (4:2:0)."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor

from tellapart.augmentations._codecs import RecompressOptions, recompress
from tellapart.augmentations.base import RandomApply


class Jpeg(RandomApply):
    """JPEG compression. Slower than most: each image is encoded and decoded, on as many threads as torch may use."""

    class Options(RecompressOptions):
        """Options of `jpeg`."""

    options: Options

    def change(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Apply to all given images: (K, C, H, W) uint8 → the same shape."""
        return recompress(images, self.options, _save, generator)


def _save(picture: Image.Image, file: Any, quality: int) -> None:
    picture.save(file, "JPEG", quality=quality, subsampling="4:2:0")
