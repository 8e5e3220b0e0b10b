"""Compressed tars, unpacked once into the cache as plain tars, which can be read in any order.

The name in the cache is a digest of the compressed file, so that a copy, a download of the same file and a touched file share
one entry. `.gz`, `.bz2` and `.xz` are read with the standard library, `.zst` with pyarrow.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from tellapart.data.cache_dir import default_folder, locked, make_room, permitted
from tellapart.data.digest_store import FileState
from tellapart.data.file_kinds import BZIP2, GZIP, XZ, ZSTD, FileKind
from tellapart.errors import DataError
from tellapart.io import atomic_path
from tellapart.regular_files import open_file

_CHUNK = 16 << 20  # bytes unpacked at a time; for each of them the cache is asked for room


def unpacked_tar(path: str, kind: FileKind) -> str:
    """The path of the plain tar in the cache; it is made on first use.

    Args:
        path: A compressed tar.
        kind: How it is compressed: `GZIP`, `BZIP2`, `XZ` or `ZSTD`.

    Raises:
        DataError: The file is damaged or ends early.
        SystemLimitError: The cache cannot hold the tar.
        OSError: The file cannot be read.
    """
    target = default_folder() / f"{_digest(path, FileState.of(Path(path).stat()))}.tar"
    with permitted(target.parent), locked(target):
        if not target.exists():
            _unpack(path, kind, target)
        os.utime(target)  # the entries that were not used for longest are removed first
    return str(target)


@lru_cache(maxsize=16)
def _digest(path: str, state: FileState) -> str:
    """Digest of the content; `state` is there so that a changed file is read again."""
    del state
    with open_file(path) as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _unpack(path: str, kind: FileKind, target: Path) -> None:
    written = 0
    make_room(target.parent, Path(path).stat().st_size, target)
    with atomic_path(target, durable=True) as temporary, _open(path, kind) as source, temporary.open("wb") as file:
        while chunk := _read(source, path):
            make_room(target.parent, written + len(chunk), target, written=written)
            written += file.write(chunk)


def _read(source: BinaryIO, path: str) -> bytes:
    try:
        return source.read(_CHUNK)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path}: cannot be unpacked ({error})", hint="is the download complete?") from error


def _open(path: str, kind: FileKind) -> BinaryIO:
    readers: dict[FileKind, Callable[[str], BinaryIO]] = {GZIP: gzip.open, BZIP2: bz2.open, XZ: lzma.open, ZSTD: _open_zstd}  # pyright: ignore[reportAssignmentType]
    return readers[kind](path)


def _open_zstd(path: str) -> BinaryIO:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.OSFile(path), "zstd")  # pyright: ignore[reportReturnType]
