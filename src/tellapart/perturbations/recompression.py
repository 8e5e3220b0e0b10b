"""The versions of an image file that stability predicts: compressed again, or scaled and scaled back.

    as is       the file itself
    JPEG 90     decoded and saved as JPEG at quality 90
    JPEG 70     likewise at quality 70
    scaled 3/4  both sides times 0.75 and back, as PNG
    scaled 1/2  both sides times 0.5 and back, as PNG

The perturbations are those of `perturbations/kinds.py`. Imports no classifier: the decoding processes of `serve` use it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tellapart.data.decode import decode, header
from tellapart.perturbations.kinds import PERTURBATIONS

AS_IS = "as is"
_JPEG, _SCALE = PERTURBATIONS["jpeg"].apply, PERTURBATIONS["scale"].apply
_TRANSFORMS: dict[str, Callable[[np.ndarray], bytes]] = {
    "JPEG 90": lambda pixels: _JPEG(pixels, 90, ""),
    "JPEG 70": lambda pixels: _JPEG(pixels, 70, ""),
    "scaled 3/4": lambda pixels: _SCALE(pixels, 0.75, ""),
    "scaled 1/2": lambda pixels: _SCALE(pixels, 0.5, ""),
}
#: Names of the versions; the file itself comes first.
RECOMPRESSIONS = (AS_IS, *_TRANSFORMS)


def recompress(content: bytes, name: str, max_pixels: int) -> list[bytes]:
    """The files of all `RECOMPRESSIONS` of one image. Thread-safe inside `quiet`.

    Args:
        content: An encoded file.
        name: Name of the image in errors.
        max_pixels: Largest number of pixels.

    Raises:
        ImageError: The file cannot be decoded.
    """
    pixels = _decoded(content, name, max_pixels)
    return [content, *(transform(pixels) for transform in _TRANSFORMS.values())]


def recompress_once(content: bytes, name: str, version: str, max_pixels: int) -> bytes:
    """The file of one of `RECOMPRESSIONS`; the other arguments and the errors are those of `recompress`."""
    return content if version == AS_IS else _TRANSFORMS[version](_decoded(content, name, max_pixels))


def _decoded(content: bytes, name: str, max_pixels: int) -> np.ndarray:
    gray = header(content, name)[2]
    return decode(content, mode="gray" if gray else "rgb", path=name, max_pixels=max_pixels)
