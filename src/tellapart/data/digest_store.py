"""Digests of files that were read before, so that an unchanged file is not read again: `digests.sqlite` in the cache folder.

A key stands for one file in one state: its path, size, times of modification and of change, and inode (`FileState`). A file
that was rewritten, or exchanged for another one with its time kept, has another time of change or another inode and so
another key; its old key is never asked for again. Keys that nobody asks for any more are dropped, the oldest first.

SQLite makes each write atomic and keeps parallel processes apart. The store only spares work: where it cannot be read or
written, every file is read, and the result is the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

from tellapart.data.cache_dir import DIGESTS, default_folder

LIMIT = 2_000_000  # digests kept: about 150 MB
#: A file that was changed this shortly before it was read could be changed once more without any of its times showing it:
#: file systems count time in ticks of up to 2 s (FAT). Its digest is not kept.
SETTLED_NS = 2_000_000_000
_WAIT = 5.0  # seconds for another process that writes
_DIGEST_BYTES = 16
_T = TypeVar("_T")


class FileState(NamedTuple):
    """What the file system tells about a file without reading it."""

    size: int
    modified: int  # ns
    changed: int  # ns: time of the last change of content, name or metadata; no program can set it
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """The state in the result of `stat`."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    def is_settled(self, now: int) -> bool:
        """Whether a later change would show in the times. `now`: ns since the epoch, when the reading began."""
        return max(self.modified, self.changed) + SETTLED_NS < now


def state_key(path: str, state: FileState, inside: str = "") -> bytes:
    """The key of a file in one state: 16 bytes.

    Args:
        path: Absolute path on the disk.
        state: Its state.
        inside: The member or row of the file that the digest is of; "" for the file itself.
    """
    text = f"{tuple(state)}\0{path}\0{inside}".encode("utf-8", "surrogatepass")  # a time may exceed 64 bits of ns
    return hashlib.blake2b(text, digest_size=_DIGEST_BYTES).digest()


class DigestStore:
    """The stored digests.

    Args:
        folder: The cache folder; None: the usual one.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.path = (folder or default_folder()) / DIGESTS

    def find(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The digest of each key, None where none is stored."""

        def look(database: sqlite3.Connection) -> list[bytes | None]:
            rows = [database.execute("SELECT digest FROM files WHERE key = ?", (key,)).fetchone() for key in keys]
            return [row[0] if row is not None and len(row[0]) == _DIGEST_BYTES else None for row in rows]

        return (self._done(look) if self.path.exists() else None) or [None] * len(keys)

    def add(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Store digests by key; beyond `LIMIT` the oldest are dropped."""

        def write(database: sqlite3.Connection) -> None:
            database.execute("CREATE TABLE IF NOT EXISTS files (key BLOB UNIQUE NOT NULL, digest BLOB NOT NULL)")
            database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?)", pairs)
            database.execute("DELETE FROM files WHERE rowid <= (SELECT max(rowid) FROM files) - ?", (LIMIT,))

        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self._done(write)

    def _done(self, work: Callable[[sqlite3.Connection], _T]) -> _T | None:
        """The result of one transaction; None where the store is damaged, locked or read-only, or the disk is full."""
        try:
            with closing(sqlite3.connect(self.path, timeout=_WAIT)) as database, database:
                return work(database)
        except sqlite3.OperationalError:  # locked, read-only, full, no such table
            return None
        except sqlite3.DatabaseError:  # not a database, or a damaged one
            with contextlib.suppress(OSError):
                self.path.unlink()
            return None
