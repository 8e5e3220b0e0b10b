"""Read images in batches, ahead of the prediction: while one batch is predicted, the next is read from disk.

Batches depend on the number and bytes of the images alone, never on how fast they arrive, so the same images always make the
same batches. At most three are in memory: the one being predicted, one that waits, and one that is being read.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from tellapart.errors import ImageError
from tellapart.inference.image_sources.base import ImageRef, Source

Content = bytes | np.ndarray | ImageError
_READERS, _PENDING, _CHUNK = 4, 5, 4  # threads; chunks that are being read or wait for it; images of each chunk
_POLL = 0.1  # seconds between two checks whether the consumer has stopped


@dataclass(frozen=True)
class BatchLimit:
    """Maximum size of a batch; the limit that is reached first applies.

    Attributes:
        images: Number of images.
        bytes: Bytes of the images as they were read (encoded, or bare pixels).
    """

    images: int
    bytes: int


@dataclass(frozen=True, eq=False)
class Batch:
    """Images that are predicted together.

    Attributes:
        names: N.
        contents: N: an encoded file, (H, W) uint8 pixels, or why the image could not be read.
    """

    names: list[str]
    contents: list[Content]


@contextmanager
def prefetch(items: Iterable[ImageRef | Source], limit: BatchLimit) -> Iterator[Iterator[Batch]]:
    """Batches of images, read ahead in other threads. Leaving the block, for any reason, stops the reading.

    Args:
        items: The images, in order, and sources to close; another thread iterates over them.
        limit: Size of a batch.

    Raises:
        TellapartError: Errors of `items`, after the batches of the preceding images.
    """
    ready: queue.Queue[Batch | BaseException | None] = queue.Queue(1)
    stop = threading.Event()
    reader = threading.Thread(target=_read_batches, args=(items, limit, ready, stop), name="reading ahead", daemon=True)
    reader.start()
    try:
        yield _received(ready)
    finally:
        stop.set()
        reader.join(1)  # a thread that waits for standard input cannot be stopped: it is a daemon


def _received(ready: queue.Queue[Batch | BaseException | None]) -> Iterator[Batch]:
    while (one := ready.get()) is not None:
        if isinstance(one, BaseException):
            raise one
        yield one


def _read_batches(items: Iterable[ImageRef | Source], limit: BatchLimit, ready: queue.Queue, stop: threading.Event) -> None:
    """The work of the reading thread: batches, then the error that ended them, or None."""
    try:
        for batch in _batches(_read(items), limit):
            if not _hand_over(batch, ready, stop):
                return
    except BaseException as error:  # raised again by the consumer
        _hand_over(error, ready, stop)
    else:
        _hand_over(None, ready, stop)


def _hand_over(one: Batch | BaseException | None, ready: queue.Queue, stop: threading.Event) -> bool:
    """Put an object into the queue; False once the consumer has stopped."""
    while not stop.is_set():
        try:
            ready.put(one, timeout=_POLL)
        except queue.Full:
            continue
        return True
    return False


def _batches(read: Iterator[tuple[str, Content]], limit: BatchLimit) -> Iterator[Batch]:
    names: list[str] = []
    contents: list[Content] = []
    held = 0
    for name, content in read:
        names.append(name)
        contents.append(content)
        held += 0 if isinstance(content, ImageError) else len(content) if isinstance(content, bytes) else content.nbytes
        if len(names) >= limit.images or held >= limit.bytes:
            yield Batch(names, contents)
            names, contents, held = [], [], 0
    if names:
        yield Batch(names, contents)


def _read(items: Iterable[ImageRef | Source]) -> Iterator[tuple[str, Content]]:
    """Names and contents in order; several chunks are read at the same time."""
    pending: deque[_Chunk | Source] = deque()
    pool = ThreadPoolExecutor(_READERS, thread_name_prefix="reading")
    try:
        failure: list[Exception] = []
        for chunk in _chunks(items, failure):
            pending.append(chunk if isinstance(chunk, Source) else _Chunk(chunk, pool))
            while len(pending) > _PENDING:
                yield from _next(pending)
        while pending:
            yield from _next(pending)
        if failure:
            raise failure[0]  # after the images that came before it
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _chunks(items: Iterable[ImageRef | Source], failure: list[Exception]) -> Iterator[list[ImageRef] | Source]:
    """Images in small lists, and sources to close; an error of `items` is appended to `failure`."""
    chunk: list[ImageRef] = []
    try:
        for item in items:
            if isinstance(item, ImageRef):
                chunk.append(item)
            if chunk and (isinstance(item, Source) or len(chunk) == _CHUNK):
                yield chunk
                chunk = []
            if isinstance(item, Source):
                yield item
    except Exception as error:  # raised again after the images that came before it
        failure.append(error)
    if chunk:
        yield chunk


class _Chunk:
    """Images that one thread reads one after the other: handing over each alone costs more than reading it (0.07 ms)."""

    def __init__(self, items: list[ImageRef], pool: ThreadPoolExecutor) -> None:
        self.items = items
        self.contents: Future[list[Content]] = pool.submit(lambda: [_content(item) for item in items])


def _next(pending: deque[_Chunk | Source]) -> Iterator[tuple[str, Content]]:
    first = pending.popleft()
    if isinstance(first, Source):
        first.close()  # all its images came before it
    else:
        yield from zip((item.name for item in first.items), first.contents.result(), strict=True)


def _content(item: ImageRef) -> Content:
    try:
        return item.read()
    except ImageError as error:
        return error
