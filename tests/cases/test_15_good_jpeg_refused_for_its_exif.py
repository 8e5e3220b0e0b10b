"""Case 15: a picture is turned by the orientation tag alone, in the same way everywhere; other tags change nothing."""

from __future__ import annotations

import asyncio
import io
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from tellapart.data.decode import decode, header
from tellapart.server.decoders import Decoders


def encoded(kind: str, exif: bytes) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), 200, np.uint8)).save(file, kind, exif=exif)
    return file.getvalue()


def ifd(*entries: tuple[int, int, int, bytes], extra: bytes = b"") -> bytes:
    body = b"".join(struct.pack("<HHL", *entry[:3]) + entry[3] for entry in entries)
    return b"Exif\0\0II*\0" + struct.pack("<LH", 8, len(entries)) + body + bytes(4) + extra


def short(value: int) -> tuple[int, int, int, bytes]:
    return 0x0112, 3, 1, struct.pack("<HH", value, 0)


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    """What decodes the uploads of a server."""
    made = Decoders(memory=100_000_000, max_pixels=1_000_000, patience=60)
    yield made
    made.close()


TURNED, UPRIGHT = (30, 20), (20, 30)
RATIONAL = (0x011A, 10, 1, struct.pack("<L", 8 + 2 + 24 + 4))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("exif", "shape"),
    [
        (ifd(short(6)), TURNED),
        (ifd(short(6), RATIONAL, extra=struct.pack("<ll", -1, 0)), TURNED),
        (ifd(short(6), (0x011A, 5, 1, struct.pack("<L", 99_999))), TURNED),
        (ifd((0x0112, 1, 1, b"\x06\0\0\0")), UPRIGHT),
        (ifd((0x0112, 2, 2, b"6\0\0\0")), UPRIGHT),
        (ifd((0x0112, 5, 1, struct.pack("<L", 20)), extra=struct.pack("<LL", 6, 1)), UPRIGHT),
        (ifd(short(0)), UPRIGHT),
        (ifd(short(9)), UPRIGHT),
        (ifd(short(65535)), UPRIGHT),
        (b"Exif\0\0garbage", UPRIGHT),
    ],
    ids=["6", "6 and -1/0", "6 and a tag outside", "byte", "text", "rational", "0", "9", "65535", "garbage"],
)
def test_decode_header_and_server_agree(decoders: Decoders, kind: str, exif: bytes, shape: tuple[int, int]):
    content = encoded(kind, exif)
    assert decode(content).shape[:2] == shape
    assert header(content)[:2] == shape
    upload = asyncio.run(decoders.header(content, "photo"))
    assert (upload.height, upload.width) == shape
