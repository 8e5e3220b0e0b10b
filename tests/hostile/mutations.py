"""Ways to damage a file: at random, or where its format keeps numbers. The same draw always gives the same damage."""

from __future__ import annotations

import gzip
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np

Draw = np.random.Generator
#: Numbers on which parsers fail: zero, one, the edges of 8, 15, 16, 24, 31 and 32 bits, and what is just under `max_pixels`.
EXTREMES = (0, 1, 2, 127, 255, 256, 13_000, 32_767, 65_535, 2**24 - 1, 2**31 - 1, 2**32 - 1)
_HEAD = 300  # bytes in which most formats keep their numbers
_PNG = b"\x89PNG\r\n\x1a\n"


def mutate(content: bytes, other: bytes, draw: Draw) -> bytes:
    """Damage a file once, and one time in three twice.

    Args:
        content: The file.
        other: Another file, for splices.
        draw: Random numbers.
    """
    for _ in range(1 + (draw.random() < 1 / 3)):
        known = _structures(content)
        choices = (*_ANYWHERE, *known * 3)  # as often in the structure as anywhere
        content = choices[draw.integers(len(choices))](content, other, draw)
    return content


def _structures(content: bytes) -> tuple[Callable[[bytes, bytes, Draw], bytes], ...]:
    if content.startswith(_PNG):
        return (_png,)
    if content.startswith(b"\xff\xd8"):
        return (_jpeg,)
    if content[:4] in (b"II*\0", b"MM\0*"):
        return (_tiff,)
    if content.startswith(b"\x1f\x8b"):
        return (_inside,)
    if content[257:262] == b"ustar":
        return (_tar,)
    if content.startswith(b"PK"):
        return (_zip, _member)
    return (_footer,) if content.startswith(b"PAR1") else (_number_in_head,)


# --- anywhere --------------------------------------------------------------------------------------------------------


def _place(content: bytes, draw: Draw) -> int:
    """Anywhere, or half the time in the beginning."""
    size = max(len(content), 1)
    return int(draw.integers(min(size, _HEAD) if draw.random() < 0.5 else size))


def _flip(content: bytes, other: bytes, draw: Draw) -> bytes:
    changed = bytearray(content or b"\0")
    for _ in range(draw.integers(1, 9)):
        changed[_place(content, draw)] ^= 1 << int(draw.integers(8))
    return bytes(changed)


def _set(content: bytes, other: bytes, draw: Draw) -> bytes:
    changed = bytearray(content or b"\0")
    for _ in range(draw.integers(1, 9)):
        changed[_place(content, draw)] = int(draw.integers(256))
    return bytes(changed)


def _cut(content: bytes, other: bytes, draw: Draw) -> bytes:
    return content[: _place(content, draw)]


def _run(content: bytes, other: bytes, draw: Draw) -> bytes:
    start, length = _place(content, draw), int(2 ** draw.uniform(0, 12))
    length = min(length, len(content) - start)
    return content[:start] + (b"\0" if draw.random() < 0.5 else b"\xff") * length + content[start + length :]


def _remove(content: bytes, other: bytes, draw: Draw) -> bytes:
    start = _place(content, draw)
    return content[:start] + content[start + int(2 ** draw.uniform(0, 9)) :]


def _repeat(content: bytes, other: bytes, draw: Draw) -> bytes:
    start = _place(content, draw)
    piece = content[start : start + int(2 ** draw.uniform(0, 9))]
    return content[:start] + piece * int(2 ** draw.uniform(1, 7)) + content[start + len(piece) :]


def _splice(content: bytes, other: bytes, draw: Draw) -> bytes:
    return content[: _place(content, draw)] + other[_place(other, draw) :]


def _number_in_head(content: bytes, other: bytes, draw: Draw) -> bytes:
    return _with_number(content, _place(content, draw), draw)


