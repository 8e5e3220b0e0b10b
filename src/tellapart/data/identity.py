"""The identity of images: a digest of the content of each, whatever its name, place, time or container.

Of a loose file, a member of an archive and a row of a parquet table, the digest is that of the encoded bytes; of bare pixels
(IDX, arrays in memory), that of their shape and values. So a file keeps its identity when it is touched, copied, moved or
zipped, and loses it with the first changed byte.

A file is read once: its digest is kept together with the state in which the file was (`digest_store`), and found again while
size, times and inode are the same. `verify_files` trusts none of these and reads everything.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pandas as pd

from tellapart.data.digest_store import DigestStore, FileState, state_key
from tellapart.data.locator import parse_locator
from tellapart.data.reader import ImageReader
from tellapart.errors import ImageError
from tellapart.progress import SILENT, Progress, Task
from tellapart.types import ImageTable

_T = TypeVar("_T")
_R = TypeVar("_R")
_CHUNK = 256  # files one thread takes at a time
_THREADS = 8  # reading waits for the disk, so more than there are cores


def digest_of(content: bytes | np.ndarray) -> str:
    """The digest of one image: 32 hex digits (BLAKE2b, 128 bits). `content`: encoded bytes, or pixels as an array.

    >>> digest_of(b"") == digest_of(np.zeros(0, np.uint8))
    False
    """
    if isinstance(content, np.ndarray):
        digest = hashlib.blake2b(repr(content.shape).encode(), digest_size=16)
        digest.update(np.ascontiguousarray(content).data)
        return digest.hexdigest()
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def identify(table: ImageTable, progress: Progress = SILENT, *, verify_files: bool = False) -> ImageTable:
    """Read the content of images: the table with the column `digest`, "" where an image cannot be read.

    A table that has the column is returned as it is, unless files are to be verified.

    Args:
        table: Any table.
        progress: Where reading is reported.
        verify_files: Read every file, also those that seem unchanged since they were read.
    """
    if "digest" in table.frame and not verify_files:
        return table
    number, locators = pd.factorize(table.paths)
    found = np.array(_digests(table, locators.tolist(), progress, verify_files), dtype=object)
    return replace(table, frame=table.frame.assign(digest=found[number] if len(table) else np.zeros(0, dtype=object)))


def current_digests(table: ImageTable, progress: Progress = SILENT, *, verify_files: bool = False) -> np.ndarray:
    """Digests of the files as they are now, whatever the table holds: (N,) object (str). Arguments as of `identify`."""
    frame = table.frame.drop(columns="digest", errors="ignore")
    return identify(replace(table, frame=frame), progress, verify_files=verify_files).digests


def _digests(table: ImageTable, locators: list[str], progress: Progress, verify_files: bool) -> list[str]:
    """The digest of each locator, "" where it cannot be read."""
    on_disk = table.memory is None or not len(table.memory)
    store, files = DigestStore(), _Files(table.root, locators if on_disk else [])
    began, states = time.time_ns(), files.states()
    keys = files.keys(states)
    known = store.find([key for key in keys if key]) if not verify_files else []
    stored = dict(zip([key for key in keys if key], known, strict=False))
    found = ["" if (digest := stored.get(key)) is None else digest.hex() for key in keys] or [""] * len(locators)
    missing = [place for place, digest in enumerate(found) if not digest]
    if not missing:
        return found
    with ImageReader(table) as reader, progress.task("identifying images", len(missing), "img") as task:
        for place, digest in zip(missing, _parallel(lambda at: _read(reader, locators[at]), missing, task), strict=True):
            found[place] = digest
    after = files.states()
    sure = [
        before == now and before is not None and before.is_settled(began) for before, now in zip(states, after, strict=True)
    ]
    if any(sure):
        store.add((keys[at], bytes.fromhex(found[at])) for at in missing if sure[files.number[at]] and found[at])
    return found


class _Files:
    """The files on the disk in which locators lie: one each for loose files, one for all members of an archive.

    Args:
        root: The folder that locators are relative to.
        locators: M locators.
    """

    def __init__(self, root: str, locators: list[str]) -> None:
        places = [(text, "") if "#" not in text and "::" not in text else _container(text) for text in locators]
        numbers: dict[str, int] = {}
        self.number = [numbers.setdefault(file, len(numbers)) for file, _ in places]
        self.inside = [inside for _, inside in places]
        self.paths = [f"{root}/{file}" for file in numbers]

    def states(self) -> list[FileState | None]:
        """The state of each file now; None where there is none."""
        return list(_parallel(_state, self.paths))

    def keys(self, states: list[FileState | None]) -> list[bytes]:
        """The key of each locator, b"" where its file is gone."""
        of = [(self.paths[number], states[number], inside) for number, inside in zip(self.number, self.inside, strict=True)]
        return [b"" if state is None else state_key(path, state, inside) for path, state, inside in of]


def _container(locator: str) -> tuple[str, str]:
    """The file on the disk, and what lies in it."""
    archive, file, row = parse_locator(locator)
    inside = "" if row is None else f"#{row}"
    return (archive, f"{file}{inside}") if archive else (file, inside)


def _state(path: str) -> FileState | None:
    try:
        return FileState.of(os.stat(path))  # noqa: PTH116 (a Path here costs more than the call)
    except OSError:
        return None


def _read(reader: ImageReader, locator: str) -> str:
    with contextlib.suppress(ImageError):  # named when the images are decoded
        return digest_of(reader.get(locator))
    return ""


def _parallel(work: Callable[[_T], _R], items: Sequence[_T], task: Task | None = None) -> Iterator[_R]:
    """`map` over threads, a chunk at a time: one call a file would cost as much as reading it."""
    chunks = [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
    with ThreadPoolExecutor(_THREADS) as pool:
        for done in pool.map(lambda chunk: [work(item) for item in chunk], chunks):
            if task is not None:
                task.advance(len(done))
            yield from done
