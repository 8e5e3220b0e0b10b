"""Requests that arrive together are asked about together.

Each run has one thread that asks it, since one thread at a time may. While it is at work, images wait; when it comes back, it
takes all that wait, up to a batch. So a lone request never waits for company, and under load batches grow by themselves. What
takes longer (maps, neighbors, deliveries) has a thread of its own, so that verdicts do not stand behind it.

The queues are bounded, in images and in bytes. What does not fit is refused at once: better an honest "come back" than a queue
that nobody outlives.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from tellapart.inference.predictor import BatchOutput

_BYTES = 256_000_000  # that wait for one run, encoded
T = TypeVar("T")
#: Of one image: (C,) float32 probabilities, or why it cannot be read.
Said = np.ndarray | str
Ask = Callable[[Sequence[bytes], Sequence[str]], BatchOutput]


class QueueFull(Exception):
    """The queue is full, or the server is closing."""


@dataclass(frozen=True, eq=False)
class _Asked:
    contents: tuple[bytes, ...]
    answer: Future[list[Said]]


class Batcher:
    """Asks one run, in one thread.

    Args:
        ask: Encoded images and their names → what the run says.
        name: Of the run, for the thread.
        most: Images asked about together.
        waiting: Images that may wait.
        told: Called after each batch with how many images there were, and how many could not be read.
    """

    def __init__(self, ask: Ask, name: str, most: int, waiting: int, told: Callable[[int, int], None]) -> None:
        self._ask, self._most, self._room, self._told = ask, most, waiting, told
        self._queue: deque[_Asked] = deque()
        self._changed, self._closed = threading.Condition(), False
        self._thread = threading.Thread(target=self._work, name=f"ask {name}", daemon=True)
        self._thread.start()

    async def predict(self, contents: Sequence[bytes]) -> list[Said]:
        """Wait for the answers to some images. A caller that is canceled takes its images out of the queue.

        Raises:
            Full: There is no room for them.
        """
        return await asyncio.wrap_future(self.submit(contents))

    def submit(self, contents: Sequence[bytes]) -> Future[list[Said]]:
        """Put images into the queue.

        Raises:
            Full: There is no room for them.
        """
        asked = _Asked(tuple(contents), Future())
        with self._changed:
            held = [*self._queue, asked]
            too_many = sum(len(one.contents) for one in held) > self._room
            if self._closed or too_many or sum(len(c) for one in held for c in one.contents) > _BYTES:
                raise QueueFull
            self._queue.append(asked)
            self._changed.notify()
        return asked.answer

    @property
    def waiting(self) -> int:
        """Images in the queue."""
        with self._changed:
            return sum(len(one.contents) for one in self._queue)

    @property
    def alive(self) -> bool:
        """Whether its thread is at work or waits for some."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Answer what waits, then end the thread."""
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
                portion = self._take()
            self._answer([one for one in portion if one.answer.set_running_or_notify_cancel()])

    def _take(self) -> list[_Asked]:
        """The next requests, whole, as many as fit into a batch; one at least."""
        portion, count = [self._queue.popleft()], 0
        count = len(portion[0].contents)
        while self._queue and count + len(self._queue[0].contents) <= self._most:
            portion.append(self._queue.popleft())
            count += len(portion[-1].contents)
        return portion

    def _answer(self, portion: list[_Asked]) -> None:
        if not portion:
            return
        try:
            said = self._said([content for one in portion for content in one.contents])
        except Exception as error:  # whatever it is, it belongs to who asked, and the thread lives on
            if len(portion) == 1:
                portion[0].answer.set_exception(error)
                return
            for one in portion:  # nobody is refused for what another one sent
                self._answer([one])
            return
        for one in portion:
            one.answer.set_result(said[: len(one.contents)])
            said = said[len(one.contents) :]

    def _said(self, contents: list[bytes]) -> list[Said]:
        answers = self._ask(contents, [str(place) for place in range(len(contents))])
        said: list[Said] = ["cannot be read"] * len(contents)
        for row, proba in zip(answers.rows, answers.proba, strict=True):
            said[row] = proba
        for problem in answers.problems:
            said[int(problem.where)] = problem.message
        self._told(len(contents), len(answers.problems))
        return said


class BackgroundWorker:
    """One thread for what takes longer; a few pieces of work may wait for it."""

    def __init__(self, name: str, waiting: int = 8) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"work {name}")
        self._room = threading.BoundedSemaphore(waiting)

    async def do(self, work: Callable[[], T]) -> T:
        """Wait for a piece of work. One that was canceled before its turn is not begun.

        Raises:
            Full: Enough waits already.
        """
        if not self._room.acquire(blocking=False):
            raise QueueFull
        try:
            future = self._pool.submit(work)
        except RuntimeError:
            self._room.release()
            raise QueueFull from None
        future.add_done_callback(lambda _: self._room.release())
        return await asyncio.wrap_future(future)

    def begin(self, work: Callable[[], object]) -> None:
        """Start on something that nobody waits for."""
        self._pool.submit(work)

    def close(self) -> None:
        """End the thread after the piece of work that it is at."""
        self._pool.shutdown(wait=True, cancel_futures=True)
