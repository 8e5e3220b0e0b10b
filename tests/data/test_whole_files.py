"""Files that look whole and are not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tellapart.data.decode import decode
from tellapart.data.whole_files import trailing_zeros
from tellapart.errors import ImageError


def test_trailing_zeros():
    assert [trailing_zeros(content) for content in (b"", b"\0\0", b"a\0b", b"a\0\0\0")] == [0, 2, 0, 3]


@pytest.mark.parametrize("kind", ["BMP", "PPM", "TIFF", "TGA"])
def test_uncompressed_black_is_black(kind: str):
    file = io.BytesIO()
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(file, kind)
    assert not decode(file.getvalue()).any()


CODECS = [("WEBP", {}), ("WEBP", {"lossless": True}), ("AVIF", {}), ("JPEG2000", {}), ("TIFF", {"compression": "packbits"})]


@pytest.mark.parametrize(("kind", "options"), CODECS)
def test_compressed_black_is_whole(kind: str, options: dict):
    file = io.BytesIO()
    Image.fromarray(np.zeros((300, 400, 3), np.uint8)).save(file, kind, **options)
    assert decode(file.getvalue()).max() <= 1


def test_a_webp_of_zeros_is_named():
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file, "WEBP")
    content = file.getvalue()
    with pytest.raises(ImageError, match="a.webp: the file is truncated: the last 500 bytes of its pixels are zero"):
        decode(content[:-500] + bytes(500), path="a.webp")
