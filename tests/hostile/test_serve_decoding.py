"""Hostile uploads end in their decoding process: an error for that upload, and the next one is decoded."""

from __future__ import annotations

import asyncio
import io
import os
import select
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tellapart.errors import ImageError
from tellapart.inference.predictor import Reading
from tellapart.recipe.schema import Inputs
from tellapart.server import decoders as decoders_module
from tellapart.server.budget import TooMuchMemory
from tellapart.server.decoders import Decoders, Header
from tellapart.server.decoding_process import DecodingProcess

HEADER = {"work": "header", "name": "a.png", "version": "", "max_pixels": 10**8, "seconds": 60.0}
PIXELS = HEADER | {"work": "pixels", "inputs": None}


def encoded(image: Image.Image, kind: str = "png", **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


SMALL = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)))


@pytest.fixture
def process() -> Iterator[DecodingProcess]:
    made = DecodingProcess(150_000_000)
    yield made
    made.close()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def size(process: DecodingProcess) -> tuple[int, int]:
    values, _ = process.ask(HEADER, SMALL)
    return values["height"], values["width"]


def test_a_process_that_is_killed_is_replaced(process: DecodingProcess) -> None:
    assert size(process) == (24, 32)
    first = process.pid
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert size(process) == (24, 32)
    assert process.pid != first and not is_running(first)


