"""The last 40 % of a file are missing: an error, or the very same pixels, in every format."""

from __future__ import annotations

import numpy as np
import pytest
from seeds import images

from tellapart.data.decode import decode
from tellapart.errors import ImageError

#: Not compressed, or by runs: zeros are black pixels.
BLACK = {"rgb.bmp", "palette.bmp", "rgb.dib", "rgb.ppm", "deep.pgm", "raw.tga", "rle.tga", "pages.tif"}


def zeros(content: bytes) -> bytes:
    """As a download leaves it whose file was allocated in advance."""
    kept = len(content) * 6 // 10
    return content[:kept] + bytes(len(content) - kept)


def cut(content: bytes) -> bytes:
    """As a download leaves it that stopped."""
    return content[: len(content) * 6 // 10]


def closed(content: bytes) -> bytes:
    """Cut, and ended as its format ends a file, with the length that its header states."""
    short = cut(content)
    if content.startswith(b"\xff\xd8"):
        return short + b"\xff\xd9"
    if content.startswith(b"\x89PNG"):
        return short + content[-12:]
    if content.startswith(b"GIF"):
        return short + b"\0;"
    if content.startswith(b"RIFF"):
        return short[:4] + (len(short) - 8).to_bytes(4, "little") + short[8:]
    if content.startswith(b"BM"):
        return short[:2] + len(short).to_bytes(4, "little") + short[6:]
    return short + content[-2:]


@pytest.mark.parametrize("damage", [zeros, cut, closed])
@pytest.mark.parametrize("name", [name for name in images() if name != "arithmetic.jpg"])
def test_half_a_picture_is_an_error(name: str, damage):
    content = images()[name]
    whole = decode(content, path=name)
    try:
        found = decode(damage(content), path=name)
    except ImageError as error:
        assert error.path == name and error.reason
    else:
        assert np.array_equal(found, whole) or (damage is zeros and name in BLACK)
