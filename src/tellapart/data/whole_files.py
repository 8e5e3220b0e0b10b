"""Load the pixels of an opened image, and refuse half pictures: a decoder that lacks data fills the rest with gray or noise.

- PNG: the checksums of the chunks that make the pixels, and the last chunk.
- JPEG: every scan must hold the data of all its blocks, and an end marker must follow; see `jpeg_scans`.
- TIFF: strips or tiles must cover the image and lie inside the file.
- WebP, AVIF, compressed TIFF: the data do not end in many zero bytes, as a download does whose file was allocated in advance.
- Decoders of the other formats notice missing data themselves.

Uncompressed data may end in zeros, which are black pixels; `check --only files` reports such files.
"""

from __future__ import annotations

from PIL import Image, ImageFile

from tellapart.data.jpeg_scans import load_jpeg
from tellapart.data.png_chunks import check_whole
from tellapart.data.tiff_samples import find_pixels
from tellapart.errors import ImageError

_ZERO_RUN = 64  # more than any coder leaves: 64 zero bytes in a row have a probability of 2^-512 in coded data


def load_whole(image: Image.Image, content: bytes, path: str) -> None:
    """Decode an opened image in place.

    Args:
        image: Opened from `content`.
        content: The encoded file.
        path: Name for errors.

    Raises:
        ImageError: The file is truncated or damaged.
        Exception: Whatever a decoder raises for other faults.
    """
    if image.format == "PNG":
        check_whole(content, path)
    elif image.format in ("JPEG", "MPO") and isinstance(image, ImageFile.ImageFile):
        load_jpeg(image, content, path)
    elif image.format == "TIFF":
        content = find_pixels(image, content, path)
    coded = image.format in ("WEBP", "AVIF") or (image.format == "TIFF" and image.info.get("compression") != "raw")
    image.load()
    if coded and (zeros := trailing_zeros(_without_padding(image, content))) >= _ZERO_RUN:
        raise ImageError(path, f"the file is truncated: the last {zeros:,} bytes of its pixels are zero")


def trailing_zeros(content: bytes) -> int:
    """How many zero bytes a file ends in."""
    return len(content) - len(content.rstrip(b"\0"))


def _without_padding(image: Image.Image, content: bytes) -> bytes:
    """The file without what follows its stated end."""
    if image.format == "WEBP":
        return content[: 8 + int.from_bytes(content[4:8], "little")]
    if image.format == "AVIF":
        return content[: _end_of_boxes(content)]
    return content


def _end_of_boxes(content: bytes) -> int:
    """Where the last box of a file ends; each has a size and a type (ISO/IEC 14496-12, section 4.2)."""
    place = 0
    while place + 8 <= len(content) and content[place + 4 : place + 8] != bytes(4):
        size = int.from_bytes(content[place : place + 4], "big")
        if size == 1:
            size = int.from_bytes(content[place + 8 : place + 16], "big")
        place += size if size >= 8 else len(content)
    return place