def test_a_process_that_dies_at_work_is_an_error_for_that_upload(process: DecodingProcess) -> None:
    first = process.pid
    os.kill(first, signal.SIGSTOP)  # the task is sent, and no reply comes

    def kill() -> None:
        while not process.is_busy:
            time.sleep(0.001)
        os.kill(first, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(ImageError, match="ended the decoding process, which was replaced"):
        process.ask(HEADER, SMALL)
    killer.join()
    assert size(process) == (24, 32) and process.pid != first


def test_decoding_ends_at_its_limit_of_cpu_time(process: DecodingProcess) -> None:
    """A PNG of a hundred megapixels needs far more than a hundredth of a second of CPU time, on any machine."""
    large = encoded(Image.new("L", (10_000, 10_000)), compress_level=1)
    with pytest.raises(ImageError, match=r"more than 0\.01 s of CPU time"):
        process.ask(PIXELS | {"seconds": 0.01}, large)
    assert size(process) == (24, 32)


def test_decoding_ends_at_its_limit_of_memory(process: DecodingProcess) -> None:
    large = encoded(Image.new("RGB", (8_000, 8_000)), compress_level=1)  # 256 MB as Pillow holds it
    first = process.pid
    with pytest.raises(ImageError, match="memory"):
        process.ask(PIXELS, large)
    assert size(process) == (24, 32) and process.pid == first


def test_the_process_may_not_write_files_and_knows_no_token(process: DecodingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELLAPART_TOKEN", "secret")
    other = DecodingProcess(150_000_000)
    try:
        assert size(other) == (24, 32)
        limits = Path(f"/proc/{other.pid}/limits").read_text().splitlines()
        soft = {line[:26].strip(): line[26:].split()[0] for line in limits}
        assert soft["Max file size"] == soft["Max core file size"] == "0" and int(soft["Max open files"]) <= 64
        assert int(soft["Max address space"]) < 1_000_000_000
        assert b"secret" not in Path(f"/proc/{other.pid}/environ").read_bytes()
        assert "libtorch" not in Path(f"/proc/{other.pid}/maps").read_text()
    finally:
        other.close()


@pytest.mark.parametrize("work", ["header", "metadata", "pixels"])
def test_nonsense_is_an_error_and_no_end(process: DecodingProcess, work: str) -> None:
    first = process.pid
    for content in (b"\x89PNG\r\n\x1a\n", b"", bytes(1000), SMALL[:40], zlib.compress(bytes(1000))):
        with pytest.raises(ImageError):
            process.ask(PIXELS | {"work": work}, content)
    assert process.pid == first


def test_no_process_is_left_after_the_server_was_killed() -> None:
    """They end when their standard input does."""
    program = (
        "from tellapart.server.decoders import Decoders; import signal\n"
        "found = Decoders(200_000_000, 10**8, 60.0); print(*found.pids, flush=True); signal.pause()"
    )
    server = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    watched = [os.pidfd_open(int(pid)) for pid in server.stdout.readline().split()]
    server.kill()
    server.wait()
    server.stdout.close()
    for one in watched:
        assert select.select([one], [], [], 120)[0], "a decoding process outlived its server"
        os.close(one)
    assert len(watched) >= 3


def test_closing_ends_all_processes() -> None:
    decoders = Decoders(200_000_000, 10**8, 60.0)
    pids = decoders.pids
    assert len(pids) >= 3 and all(is_running(pid) for pid in pids)
    decoders.close()
    assert not any(is_running(pid) for pid in pids)


def test_a_canceled_request_ends_its_work_and_the_next_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders_module, "_SECONDS", 600.0)
    decoders = Decoders(200_000_000, 10**8, 60.0)
    reading = Reading("inputs", (Inputs(size=16, mode="rgb"),))

    async def use() -> np.ndarray:
        header = await decoders.header(SMALL, "a.png")
        before = decoders.pids
        for pid in before:
            os.kill(pid, signal.SIGSTOP)

        async def opened() -> np.ndarray:
            async with decoders.opened(SMALL, "a.png", header, reading) as pixels:
                return np.asarray(pixels)

        waiting = asyncio.create_task(opened())
        while not any(process.is_busy for process in decoders.processes):
            await asyncio.sleep(0.001)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        for pid in before:
            if is_running(pid):
                os.kill(pid, signal.SIGCONT)
        found = await opened()
        while len(set(before) - set(decoders.pids)) != 1:  # the process that worked is ended and replaced, the others stay
            await asyncio.sleep(0.001)
        return found

    assert asyncio.run(use()).shape == (16, 16, 3)
    decoders.close()


def test_what_comes_back_is_what_the_run_would_have_decoded() -> None:
    from tellapart.data.decode import decode, decode_to

    decoders = Decoders(200_000_000, 10**8, 60.0)
    files = [
        SMALL,
        encoded(Image.fromarray(np.arange(600, dtype=np.uint8).reshape(20, 30))),
        encoded(Image.open(io.BytesIO(SMALL)), "jpeg"),
    ]
    inputs = Inputs(size=(12, 10), mode="gray", resize="pad")

    async def use() -> None:
        for file in files:
            header = await decoders.header(file, "a.png")
            async with decoders.opened(file, "a.png", header, Reading("inputs", (inputs,))) as pixels:
                np.testing.assert_array_equal(pixels, decode_to(file, inputs)[:, :, 0])
            async with decoders.opened(file, "a.png", header, Reading("images", (inputs,))) as pixels:
                assert isinstance(pixels, np.ndarray)
                wanted = decode(file)
                np.testing.assert_array_equal(pixels if pixels.ndim == 3 else np.stack([pixels] * 3, 2), wanted)
            async with decoders.opened(file, "a.png", header, Reading("files")) as content:
                assert content == file
            picture = await decoders.picture(file, "a.png", header, 16)
            assert max(picture.pixels.shape[:2]) == 16 and "shrunk" in picture.note
            middle = await decoders.picture(file, "a.png", header, 16, crop=True)
            assert middle.pixels.shape == (16, 16, 3) and "middle" in middle.note
            assert [item.name for item in await decoders.metadata(file, "a.png")][:2] == ["format", "size"]

    asyncio.run(use())
    decoders.close()


def test_a_picture_that_never_fits_is_refused_before_it_is_decoded() -> None:
    decoders = Decoders(100_000_000, 10**8, 60.0)

    async def use() -> None:
        with pytest.raises(TooMuchMemory, match="more --memory"):
            await decoders.picture(SMALL, "a.png", Header(24, 32, 10**9), 16)

    asyncio.run(use())
    decoders.close()
