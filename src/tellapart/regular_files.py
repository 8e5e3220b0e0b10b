"""Regular files only, and never without end: the one way to open a path that a folder, a table or a run folder names.

Such a path may lead to a FIFO (opening it waits for a writer), to a device (`/dev/zero` never ends), to a socket, or in a
circle. Opening here never waits, and reading stops at a limit, also where a file grows while it is read.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

from tellapart.errors import DataError

#: Largest table or array file that is read as a whole, in bytes.
LARGEST = 8 << 30
#: Limit of the bytes of one encoded image. A photograph has some millions; a larger file is probably not an image.
LARGEST_IMAGE = 1 << 30
#: Without O_NONBLOCK, opening a FIFO waits; without O_NOCTTY, a terminal could become ours. Windows has neither, nor FIFOs.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
_CHUNK = 1 << 20
_KINDS = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)  # fmt: skip


class IrregularFileError(DataError, OSError):
    """A path is no regular file, or it is larger than the limit; also an OSError, as every other failed reading.

    Args:
        path: The path.
        reason: What it is, such as "is a FIFO, not a regular file".
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{path}: {reason}")

    def __str__(self) -> str:
        return self.message


def open_descriptor(path: str | Path) -> tuple[int, os.stat_result]:
    """Open a regular file for reading: its descriptor, which the caller closes, and its state.

    Raises:
        IrregularFileError: A FIFO, device, socket or folder, or a link that leads in a circle.
        OSError: It is missing, or there is no permission.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise IrregularFileError(path, "is a link that leads in a circle") from None
        if error.errno in (errno.ENXIO, errno.EOPNOTSUPP, errno.ENODEV):  # sockets; devices without a driver
            raise IrregularFileError(path, _irregular(os.stat(path).st_mode) or "cannot be opened") from None  # noqa: PTH116
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise IrregularFileError(path, _irregular(status.st_mode))
    return descriptor, status


def open_file(path: str | Path) -> io.BufferedReader:
    """Open a regular file for reading bytes. Errors as of `open_descriptor`."""
    return os.fdopen(open_descriptor(path)[0], "rb")


def read_bytes(path: str | Path, limit: int = LARGEST) -> bytes:
    """The content of a regular file.

    Args:
        path: The file.
        limit: Maximum number of bytes.

    Raises:
        IrregularFileError: As of `open_descriptor`, or the file is larger than `limit`, or grows beyond it.
        OSError: It cannot be read.
    """
    descriptor, status = open_descriptor(path)
    try:
        size = status.st_size
        if size > limit:
            raise _too_large(path, limit)
        content = os.read(descriptor, size + 1)
        if len(content) == size:
            return content
        return _rest(descriptor, content, path, limit)
    finally:
        os.close(descriptor)


def read_text(path: str | Path, limit: int = LARGEST, encoding: str = "utf-8") -> str:
    """The text of a regular file, line ends as in `Path.read_text`. Errors as of `read_bytes`, and UnicodeDecodeError."""
    return read_bytes(path, limit).decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def require_regular(path: str | Path, limit: int = LARGEST) -> None:
    """Check a path before a library opens it by its name. Errors as of `read_bytes`."""
    descriptor, status = open_descriptor(path)
    os.close(descriptor)
    if status.st_size > limit:
        raise _too_large(path, limit)


def checked(path: Path) -> Path:
    """The path itself, as of `require_regular`."""
    require_regular(path)
    return path


def _rest(descriptor: int, content: bytes, path: str | Path, limit: int) -> bytes:
    """Read on where a file has another size than was stated: it grows, shrank, or a reading gave less than it was asked for."""
    parts, total = [content], len(content)
    while more := os.read(descriptor, _CHUNK):
        parts.append(more)
        total += len(more)
        if total > limit:
            raise _too_large(path, limit)
    return b"".join(parts)


def _too_large(path: str | Path, limit: int) -> IrregularFileError:
    return IrregularFileError(path, f"is larger than {limit >> 20:,} MiB" if limit >> 20 else f"is larger than {limit:,} bytes")


def _irregular(mode: int) -> str:
    kind = next((words for is_kind, words in _KINDS if is_kind(mode)), "")
    return f"is {kind}, not a regular file" if kind else ""
