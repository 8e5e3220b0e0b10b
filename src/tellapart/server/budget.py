"""Memory that several tasks share, in bytes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tellapart.errors import TellapartError


class Busy(Exception):
    """No memory, or no process, was free in time."""


class TooMuchMemory(TellapartError):
    """Decoding a picture takes more memory than the server has for pictures."""


class Budget:
    """Bytes that several tasks share. For one event loop.

    Args:
        total: Bytes.

    Attributes:
        total: Bytes.
        free: Bytes that are not reserved.
    """

    def __init__(self, total: int) -> None:
        self.total = self.free = total
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def reserved(self, size: int, patience: float) -> AsyncIterator[None]:
        """Hold `size` bytes; wait for them at most `patience` seconds, first come, first served.

        Raises:
            TooMuchMemory: More than `total`.
            Busy: They were not free in time.
        """
        if size > self.total:
            need, have = size / 1e6, self.total / 1e6
            raise TooMuchMemory(f"decoding it takes {need:,.0f} MB of memory; the server has {have:,.0f} MB for such pictures",
                                hint="send a smaller image, or start the server with more --memory")  # fmt: skip
        if self._waiting or size > self.free:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((size, turn))
            try:
                async with asyncio.timeout(patience):
                    await turn
            except BaseException as error:
                if turn.done() and not turn.cancelled():  # granted in the same moment
                    self._give_back(size)
                elif (size, turn) in self._waiting:
                    self._waiting.remove((size, turn))
                    self._wake()
                if isinstance(error, TimeoutError):
                    raise Busy from None
                raise
        else:
            self.free -= size
        try:
            yield
        finally:
            self._give_back(size)

    def _give_back(self, size: int) -> None:
        self.free += size
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self._waiting[0][0] <= self.free:
            size, turn = self._waiting.popleft()
            if not turn.done():
                self.free -= size
                turn.set_result(None)
