"""Chunks of a PNG: what is kept for decoding, and what must be whole."""

from __future__ import annotations

import struct
import zlib

import pytest

from tellapart.data.png_chunks import SIGNATURE, check_whole, chunks, keep_pixels
from tellapart.errors import ImageError


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*parts: bytes, bits: int = 8, color: int = 0) -> bytes:
    return SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, bits, color, 0, 0, 0)) + b"".join(parts) + chunk(b"IEND")


BODY = chunk(b"IDAT", zlib.compress(b"\0\7"))


def kinds(content: bytes) -> list[bytes]:
    return [kind for kind, _, _ in chunks(content)]


def test_what_changes_no_pixel_is_left_out():
    content = png(chunk(b"tEXt", b"a\0b"), chunk(b"iCCP", b"x"), BODY, chunk(b"tIME", b"1234567"), chunk(b"eXIf", b"II*\0"))
    assert kinds(keep_pixels(content)) == [b"IHDR", b"eXIf", b"IDAT", b"IEND"]


def test_what_follows_the_last_complete_chunk_is_kept():
    content = png(BODY)
    assert keep_pixels(content + b"more") == content + b"more"
    assert keep_pixels(content[:-20]) == content[:-20]


@pytest.mark.parametrize(
    ("bits", "value", "kept"), [(1, 1, 1), (2, 2, 170), (4, 7, 119), (8, 200, 200), (8, 0x1C8, 200), (16, 999, 999)]
)
def test_a_transparent_value_is_in_the_scale_of_the_pixels(bits: int, value: int, kept: int):
    content = keep_pixels(png(chunk(b"tRNS", struct.pack(">H", value)), BODY, bits=bits))
    start = next(start for kind, start, _ in chunks(content) if kind == b"tRNS")
    assert struct.unpack_from(">H", content, start + 8) == (kept,)


def test_a_transparent_color_of_16_bits_is_refused():
    with pytest.raises(ImageError, match="a.png: 16-bit color with a transparent color is not supported"):
        keep_pixels(png(chunk(b"tRNS", bytes(6)), BODY, bits=16, color=2), "a.png")


def test_a_whole_file_is_whole():
    check_whole(png(chunk(b"tEXt", b"a\0b")[:-1] + b"!", BODY))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (png(BODY)[:-1], "its last chunk"),
        (png(BODY[:-1] + b"!"), "a chunk of type IDAT has a wrong checksum"),
        (png(chunk(b"PLTE", b"abc")[:-1] + b"!", BODY), "a chunk of type PLTE has a wrong checksum"),
    ],
)
def test_a_damaged_file_is_not(content: bytes, why: str):
    with pytest.raises(ImageError, match=why):
        check_whole(content)
