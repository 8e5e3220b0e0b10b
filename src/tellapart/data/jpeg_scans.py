"""Decode a JPEG, and notice when a scan ends before the picture does.

libjpeg fills what is missing of a scan with gray as soon as it meets a marker, and only warns; Pillow does not pass the warning
on. But libjpeg never meets a marker here: each scan is handed over without what follows it, and with a few bytes of padding.

- A decoder that has all blocks of the scan looks for the next marker, and skips any byte that is offered.
- A decoder that lacks blocks waits for data. It takes no byte unless it gets enough for a whole block.

So a cut scan is found as soon as it is decoded, at no cost. Pixels are those of `Image.load`, bit for bit.

Source: ITU-T T.81 (1992), Annex B (markers) and F.1.2.3 (padding by 1-bits); libjpeg-turbo, libjpeg.txt, "I/O suspension".
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

from PIL import Image, ImageFile

from tellapart.errors import ImageError

SIGNATURE = b"\xff\xd8"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # not a stuffed zero, not a restart within a scan
_START, _END, _RESTARTS, _TABLES, _TEMPORARY = 0xDA, 0xD9, 0xDD, 0xD8, 0x01
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_HUFFMAN_CODED = (0xC0, 0xC1, 0xC2)
_PADDING = b"\xff\x00" * 8  # 64 1-bits: no code consists of 1-bits alone; the decoder reads ahead up to 64 bits
_HOLE = bytes(512)  # a sector that was never written
_SURPLUS = 64  # bytes that a sound scan does not leave unused
_MOST_SCANS = 100  # progressive files have about ten; each costs as much as decoding the whole picture
_MOST_SEGMENTS = 10_000  # an ICC profile of 16 MB has 250; Pillow reads each in Python
_MOST_FILL = 1 << 16  # bytes between segments, which Pillow skips one at a time


class Scans(NamedTuple):
    """The scans of a JPEG.

    Attributes:
        frame: The start-of-frame marker, which tells the coding; 0 without one.
        first: Where the data of the first scan begin.
        ends: Where the data of each scan end.
        closed: Whether there is an end marker.
        restarts: Whether the scans have restart markers.
    """

    frame: int
    first: int
    ends: list[int]
    closed: bool
    restarts: bool


def load_jpeg(image: ImageFile.ImageFile, content: bytes, path: str) -> None:
    """Decode an opened JPEG in place.

    Args:
        image: Opened from `content`; its pixels are loaded afterwards.
        content: The encoded file.
        path: Name for errors.

    Raises:
        ImageError: The file is truncated, has a hole, or has too many scans.
        OSError: Another fault of the data.
    """
    scans = find_scans(content)
    if len(scans.ends) > _MOST_SCANS:
        raise ImageError(path, f"a JPEG with more than {_MOST_SCANS} scans is not decoded", hint="save it again")
    if not (scans.closed and scans.ends):
        raise ImageError(path, "the file is truncated: the JPEG has no end marker after its pixels")
    if scans.frame not in _HUFFMAN_CODED:
        raise ImageError(path, "a JPEG with arithmetic or lossless coding is not supported", hint="save it again")
    pieces = [content[start:end] for start, end in pairwise([0, *scans.ends])]
    if content.find(_HOLE, scans.first, scans.ends[-1]) >= 0 and _has_surplus(image, pieces, scans.restarts):
        raise ImageError(path, "the file has a hole of zero bytes, and the data after it do not fit")
    if not _is_complete(image, pieces, scans.restarts):
        raise ImageError(path, "the file is truncated: a scan of the JPEG ends before the picture does")
    image.tile = []


def check_segments(content: bytes, path: str) -> None:
    """Check that what comes before the pixels can be read in a moment.

    Raises:
        ImageError: It has too many segments, or too much between them.
    """
    place, fill, segments = 2, 0, 0
    while found := _MARKER.search(content, place):
        fill, segments = fill + found.start() - place, segments + 1
        if segments > _MOST_SEGMENTS or fill > _MOST_FILL:
            what = f"more than {_MOST_SEGMENTS:,} segments" if segments > _MOST_SEGMENTS else f"{fill:,} bytes of fill"
            raise ImageError(path, f"{what} before the pixels of a JPEG", hint="save it again")
        marker, place = content[found.end() - 1], found.end()
        if marker in (_START, _END):
            return
        if marker not in (_TABLES, _TEMPORARY):
            place += int.from_bytes(content[place : place + 2], "big")


def find_scans(content: bytes) -> Scans:
    """Walk the markers of a JPEG up to its end marker."""
    ends: list[int] = []
    first = frame = 0
    restarts = False
    found = _MARKER.search(content, 2)
    while found:
        marker, place = content[found.end() - 1], found.end()
        if marker == _END:
            return Scans(frame, first, ends, True, restarts)
        if marker in _FRAMES:
            frame = marker
        restarts = restarts or marker == _RESTARTS
        if marker not in (_TABLES, _TEMPORARY):
            place += int.from_bytes(content[place : place + 2], "big")
        found = _MARKER.search(content, place)
        if marker == _START:
            first = first or place
            ends.append(found.start() if found else len(content))
            if len(ends) > _MOST_SCANS:
                break
    return Scans(frame, first, ends, False, restarts)


def _has_surplus(image: ImageFile.ImageFile, pieces: list[bytes], restarts: bool) -> bool:
    """Whether a scan with a hole is complete without its end: after a hole the codes mean other blocks, often too many."""
    row = next((row for row, piece in enumerate(pieces) if _HOLE in piece), 0)
    return _is_complete(image, [*pieces[:row], pieces[row][:-_SURPLUS], *pieces[row + 1 :]], restarts)


def _is_complete(image: ImageFile.ImageFile, pieces: list[bytes], restarts: bool) -> bool:
    """Decode into the memory of `image`; whether no scan lacks data. `pieces`: the file, cut where each scan ends.

    Raises:
        OSError: A fault of the data.
    """
    image.load_prepare()
    tile = image.tile[0]
    decoder = Image._getdecoder(image.mode, tile.codec_name, tile.args, image.decoderconfig)
    try:
        decoder.setimage(image.im, tile.extents)
        for piece in pieces:
            offered = piece + _PADDING
            for more in (b"", *_bait(piece, restarts)):
                consumed, fault = decoder.decode(offered + more)
                if consumed < 0:
                    return _sound(fault)
                offered = (offered + more)[consumed:]
                if more and offered:
                    return False
        consumed, fault = decoder.decode(b"\xff\xd9")
        return len(pieces) > 1 and consumed < 0 and _sound(fault)
    finally:
        decoder.cleanup()


def _bait(piece: bytes, restarts: bool) -> list[bytes]:
    """What is offered after a scan: taken at once if the scan is complete.

    Single zeros: the first may let a block end to which the padding has given the rest. Where the decoder waits for the next
    restart marker it skips them; after the marker it needs data again.
    """
    zeros = [b"\0", b"\0"]
    return [*zeros, bytes((0xFF, 0xD0 + len(_RESTART.findall(piece)) % 8)), *zeros] if restarts else zeros


def _sound(fault: int) -> bool:
    if fault < 0:
        raise OSError("broken JPEG data")
    return True
