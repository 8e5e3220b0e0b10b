"""The decoding processes of a server, and the memory that they share.

Small pictures and large ones have processes of their own, so that a small one never waits for a large one. A picture is decoded
when a process is free and its share of the memory, computed from its header, is free too; until then it waits, first come,
first served.

A process that exceeds a limit, crashes or is killed ends that one task with an error. The same holds for a request that is
canceled: its process is killed, so nothing works on without a client. A new process takes its place at once. All of them end
with the server, also when it is killed: their standard input ends.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.data.metadata import MetadataItem
from tellapart.errors import ImageError
from tellapart.inference.predictor import Reading
from tellapart.server.budget import Budget, Busy
from tellapart.server.decoding_process import DecodingProcess

#: Pictures whose decoding takes more bytes wait for the processes of large ones.
LARGE = 20_000_000
_HEADROOM = 96_000_000  # bytes of a process besides pictures: the file, copies of it, texts in it
_SECONDS, _PER_MEGABYTE = 2.0, 0.04  # CPU time of a task: at the start, and for each megabyte of decoded pixels
_NICE = 10  # large pictures and explanations let small ones go first


@dataclass(frozen=True)
class Header:
    """What the header of an upload says.

    Attributes:
        height, width: Size in pixels, upright.
        memory: Bytes that decoding it takes.
    """

    height: int
    width: int
    memory: int


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture to show or to explain.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        note: How it differs from the upload; "" if it does not.
    """

    pixels: np.ndarray
    note: str


class _Lane:
    """Some processes and the memory that they share."""

    def __init__(self, count: int, memory: int, nice: int) -> None:
        self.budget = Budget(memory)
        self.processes = [DecodingProcess(memory + _HEADROOM, nice) for _ in range(count)]
        self._free: asyncio.Queue[DecodingProcess] = asyncio.Queue()
        for process in self.processes:
            self._free.put_nowait(process)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="decode")

    async def ask(self, task: dict[str, Any], content: bytes, patience: float) -> tuple[dict[str, Any], bytearray]:
        """Wait for a free process and let it work. A caller that is canceled ends the work."""
        try:
            async with asyncio.timeout(patience):
                process = await self._free.get()
        except TimeoutError:
            raise Busy from None
        work = asyncio.get_running_loop().run_in_executor(self._threads, process.ask, task, content)
        work.add_done_callback(lambda done: self._give_back(process, done))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            process.kill()
            raise

    def _give_back(self, process: DecodingProcess, done: asyncio.Future[Any]) -> None:
        self._free.put_nowait(process)
        if not done.cancelled():
            done.exception()  # seen, also where the caller was canceled

    def close(self) -> None:
        for process in self.processes:
            process.close()
        self._threads.shutdown(wait=True)


class Decoders:
    """Decodes the uploads of a server.

    Args:
        memory: Bytes for decoded pictures, of all processes together.
        max_pixels: Largest number of pixels of one picture.
        patience: Seconds that a picture waits for memory and for a process.
    """

    def __init__(self, memory: int, max_pixels: int, patience: float) -> None:
        self.max_pixels, self.patience = max_pixels, patience
        count = max(2, min(os.cpu_count() or 1, 8))
        small = min(2 * LARGE, memory // 4)
        self._small, self._large = _Lane(count, small, 0), _Lane(1, memory - small, _NICE)
        self._limit = small // 2

    @property
    def most(self) -> int:
        """Bytes that decoding one picture may take."""
        return self.large_budget.total

    @property
    def large_budget(self) -> Budget:
        """Memory for large pictures."""
        return self._large.budget

    @property
    def processes(self) -> list[DecodingProcess]:
        """All processes."""
        return [*self._small.processes, *self._large.processes]

    @property
    def pids(self) -> list[int]:
        """Their ids."""
        return [process.pid for process in self.processes]

    async def header(self, content: bytes, name: str) -> Header:
        """Read the header of an upload; nothing is decoded.

        Raises:
            ImageError: Not an image.
            Busy: No process was free in time.
        """
        values, _ = await self._small.ask(self._task("header", name), content, self.patience)
        return Header(int(values["height"]), int(values["width"]), int(values["memory"]))

    async def metadata(self, content: bytes, name: str) -> list[MetadataItem]:
        """Read what the file says about itself; where that cannot be read, one entry with the reason.

        Raises:
            Busy: No process was free in time.
        """
        try:
            values, _ = await self._small.ask(self._task("metadata", name), content, self.patience)
        except ImageError as error:
            return [MetadataItem("metadata", error.reason, notable=True)]
        return [MetadataItem(str(name), str(value), bool(notable)) for name, value, notable in values["items"]]

    @asynccontextmanager
    async def opened(self, content: bytes, name: str, header: Header, reading: Reading, version: str = ""
                     ) -> AsyncIterator[bytes | np.ndarray]:  # fmt: skip
        """What a predictor gets for an upload. Its memory is reserved until the context ends.

        Args:
            content: The encoded image.
            name: Name of the image in errors.
            header: Of the image.
            reading: What the predictor reads.
            version: One of `perturbations.recompression.RECOMPRESSIONS`; "": the image itself.

        Yields:
            (H, W) or (H, W, 3) uint8 pixels; or the file, which was decoded once within the limits, for a classifier of files.

        Raises:
            ImageError: The file cannot be decoded, or not within the limits.
            TooMuchMemory: It is too large for this server.
            Busy: No process or no memory was free in time.
        """
        work = "file" if reading.what == "files" else "pixels"
        most = min([self.max_pixels, *(one.max_pixels for one in reading.inputs)])
        inputs = reading.inputs[0].model_dump(mode="json") | {"max_pixels": most} if reading.what == "inputs" else None
        task = self._task(work, name, version=version, inputs=inputs, memory=header.memory * (3 if version else 1))
        task["max_pixels"] = most
        native = 0 if reading.what == "inputs" else 6 * header.height * header.width
        async with self._asked(task, content, header.memory + native) as (values, payload):
            if work == "pixels":
                yield _array(values, payload)
            else:
                yield bytes(payload) if version else content

    async def picture(self, content: bytes, name: str, header: Header, side: int, crop: bool = False) -> Picture:
        """Decode an upload to at most `side` pixels on its longer side, to show or to explain it.

        Args:
            content: The encoded image.
            name: Name of the image in errors.
            header: Of the image.
            side: Pixels.
            crop: Cut the middle of a larger image at its own resolution, instead of shrinking it.

        Raises:
            ImageError: As of `opened`, and so are TooMuchMemory and Busy.
        """
        task = self._task("picture", name, side=side, crop=crop, memory=header.memory)
        async with self._asked(task, content, header.memory) as (values, payload):
            return Picture(_array(values, payload), str(values["note"]))

    def close(self) -> None:
        """End all processes."""
        self._small.close()
        self._large.close()

    @asynccontextmanager
    async def _asked(self, task: dict[str, Any], content: bytes, size: int) -> AsyncIterator[tuple[dict[str, Any], bytearray]]:
        lane = self._small if size <= self._limit else self._large
        async with lane.budget.reserved(size, self.patience):
            yield await lane.ask(task, content, self.patience)

    def _task(self, work: str, name: str, memory: int = 0, **more: Any) -> dict[str, Any]:
        seconds = _SECONDS + _PER_MEGABYTE * memory / 1e6
        return {"work": work, "name": name, "version": "", "max_pixels": self.max_pixels, "seconds": seconds, **more}


def _array(values: dict[str, Any], payload: bytearray) -> np.ndarray:
    return np.frombuffer(payload, np.uint8).reshape([int(side) for side in values["shape"]])
