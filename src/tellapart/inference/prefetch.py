"""Reads ahead: while one portion of images is being answered, the next is read from disk.

Portions are cut by number and bytes of the images alone, never by how fast they came, so the same images always make the same
portions. At most three are in memory: the one being answered, one that waits, and one that is being read.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import numpy as np

from tellapart.errors import ImageError
from tellapart.inference.image_sources.base import ImageRef, Source

Content = bytes | np.ndarray | ImageError
_READERS, _UNDER_WAY, _TOGETHER = 4, 5, 4  # threads; pieces of work that they have before them; images of each
_LOOK = 0.1  # seconds between two looks at whether anyone still wants more


@dataclass(frozen=True)
class BatchLimit:
    """When a portion is full: whichever comes first.

    Attributes:
        images: So many.
        bytes: So many bytes of encoded images.
    """

    images: int
    bytes: int


@dataclass(frozen=True, eq=False)
class Batch:
    """Images that are answered together.

    Attributes:
        names: N.
        contents: N: an encoded file, bare pixels, or why it could not be read.
    """

    names: list[str]
    contents: list[Content]


@contextmanager
def prefetch(items: Iterable[ImageRef | Source], size: BatchLimit) -> Iterator[Iterator[Batch]]:
    """Portions of some images, read ahead; whatever ends the block ends the reading.

    Args:
        items: In the order of the answers. Another thread takes them.
        size: Of a portion.

    Raises:
        TellapartError: What `items` raises, when it is its turn.
    """
    ready: queue.Queue[Batch | BaseException | None] = queue.Queue(1)
    stop = threading.Event()
    reader = threading.Thread(target=_work, args=(items, size, ready, stop), name="reading ahead", daemon=True)
    reader.start()
    try:
        yield _taken(ready)
    finally:
        stop.set()
        reader.join(1)  # one that waits for standard input is left behind


def _taken(ready: queue.Queue[Batch | BaseException | None]) -> Iterator[Batch]:
    while (one := ready.get()) is not None:
        if isinstance(one, BaseException):
            raise one
        yield one


def _work(items: Iterable[ImageRef | Source], size: BatchLimit, ready: queue.Queue, stop: threading.Event) -> None:
    """What the reading thread does."""
    try:
        for portion in _cut(_read(items), size):
            if not _hand_over(portion, ready, stop):
                return
    except BaseException as error:  # it is raised where the portions are taken
        _hand_over(error, ready, stop)
    else:
        _hand_over(None, ready, stop)


def _hand_over(one: Batch | BaseException | None, ready: queue.Queue, stop: threading.Event) -> bool:
    """Whether it was wanted."""
    while not stop.is_set():
        try:
            ready.put(one, timeout=_LOOK)
        except queue.Full:
            continue
        return True
    return False


def _cut(read: Iterator[tuple[str, Content]], size: BatchLimit) -> Iterator[Batch]:
    names: list[str] = []
    contents: list[Content] = []
    held = 0
    for name, content in read:
        names.append(name)
        contents.append(content)
        held += 0 if isinstance(content, ImageError) else len(content) if isinstance(content, bytes) else content.nbytes
        if len(names) >= size.images or held >= size.bytes:
            yield Batch(names, contents)
            names, contents, held = [], [], 0
    if names:
        yield Batch(names, contents)


def _read(items: Iterable[ImageRef | Source]) -> Iterator[tuple[str, Content]]:
    """Names and contents in order; a few are being read while the first of them is waited for."""
    under_way: deque[_Few | Source] = deque()
    pool = ThreadPoolExecutor(_READERS, thread_name_prefix="reading")
    try:
        failure: list[Exception] = []
        for some in _together(items, failure):
            under_way.append(some if isinstance(some, Source) else _Few(some, pool))
            while len(under_way) > _UNDER_WAY:
                yield from _next(under_way)
        while under_way:
            yield from _next(under_way)
        if failure:
            raise failure[0]  # in its turn: what stood before it is answered
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _together(items: Iterable[ImageRef | Source], failure: list[Exception]) -> Iterator[list[ImageRef] | Source]:
    """Images in small lists, and sources; what ends them early is put into `failure`."""
    few: list[ImageRef] = []
    try:
        for item in items:
            if isinstance(item, ImageRef):
                few.append(item)
            if few and (isinstance(item, Source) or len(few) == _TOGETHER):
                yield few
                few = []
            if isinstance(item, Source):
                yield item
    except Exception as error:  # whatever the source had to say
        failure.append(error)
    if few:
        yield few


class _Few:
    """Images that one thread reads one after the other: to hand over each alone costs more than to read it (0.07 ms)."""

    def __init__(self, items: list[ImageRef], pool: ThreadPoolExecutor) -> None:
        self.items = items
        self.contents: Future[list[Content]] = pool.submit(lambda: [_content(item) for item in items])


def _next(under_way: deque[_Few | Source]) -> Iterator[tuple[str, Content]]:
    first = under_way.popleft()
    if isinstance(first, Source):
        first.close()  # all that came from it stood before it
    else:
        yield from zip((item.name for item in first.items), first.contents.result(), strict=True)


def _content(item: ImageRef) -> Content:
    try:
        return item.read()
    except ImageError as error:
        return error


# --- which names came before, in 16 bytes a name ----------------------------------------------------------------------


_FRESH = 2**16  # names kept as a set before they are sorted into arrays


@final
class SeenNames:
    """Names that came before; two of them are taken for one with a probability of 2⁻⁸² at ten million.

    Attributes:
        twice: How often a name came that was no longer new.
    """

    def __init__(self) -> None:
        self.twice = 0
        self._fresh: set[bytes] = set()
        self._sorted: list[np.ndarray] = []  # (2, N) uint64, by the first half; each at least twice as long as the next

    def add(self, name: str) -> bool:
        """Whether a name is new; from now on it is not."""
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if digest in self._fresh or any(_holds(halves, digest) for halves in self._sorted):
            self.twice += 1
            return False
        self._fresh.add(digest)
        if len(self._fresh) >= _FRESH:
            self._sort()
        return True

    def _sort(self) -> None:
        made = _by_first(np.frombuffer(b"".join(self._fresh), np.uint64).reshape(-1, 2).T)
        self._fresh.clear()
        while self._sorted and self._sorted[-1].shape[1] < 2 * made.shape[1]:
            made = _by_first(np.concatenate([self._sorted.pop(), made], axis=1))
        self._sorted.append(made)


def _by_first(halves: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(halves[:, np.argsort(halves[0], kind="stable")])


def _holds(halves: np.ndarray, digest: bytes) -> bool:
    first, second = np.frombuffer(digest, np.uint64)
    low, high = (int(np.searchsorted(halves[0], first, side)) for side in ("left", "right"))
    return bool((halves[1, low:high] == second).any())
