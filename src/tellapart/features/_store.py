"""Feature vectors on disk: a descriptor computes the vector of an image once, for all recipes, folds, sweeps and processes.

One store holds the vectors of one descriptor, with its options, its fitted arrays, the code that computes it and the versions
of the libraries below it, for images that were decoded in one way. If any of these changes, another store is used. Within a
store, vectors are found by the identity of the image's content. So nothing stale is ever read, and nothing has to be removed.

    <digest>.vectors    header (magic, generation, width), then one row of float32 per image
    <digest>.keys       header (magic, generation), then one 64-bit key per image

Rows are appended under a lock: vectors first, then, once they are on the disk, their keys. Rows without a key do not count, so
a killed process loses at most what it had not flushed. A generation is drawn when a store is made; files whose generations
differ, since one was evicted and made again, hold nothing.
"""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np

from tellapart.data.cache_dir import locked, make_room, permitted
from tellapart.errors import SystemLimitError
from tellapart.features.base import Descriptor
from tellapart.regular_files import open_file, read_bytes

_MAGIC = b"tellapart vectors 1\n"
_GENERATION, _HEADER = 12, 64  # bytes
_PENDING = 32 << 20  # bytes of new vectors that are kept in memory before they are written
_LIBRARIES = ("tellapart", "numpy", "scipy", "numba", "opencv-python-headless", "torch", "torchvision", "timm")
#: Sorted keys (N,) uint64; the row of each, (N,) int64; the mapped rows (N, D) float32.
_Index = tuple[np.ndarray, np.ndarray, np.ndarray]


