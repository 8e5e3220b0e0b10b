"""Case 14: damaged or large metadata of a PNG never cost the picture."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from tellapart.data.decode import decode, header
from tellapart.data.metadata import NAMES, read_header, read_metadata
from tellapart.data.open_image import open_image

BIG = b'{"node": 1, "text": "aaaaaaaa"}' * 50_000


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(before: bytes = b"", after: bytes = b"") -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0" + bytes((10, 20, 30, 200, 100, 50))))
    return b"\x89PNG\r\n\x1a\n" + head + before + body + after + chunk(b"IEND", b"")


ODD = {
    "zTXt of 1.5 MB": chunk(b"zTXt", b"workflow\0\0" + zlib.compress(BIG)),
    "iTXt of 1.5 MB": chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(BIG)),
    "zTXt of 40 MB": chunk(b"zTXt", b"workflow\0\0" + zlib.compress(bytes(40_000_000))),
    "color profile of 2 MB": chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(2_000_000))),
    "72 MB of text": chunk(b"tEXt", b"a\0" + b"x" * 1_200_000) * 60,
    "damaged EXIF": chunk(b"eXIf", b"garbage"),
    "EXIF cut in the middle": chunk(b"eXIf", b"II*\0\x08\0\0\0\x09\0\x12\x01"),
    "damaged EXIF as text": chunk(b"tEXt", b"Raw profile type exif\0\nexif\n      10\n457"),
    "short pHYs": chunk(b"pHYs", b"abc"),
    "short gAMA": chunk(b"gAMA", b"a"),
    "short cHRM": chunk(b"cHRM", b"abcdefgh"),
    "short sRGB": chunk(b"sRGB", b""),
    "short acTL": chunk(b"acTL", b"abc"),
    "short fcTL": chunk(b"fcTL", b"abc"),
    "short tRNS": chunk(b"tRNS", b"a"),
    "wrong checksum of iCCP": chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(100)))[:-4] + b"abcd",
    "wrong checksum of tEXt": chunk(b"tEXt", b"a\0b")[:-4] + b"abcd",
    "wrong checksum of tRNS": chunk(b"tRNS", struct.pack(">HHH", 10, 20, 30))[:-4] + b"abcd",
    "unknown compression of zTXt": chunk(b"zTXt", b"workflow\0\7abc"),
}


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("name", ODD)
def test_pixels_are_what_counts(name: str, place: str):
    content = png(**{place: ODD[name]})
    assert decode(content).tolist() == [[[10, 20, 30], [200, 100, 50]]]
    assert header(content) == (1, 2, False)
    assert open_image(content).size == (2, 1)
    assert read_header(content).values[NAMES.index("width")] == 2
    assert read_metadata(content)[0].value == "PNG, RGB"


@pytest.mark.parametrize("name", ["zTXt of 1.5 MB", "iTXt of 1.5 MB"])
def test_a_large_workflow_is_still_a_clue(name: str):
    assert read_header(png(ODD[name])).texts[2] == "workflow"


def test_orientation_after_the_pixels_counts_for_all():
    exif = b"II*\0" + struct.pack("<LHHHLHHL", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    content = png(after=chunk(b"eXIf", exif))
    assert decode(content).shape == (2, 1, 3)
    assert header(content)[:2] == (2, 1)
    assert np.array_equal(decode(content)[:, 0], [[10, 20, 30], [200, 100, 50]])
