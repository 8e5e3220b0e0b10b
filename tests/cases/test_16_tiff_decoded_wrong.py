"""Case 16: samples of a TIFF are decoded right, or refused by a sentence. All kinds: `tests/data/test_decode_table.py`."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import tifffile

from tellapart.data.decode import decode, header
from tellapart.errors import ImageError


def tiff(samples: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, metadata=None, **options)
    return file.getvalue()


def test_white_is_zero_of_16_bits_is_turned():
    samples = np.array([[0, 1000, 32768, 65535]], np.uint16)
    assert decode(tiff(samples, photometric="miniswhite"))[0, :, 0].tolist() == [255, 252, 127, 0]
    assert decode(tiff((samples >> 8).astype(np.uint8), photometric="miniswhite"))[0, :, 0].tolist() == [255, 252, 127, 0]


def test_12_bits_are_scaled():
    data = bytes([0, 8, 0, 0xFF, 0xF0, 1])  # 0, 2048, 4095, 1
    tags = {256: 4, 257: 1, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: len(data)}
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in tags.items())
    content = b"II*\0" + struct.pack("<L", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)
    assert decode(content)[0, :, 0].tolist() == [0, 128, 255, 0]


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_planes_of_16_bits(compression: str | None):
    samples = np.random.default_rng(1).integers(0, 65535, (3, 32, 32)).astype(np.uint16)
    content = tiff(samples, photometric="rgb", planarconfig="separate", compression=compression)
    assert (decode(content) == np.moveaxis(samples, 0, 2) >> 8).all()


@pytest.mark.parametrize(
    ("samples", "why"),
    [
        (np.array([[0, 255, 100]], np.uint32), "32-bit integers have no agreed white"),
        (np.array([[0, 255, 100]], np.int16), "signed integers have no agreed black and white"),
        (np.array([[0, 1, 0.5]], np.float32), "floating-point pixels have no agreed white"),
    ],
)
def test_what_has_no_agreed_white_is_refused_by_all(samples: np.ndarray, why: str):
    for read in (decode, header):
        with pytest.raises(ImageError, match=f"a.tif: {why}"):
            read(tiff(samples, photometric="minisblack"), path="a.tif")