class VectorStore:
    """The vectors of one descriptor.

    Args:
        folder: Of the cache.
        way: How the images were decoded.
        name: Of the descriptor.
        descriptor: Fitted.

    Attributes:
        failure: Why vectors are no longer stored; None as long as they are.
    """

    def __init__(self, folder: Path, way: str, name: str, descriptor: Descriptor) -> None:
        self.path = folder / f"{_digest(way, name, descriptor)}.vectors"
        self.failure: str | None = None
        self._index: _Index = (np.empty(0, np.uint64), np.empty(0, np.int64), np.empty((0, 0), np.float32))
        self._pending: list[tuple[np.ndarray, np.ndarray]] = []
        self._writing: Future[None] | None = None
        self._open()

    def get(self, keys: np.ndarray, compute: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """The vectors of some images, (B, D) float32.

        Args:
            keys: (B,) uint64, the identities of the images.
            compute: Computes the vectors of some of them: (M,) int64 positions in `keys` → (M, D) float32.
        """
        stored, order, values = self._index
        places = np.searchsorted(stored, keys).clip(max=max(0, len(stored) - 1))
        known = stored[places] == keys if len(stored) else np.zeros(len(keys), bool)
        missing = np.flatnonzero(~known)
        if not len(missing) and len(keys):
            return values[order[places]]
        fresh = compute(missing)
        self._add(keys[missing], fresh)
        if not known.any():
            return fresh
        found = np.empty((len(keys), fresh.shape[1]), np.float32)
        found[known], found[missing] = values[order[places[known]]], fresh
        return found

    def flush(self) -> None:
        """Write the vectors that were computed since the last time. A full disk ends the storing, not the work."""
        self._start_writing()
        self._wait()

    def _add(self, keys: np.ndarray, vectors: np.ndarray) -> None:
        if self.failure or not np.isfinite(vectors).all():
            return
        self._pending.append((keys, np.asarray(vectors, np.float32)))
        if sum(v.nbytes for _, v in self._pending) > _PENDING:
            self._start_writing()

    def _start_writing(self) -> None:
        """Write in a thread: the disk takes longer than the copying, and the next vectors can be computed meanwhile."""
        self._wait()
        pending, self._pending = self._pending, []
        if pending and not self.failure:
            pool = ThreadPoolExecutor(1, "feature vectors")
            self._writing = pool.submit(self._write, pending)
            pool.shutdown(wait=False)

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def _write(self, pending: list[tuple[np.ndarray, np.ndarray]]) -> None:
        """Append them in their order: a table that is read again is then read from one end of the file to the other."""
        keys, vectors = (np.concatenate(parts) for parts in zip(*pending, strict=True))
        first = np.sort(np.unique(keys, return_index=True)[1])
        try:
            with permitted(self.path.parent), locked(self.path):
                generation, stored = self._read()
                new = first[~np.isin(keys[first], stored)]
                if len(new) < len(keys):
                    keys, vectors = keys[new], vectors[new]
                self._append(generation, len(stored), keys, vectors)
        except SystemLimitError as error:
            self.failure = str(error)
            return
        self._open()

    def _open(self) -> None:
        """Map what is stored, and mark it as just used."""
        try:
            with permitted(self.path.parent), locked(self.path):
                _, keys = self._read()
                if not len(keys):
                    return
                os.utime(self.path)
                width = self._width()
                values = np.memmap(self.path, "<f4", "r", _HEADER, (len(keys), width))
        except SystemLimitError as error:
            self.failure = str(error)
            return
        order = np.argsort(keys, kind="stable")
        self._index = keys[order], order, values

    def _read(self) -> tuple[bytes, np.ndarray]:
        """The generation and the keys of the rows that count; b"" and none if the files are not there or do not fit."""
        try:
            with open_file(self.path) as vectors, open_file(self._keys_path) as keys:
                head, other = vectors.read(_HEADER), keys.read(_HEADER)
                size = os.fstat(vectors.fileno()).st_size - _HEADER
                generation = head[len(_MAGIC) : len(_MAGIC) + _GENERATION]
                if len(head) < _HEADER or not head.startswith(_MAGIC) or not other.startswith(_MAGIC + generation):
                    return b"", np.empty(0, np.uint64)
                content = keys.read()
        except FileNotFoundError:
            return b"", np.empty(0, np.uint64)
        rows = min(len(content) // 8, size // (4 * max(1, self._width())))
        return generation, np.frombuffer(content, "<u8", rows).copy()

    def _append(self, generation: bytes, count: int, keys: np.ndarray, vectors: np.ndarray) -> None:
        """Add rows after the first `count` ones. The caller holds the lock."""
        width = vectors.shape[1]
        if not generation:
            generation, count = os.urandom(_GENERATION), 0
            for path in (self.path, self._keys_path):
                path.write_bytes((_MAGIC + generation + width.to_bytes(8, "little")).ljust(_HEADER, b"\0"))
        start = _HEADER + count * width * 4
        make_room(self.path.parent, start + vectors.nbytes, self.path, written=start)
        for path, place, content in ((self.path, start, vectors), (self._keys_path, _HEADER + count * 8, keys)):
            with path.open("r+b") as file:
                file.truncate(place)
                file.seek(place)
                file.write(np.ascontiguousarray(content).data)
                file.flush()
                os.fsync(file.fileno())

    def _width(self) -> int:
        with open_file(self.path) as file:
            file.seek(len(_MAGIC) + _GENERATION)
            return int.from_bytes(file.read(8), "little")

    @property
    def _keys_path(self) -> Path:
        return self.path.with_suffix(".keys")


def _digest(way: str, name: str, descriptor: Descriptor) -> str:
    digest = hashlib.blake2b(f"{way}\n{name}\n{descriptor.options.model_dump_json()}\n".encode(), digest_size=12)
    digest.update(_code(type(descriptor)))
    for key, array in sorted(descriptor.arrays.items()):
        digest.update(f"{key} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


@cache
def _code(kind: type[Descriptor]) -> bytes:
    """Digest of the code of all descriptors and nets, of the file of this one, and of the versions of the libraries below."""
    digest = hashlib.blake2b(repr([_version(name) for name in _LIBRARIES]).encode(), digest_size=16)
    package = Path(__file__).parents[1]
    for path in sorted({*package.glob("features/*.py"), *package.glob("nets/*.py"), Path(inspect.getfile(kind))}):
        digest.update(read_bytes(path))
    return digest.digest()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