def _with_number(content: bytes, place: int, draw: Draw) -> bytes:
    """An extreme number of 2 or 4 bytes, in either byte order."""
    size = (2, 4)[draw.integers(2)]
    value = EXTREMES[draw.integers(len(EXTREMES))] % 256**size
    return content[:place] + value.to_bytes(size, ("little", "big")[draw.integers(2)]) + content[place + size :]


_ANYWHERE = (_flip, _set, _cut, _run, _remove, _repeat, _splice, _number_in_head)


# --- where a format keeps its numbers --------------------------------------------------------------------------------


def _png(content: bytes, other: bytes, draw: Draw) -> bytes:
    """Change, repeat, move or remove a chunk; its checksum is right afterwards."""
    found: list[tuple[bytes, bytes]] = []
    place = len(_PNG)
    while place + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        found.append((kind, content[place + 8 : place + 8 + length]))
        place += 12 + length
    if not found:
        return _flip(content, other, draw)
    row = 0 if draw.random() < 0.4 else int(draw.integers(len(found)))  # the header, two times in five
    kind, data = found[row]
    way = draw.integers(5)
    if way == 0:
        found.insert(int(draw.integers(len(found) + 1)), found[row])
    elif way == 1:
        del found[row]
    elif way == 2:
        kinds = (b"tRNS", b"PLTE", b"IDAT", b"eXIf", b"iCCP", b"zTXt", b"iTXt", b"acTL", b"fcTL", b"fdAT")
        found[row] = kinds[draw.integers(len(kinds))], data
    elif way == 3 and data:
        found[row] = kind, _with_number(data, int(draw.integers(len(data))), draw)
    else:
        found[row] = kind, _flip(data, other, draw)
    return _PNG + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in found
    )


def _jpeg(content: bytes, other: bytes, draw: Draw) -> bytes:
    """Change, repeat or remove a segment: size, sampling, tables, scans."""
    starts, place = [], 2
    while place + 4 <= len(content) and content[place] == 0xFF:
        starts.append(place)
        place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        if content[starts[-1] + 1] == 0xDA:  # the scan, up to the next marker
            while place + 2 <= len(content) and (content[place] != 0xFF or content[place + 1] in (0, *range(0xD0, 0xD8))):
                place += 1
    if not starts:
        return _flip(content, other, draw)
    ends = [*starts[1:], min(place, len(content))]
    frames = [row for row, start in enumerate(starts) if content[start + 1] in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)]
    row = frames[0] if frames and draw.random() < 0.4 else int(draw.integers(len(starts)))
    start, end = starts[row], ends[row]
    way = draw.integers(4)
    if way == 0:
        return content[:start] + content[start:end] * int(2 ** draw.uniform(1, 8)) + content[end:]
    if way == 1:
        return content[:start] + content[end:]
    place = int(draw.integers(start + 1, max(min(end, start + 20), start + 2)))
    return (
        _with_number(content, place, draw)
        if way == 2
        else content[:place] + _flip(content[place:end], other, draw) + content[end:]
    )


def _tiff(content: bytes, other: bytes, draw: Draw) -> bytes:
    """Change kind, count or value of an entry of the first directory, or the number of its entries."""
    order = "<" if content[:2] == b"II" else ">"
    if len(content) < 10:
        return _flip(content, other, draw)
    first = struct.unpack_from(f"{order}I", content, 4)[0]
    if first + 2 > len(content):
        return _flip(content, other, draw)
    count = struct.unpack_from(f"{order}H", content, first)[0]
    entry = first + 2 + 12 * int(draw.integers(max(min(count, 64), 1)))
    if entry + 12 > len(content):
        return _flip(content, other, draw)
    value = EXTREMES[draw.integers(len(EXTREMES))]
    way = draw.integers(6)
    changed = bytearray(content)
    if way == 0:
        struct.pack_into(f"{order}H", changed, entry, int(draw.integers(254, 350)))  # another tag
    elif way == 1:
        struct.pack_into(f"{order}H", changed, entry + 2, int(draw.integers(14)))  # another type
    elif way == 2:
        struct.pack_into(f"{order}I", changed, entry + 4, value)
    elif way == 3:
        struct.pack_into(f"{order}H", changed, first, value % 2**16)
    elif way == 4:
        struct.pack_into(f"{order}H", changed, entry + 8, int(draw.integers(1, 10)))  # another compression, photometry, …
    else:
        struct.pack_into(f"{order}I", changed, entry + 8, value)
    return bytes(changed)


