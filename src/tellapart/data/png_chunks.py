"""Chunks of a PNG file: which of them make the pixels, and whether these are whole.

Source: Portable Network Graphics (PNG) Specification, third edition, sections 5.3 (chunk layout), 11.2 (critical chunks) and
11.3.1.1 (tRNS).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from tellapart.errors import ImageError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_RAW_EXIF = b"Raw profile type exif\0"  # EXIF as ImageMagick writes it, in a text chunk
_LONGEST_EXIF = 2**20
_MOST_CHUNKS, _SHORTEST = 10_000, 256  # each costs microseconds; beyond that number they are so long on average, in bytes
_GRAY, _COLOR, _PALETTE = 0, 2, 3


def keep_pixels(content: bytes, path: str = "image") -> bytes:
    """The file without the metadata that do not change pixels: color profiles, texts, times, further frames.

    What is left: the critical chunks, tRNS and EXIF if they are not damaged, EXIF before the pixels.

    Args:
        content: A PNG file; its end may be missing.
        path: Name for errors.

    Raises:
        ImageError: 16-bit color with a transparent color, which the decoder would ignore.
    """
    kept: list[bytes] = [SIGNATURE]
    exif: list[bytes] = []
    place, pixels, header = len(SIGNATURE), 1, b""
    for kind, place, end in chunks(content, path):
        data = memoryview(content)[place + 8 : end - 4]
        if kind == b"IHDR":
            header = bytes(data)
        if kind in _CRITICAL:
            if kind == b"IDAT" and pixels == 1:
                pixels = len(kept)
            kept.append(content[place:end])
        elif kind == b"tRNS" and len(header) == 13 and is_sound(content, place, end):
            kept += [_chunk(b"tRNS", clear) for clear in _transparency(header, bytes(data), path)]
        elif _is_exif(kind, data) and is_sound(content, place, end):
            exif.append(content[place:end])
        place = end
    kept[pixels:pixels] = exif
    return b"".join([*kept, content[place:]])


def check_whole(content: bytes, path: str = "image") -> None:
    """Check that no critical chunk is damaged and that the last one is there. Costs about 1 ms per MB.

    Raises:
        ImageError: The file is truncated, or a checksum is wrong.
    """
    kind = b""
    for kind, start, end in chunks(content, path):
        if kind in (b"IHDR", b"PLTE", b"IDAT") and not is_sound(content, start, end):
            raise ImageError(path, f"a chunk of type {kind.decode()} has a wrong checksum: the file is damaged")
    if kind != b"IEND":
        raise ImageError(path, "the file is truncated: its last chunk (IEND) is missing")


def chunks(content: bytes, path: str = "image") -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of the complete chunks, up to IEND.

    Raises:
        ImageError: They are too many to be read in a moment.
    """
    place, most = len(SIGNATURE), _MOST_CHUNKS + len(content) // _SHORTEST
    for _ in range(most):
        if place + 12 > len(content):
            return
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 12 + length
        if end > len(content):
            return
        yield kind, place, end
        if kind == b"IEND":
            return
        place = end
    raise ImageError(path, f"more than {most:,} chunks", hint="save it again")


def is_sound(content: bytes, start: int, end: int) -> bool:
    """Whether the checksum of the chunk at `start` … `end` is right."""
    return zlib.crc32(memoryview(content)[start + 4 : end - 4]) == int.from_bytes(content[end - 4 : end], "big")


def _transparency(header: bytes, data: bytes, path: str) -> list[bytes]:
    """tRNS in the scale of the decoded pixels, which have at least 8 bits; nothing where it does not fit the kind of image."""
    bits, color = header[8], header[9]
    if color == _PALETTE:
        return [data]
    samples = {_GRAY: 1, _COLOR: 3}.get(color, 0)
    if not samples or len(data) < 2 * samples:
        return []
    if color == _COLOR and bits == 16:
        raise ImageError(path, "16-bit color with a transparent color is not supported", hint="save it with an alpha channel")
    largest = 2**bits - 1
    scale = 255 // largest if bits in (2, 4) else 1
    values = struct.unpack_from(f">{samples}H", data)
    return [struct.pack(f">{samples}H", *((value & largest) * scale for value in values))]


def _is_exif(kind: bytes, data: memoryview) -> bool:
    if kind == b"eXIf":
        return True
    return kind in (b"tEXt", b"zTXt") and len(data) < _LONGEST_EXIF and bytes(data[: len(_RAW_EXIF)]) == _RAW_EXIF


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
