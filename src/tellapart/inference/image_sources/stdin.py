"""Standard input: names of images, separated by line ends or by NUL (`find -print0`); or one encoded image."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, final

from tellapart.data.decode import header
from tellapart.errors import DataError, ImageError
from tellapart.inference.image_sources.base import (
    STANDARD_INPUT,
    URL_BEGINNINGS,
    ImageRef,
    Source,
    SourceOptions,
    iter_items,
)
from tellapart.regular_files import LARGEST_IMAGE

_PIECE = 2**16
#: First bytes of image formats. Names may begin like that, too (BM, P5): then the header decides.
_BEGINNINGS = (
    b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*", b"P1", b"P2", b"P3", b"P4", b"P5", b"P6",
    b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51",
)  # fmt: skip
_BOX = slice(4, 8), b"ftyp"  # AVIF: after the length of the first box


@final
class StandardInput(Source):
    """The images of standard input, which can be read once.

    Args:
        options: Options for resolving names.
        opens: Function that returns the source of a name with options: `open_source`.
        read: Function that reads at most the given number of bytes, b"" at the end; None: file descriptor 0.
    """

    def __init__(
        self, options: SourceOptions, opens: Callable[[str, SourceOptions], Source], read: Callable[[int], bytes] | None = None
    ) -> None:
        self._options, self._opens = options, opens
        # the descriptor itself: a thread that waits in sys.stdin's buffer would keep the interpreter from exiting
        self._piece = read or (lambda size: os.read(0, size))

    def items(self) -> Iterator[ImageRef | Source]:
        """See `Source`; a name that does not exist is an image that cannot be read."""
        first = self._begin()
        if first.startswith(_BEGINNINGS) or first[_BOX[0]] == _BOX[1]:
            first = self._whole(first)
            if _is_image(first) or not _is_text(first):
                yield ImageRef(STANDARD_INPUT, self, first)
                return
        for name in self._names(first):
            yield from self._named(name)

    def read(self, name: str, key: Any) -> bytes:
        """See `Source`; the image is its own key."""
        del name
        return key

    def count(self) -> None:
        """Unknown before the end."""
        return

    def _begin(self) -> bytes:
        """Enough bytes to detect the kind of input: a pipe may deliver them one by one."""
        first = b""
        while (len(first) < 32 or not (b"\n" in first or b"\0" in first)) and (piece := self._piece(_PIECE)):
            first += piece
        return first

    def _whole(self, first: bytes) -> bytes:
        pieces, size = [first], len(first)
        while piece := self._piece(_PIECE):
            pieces.append(piece)
            size += len(piece)
            if size > LARGEST_IMAGE:
                raise DataError(f"standard input begins like an image and is larger than {LARGEST_IMAGE >> 20:,} MiB")
        return b"".join(pieces)

    def _names(self, first: bytes) -> Iterator[bytes]:
        """The names between the separators, without empty ones."""
        separator, rest, piece = b"\0" if b"\0" in first else b"\n", b"", first
        while piece:
            *whole, rest = (rest + piece).split(separator)
            yield from (_trimmed(name, separator) for name in whole if _trimmed(name, separator))
            piece = self._piece(_PIECE)
        if _trimmed(rest, separator):
            yield _trimmed(rest, separator)

    def _named(self, name: bytes) -> Iterator[ImageRef | Source]:
        """The images of one name."""
        text = name.decode("utf-8", "replace")
        if text.encode() != name:
            yield ImageRef(text, self, None, "the name is not valid UTF-8: rename it")
        elif text == STANDARD_INPUT:
            yield ImageRef(text, self, None, "standard input cannot name itself")
        else:
            try:
                source = self._opens(text, self._options)
            except DataError as error:
                if text.lower().startswith(URL_BEGINNINGS):
                    raise  # URLs are not allowed: the next one would fail, too
                yield ImageRef(text, self, None, error.message.removeprefix(f"{text}: "))
            else:
                yield from iter_items(source)


def _trimmed(name: bytes, separator: bytes) -> bytes:
    return name.removesuffix(b"\r") if separator == b"\n" else name


def _is_image(content: bytes) -> bool:
    try:
        header(content)
    except ImageError:
        return False
    return True


def _is_text(content: bytes) -> bool:
    """Whether bytes could be names: UTF-8 without control characters except separators."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c in "\n\r\t\0" for c in text[:4096])