def _inside(content: bytes, other: bytes, draw: Draw) -> bytes:
    """Damage what is compressed."""
    try:
        return gzip.compress(mutate(gzip.decompress(content), other, draw), mtime=0)
    except (OSError, EOFError, zlib.error):
        return _flip(content, other, draw)


def _tar(content: bytes, other: bytes, draw: Draw) -> bytes:
    """Change a field of a header: name, size, kind, target; its checksum is right afterwards."""
    starts = [place for place in range(0, len(content) - 511, 512) if content[place + 257 : place + 262] == b"ustar"]
    if not starts:
        return _flip(content, other, draw)
    start = starts[draw.integers(len(starts))]
    head = bytearray(content[start : start + 512])
    names = (b"../../out.png", b"/etc/passwd", b"real/1.png", b"a" * 100, b"\xff\xfe.png", b"x/\x1b[2J.png", b"")
    way = draw.integers(5)
    if way == 0:
        head[0:100] = names[draw.integers(len(names))].ljust(100, b"\0")
    elif way == 1:
        head[124:136] = f"{EXTREMES[draw.integers(len(EXTREMES))]:011o}\0".encode()
    elif way == 2:
        head[156:157] = b"0123456789gxLKSNDV"[(kind := int(draw.integers(18))) : kind + 1]
    elif way == 3:
        head[157:257] = names[draw.integers(len(names))].ljust(100, b"\0")
    else:
        head = bytearray(_flip(bytes(head), other, draw))
    head[148:156] = b" " * 8
    head[148:156] = f"{sum(head):06o}\0 ".encode()
    return content[:start] + bytes(head) + content[start + 512 :]


def _zip(content: bytes, other: bytes, draw: Draw) -> bytes:
    """Change a number of a local header, of the directory or of its end."""
    places = [found.start() for found in re.finditer(rb"PK(?:\x03\x04|\x01\x02|\x05\x06)", content)]
    if not places:
        return _flip(content, other, draw)
    last = places[-1]
    place = last if draw.random() < 0.25 else places[draw.integers(len(places))]
    return _with_number(content, place + 4 + int(draw.integers(20 if place == last else 40)), draw)


def _member(content: bytes, other: bytes, draw: Draw) -> bytes:
    """Damage the content of a member; its checksum is right afterwards."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = [(info, archive.read(info)) for info in archive.infolist() if info.file_size < 2**20]
    except Exception:  # damaged before
        return _flip(content, other, draw)
    if not files:
        return _flip(content, other, draw)
    target, row = io.BytesIO(), int(draw.integers(len(files)))
    if draw.random() < 0.5:  # a table or an array rather than an image
        row = next((row for row, (info, _) in enumerate(files) if not info.filename.endswith(".png")), row)
    with zipfile.ZipFile(target, "w") as archive:
        for number, (info, inner) in enumerate(files):
            archive.writestr(zipfile.ZipInfo(info.filename), mutate(inner, other, draw) if number == row else inner)
    return target.getvalue()


def _footer(content: bytes, other: bytes, draw: Draw) -> bytes:
    """Damage the footer of a parquet file, which says where everything lies; its length is right afterwards."""
    start = max(len(content) - 8 - int.from_bytes(content[-8:-4], "little"), 4)
    inner = content[start:-8]
    way = (_flip, _set, _number_in_head, _remove, _repeat)[draw.integers(5)]
    changed = way(inner, other, draw)
    return content[:start] + changed + struct.pack("<I", len(changed)) + b"PAR1"
