"""Samples of a TIFF: which kinds are decoded right, and what Pillow leaves to be done.

Source: TIFF 6.0 (1992), sections 3 (bilevel) to 6 (RGB), 8 (BitsPerSample), 18 (associated alpha), 19 (SampleFormat); TIFF 6.0,
section 23 (CIE L*a*b*).
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImagePalette
from PIL.TiffImagePlugin import TiffImageFile

from tellapart.errors import ImageError

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _STRIP_OFFSETS = 256, 257, 258, 259, 262, 273
_SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES, _PLANAR, _COLOR_MAP = 277, 278, 279, 284, 320
_TILE_OFFSETS, _TILE_BYTES, _SAMPLE_FORMAT, _SUBSAMPLING = 324, 325, 339, 530
_USED = (
    _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES, _PLANAR,
    _COLOR_MAP, _TILE_OFFSETS, _TILE_BYTES, _SAMPLE_FORMAT, _SUBSAMPLING,
)  # fmt: skip
_WHITE_IS_ZERO, _YCBCR = 0, 6
_LAB = {8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*"}
_UNCOMPRESSED = 1
_UNSIGNED, _SIGNED = 1, 2
_HINT = "save it with 8 or 16 bits, as gray or RGB"


def check_samples(image: Image.Image, path: str) -> None:
    """Refuse, by the tags alone, samples that have no agreed black and white, or that would be decoded wrong.

    Raises:
        ImageError: Floats, signed or 32-bit integers, L*a*b*, subsampled YCbCr without compression.
    """
    tags = _tags(image)
    bits, formats = _each(tags.get(_BITS, 1)), _each(tags.get(_SAMPLE_FORMAT, _UNSIGNED))
    photometric = tags.get(_PHOTOMETRIC, 0)
    if photometric in _LAB:
        raise ImageError(path, f"pixels in {_LAB[photometric]} are not supported", hint=_HINT)
    if set(formats) == {_SIGNED}:
        raise ImageError(path, "signed integers have no agreed black and white", hint=_HINT)
    if set(formats) != {_UNSIGNED}:
        raise ImageError(path, "floating-point pixels have no agreed white", hint=_HINT)
    if max(bits) > 16:
        raise ImageError(path, f"{max(bits)}-bit integers have no agreed white", hint=_HINT)
    raw = tags.get(_COMPRESSION, _UNCOMPRESSED) == _UNCOMPRESSED
    if photometric == _YCBCR and raw and tuple(tags.get(_SUBSAMPLING, (2, 2))) != (1, 1):
        raise ImageError(path, "subsampled YCbCr without compression is not supported", hint=_HINT)
    if _COLOR_MAP in tags and image.mode in ("P", "PA") and max(tags[_COLOR_MAP]) < 256:
        image.palette = ImagePalette.raw("RGB;L", bytes(tags[_COLOR_MAP]))  # some programs write 8 bits instead of 16


def find_pixels(image: Image.Image, content: bytes, path: str) -> bytes:
    """Check that strips or tiles cover the image and lie inside the file.

    Args:
        image: An opened TIFF.
        content: The file.
        path: Name for errors.

    Returns:
        The last strip or tile.

    Raises:
        ImageError: They do not: the file is truncated.
    """
    tags = _tags(image)
    tiled = _TILE_OFFSETS in tags
    offsets = _each(tags.get(_TILE_OFFSETS if tiled else _STRIP_OFFSETS, ()))
    counts = _each(tags.get(_TILE_BYTES if tiled else _STRIP_BYTES, ()))
    if not tiled:
        strips = math.ceil(tags[_HEIGHT] / min(tags.get(_ROWS_PER_STRIP, tags[_HEIGHT]), tags[_HEIGHT]))
        strips *= tags.get(_SAMPLES, 1) if tags.get(_PLANAR, 1) == 2 else 1
        if len(offsets) < strips:
            raise ImageError(path, f"the file is truncated: it holds {len(offsets):,} of {strips:,} strips")
    last = max(((start, start + count) for start, count in zip(offsets, counts, strict=False)), default=(0, 0))
    if last[1] > len(content):
        raise ImageError(path, f"the file is truncated: {last[1]:,} bytes are needed, it has {len(content):,}")
    return content[slice(*last)]


def sixteen_bits(image: Image.Image, values: np.ndarray) -> np.ndarray:
    """Gray values of a loaded TIFF on the scale 0 (black) … 65535 (white).

    Args:
        image: The loaded TIFF.
        values: (H, W) uint16 as Pillow reads them: WhiteIsZero is not turned, 12 bits are not scaled.

    Returns:
        (H, W) uint16.
    """
    tags = _tags(image)
    bits = max(_each(tags.get(_BITS, 16)))
    if bits < 16:
        values = values << (16 - bits) | values >> max(0, 2 * bits - 16)
    return 65535 - values if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else values


def _tags(image: Image.Image) -> dict:
    """The tags that matter here; a tag that nobody reads may hold millions of numbers."""
    if not isinstance(image, TiffImageFile):
        return {}
    found = {tag: image.tag_v2.get(tag) for tag in _USED}  # a tag that lacks its value is listed, and a KeyError
    return {tag: value for tag, value in found.items() if value is not None}


def _each(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)
