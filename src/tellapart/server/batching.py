"""Dynamic batching: images that wait at the same time are predicted in one batch.

Each run has one thread for prediction. While it works, images wait in a queue; when it is free, it takes all waiting images up
to the batch size. So a single request is never delayed to fill a batch, and batches grow with the load. Slower work (heatmaps,
nearest images, stability) has a thread of its own, so that it does not delay predictions.

The queues are bounded in images and in bytes. A request that does not fit is refused at once.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from tellapart.inference.predictor import BatchOutput

_BYTES = 256_000_000  # of images waiting for one run
_NICE = 10  # priority of slow work
T = TypeVar("T")
#: An encoded file; or (H, W) or (H, W, 3) uint8 pixels.
Content = bytes | np.ndarray
PredictBatch = Callable[[Sequence[Content], Sequence[str]], BatchOutput]
#: Called between two steps of slow work; raises `Abandoned` if nobody waits for the result.
Step = Callable[[], None]


@dataclass(frozen=True, eq=False)
class Answer:
    """What a run predicts for one image.

    Attributes:
        proba: (C,) float32.
        face_found: Whether a face was found; None if the run does not read faces.
    """

    proba: np.ndarray
    face_found: bool | None = None


#: For one image: the answer, or the reason why it cannot be read.
AnswerOrReason = Answer | str


class QueueFull(Exception):
    """The queue is full, or the server is shutting down."""


class Abandoned(Exception):
    """The request has ended, and its work with it."""


class Stopwatch:
    """How long a thread has worked on its current item."""

    def __init__(self) -> None:
        self._since: float | None = None

    def start(self) -> None:
        """An item begins."""
        self._since = time.monotonic()

    def stop(self) -> None:
        """It has ended."""
        self._since = None

    def seconds(self, now: float) -> float:
        """Seconds since the item began, at the time `now` of the monotonic clock; 0 without an item."""
        since = self._since
        return 0.0 if since is None else now - since


@dataclass(frozen=True, eq=False)
class _Request:
    contents: tuple[Content, ...]
    result: Future[list[AnswerOrReason]]


class Batcher:
    """Predicts with one run, in one thread.

    Args:
        predict_batch: Images and their names → predictions.
        name: Name of the run, used for the thread.
        batch_size: Maximum number of images in a batch.
        waiting: Maximum number of images in the queue.
        on_batch: Called after each batch with the number of images, and how many of them could not be read.
    """

    def __init__(
        self, predict_batch: PredictBatch, name: str, batch_size: int, waiting: int, on_batch: Callable[[int, int], None]
    ) -> None:
        self._predict_batch, self._batch_size, self._limit, self._on_batch = predict_batch, batch_size, waiting, on_batch
        self._queue: deque[_Request] = deque()
        self._changed, self._closed = threading.Condition(), False
        self.stopwatch = Stopwatch()
        self._thread = threading.Thread(target=self._work, name=f"predict {name}", daemon=True)
        self._thread.start()

    async def predict(self, contents: Sequence[Content]) -> list[AnswerOrReason]:
        """Predict images. If the caller is canceled, its images leave the queue.

        Raises:
            QueueFull: The images do not fit into the queue.
        """
        return await asyncio.wrap_future(self.submit(contents))

    def submit(self, contents: Sequence[Content]) -> Future[list[AnswerOrReason]]:
        """Put images into the queue.

        Raises:
            QueueFull: The images do not fit into the queue.
        """
        request = _Request(tuple(contents), Future())
        with self._changed:
            queue = [*self._queue, request]
            too_many = sum(len(one.contents) for one in queue) > self._limit
            if self._closed or too_many or sum(_size(c) for one in queue for c in one.contents) > _BYTES:
                raise QueueFull
            self._queue.append(request)
            self._changed.notify()
        return request.result

    @property
    def waiting(self) -> int:
        """Number of images in the queue."""
        with self._changed:
            return sum(len(one.contents) for one in self._queue)

    @property
    def alive(self) -> bool:
        """Whether the thread is running."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Predict the images in the queue, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if not self._queue:
                    return
                batch = self._take()
            self._answer([one for one in batch if one.result.set_running_or_notify_cancel()])

    def _take(self) -> list[_Request]:
        """The next whole requests that fit into a batch; at least one."""
        batch = [self._queue.popleft()]
        count = len(batch[0].contents)
        while self._queue and count + len(self._queue[0].contents) <= self._batch_size:
            batch.append(self._queue.popleft())
            count += len(batch[-1].contents)
        return batch

    def _answer(self, batch: list[_Request]) -> None:
        if not batch:
            return
        try:
            results = self._predict([content for one in batch for content in one.contents])
        except Exception as error:  # any error belongs to the request that caused it; the thread must survive
            if len(batch) == 1:
                batch[0].result.set_exception(error)
                return
            for one in batch:  # one by one, so that no request fails because of another
                self._answer([one])
            return
        for one in batch:
            one.result.set_result(results[: len(one.contents)])
            results = results[len(one.contents) :]

    def _predict(self, contents: list[Content]) -> list[AnswerOrReason]:
        self.stopwatch.start()
        try:
            output = self._predict_batch(contents, [str(index) for index in range(len(contents))])
        finally:
            self.stopwatch.stop()
        results: list[AnswerOrReason] = ["cannot be read"] * len(contents)
        faces = [None] * len(output.rows) if output.face_found is None else output.face_found.tolist()
        for row, proba, face_found in zip(output.rows, output.proba, faces, strict=True):
            results[row] = Answer(proba, face_found)
        for problem in output.problems:
            results[int(problem.where)] = problem.message
        self._on_batch(len(contents), len(output.problems))
        return results


def _size(content: Content) -> int:
    return content.nbytes if isinstance(content, np.ndarray) else len(content)


class BackgroundWorker:
    """One thread for slow work, with a bounded queue. It has a lower priority than predictions, where the system can do that.

    Args:
        name: Name of the run, used for the thread.
        waiting: Maximum number of tasks, the running one included.
    """

    def __init__(self, name: str, waiting: int = 8) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"work {name}", initializer=_lower_priority)
        self._room = threading.BoundedSemaphore(waiting)
        self.stopwatch = Stopwatch()

    async def run(self, work: Callable[[Step], T]) -> T:
        """Run a task and wait for its result.

        A task that is canceled in the queue is not started; one that is running ends when it calls its `Step` next.

        Raises:
            QueueFull: Too many tasks are waiting.
        """
        if not self._room.acquire(blocking=False):
            raise QueueFull
        gone = threading.Event()
        try:
            future = self._pool.submit(self._timed, work, gone)
        except RuntimeError:
            self._room.release()
            raise QueueFull from None
        future.add_done_callback(lambda _: self._room.release())
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            gone.set()
            raise

    def _timed(self, work: Callable[[Step], T], gone: threading.Event) -> T:
        def step() -> None:
            if gone.is_set():
                raise Abandoned

        self.stopwatch.start()
        try:
            return work(step)
        finally:
            self.stopwatch.stop()

    def submit(self, work: Callable[[], object]) -> None:
        """Run a task without waiting for it."""
        self._pool.submit(work)

    def close(self) -> None:
        """End the thread after the running task; drop the queue."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _lower_priority() -> None:
    if sys.platform == "linux":  # elsewhere priorities belong to processes
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
