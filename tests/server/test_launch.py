"""The server as a process of its own: real sockets, hostile uploads, its end."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import signal
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from tellapart.errors import SystemLimitError
from tellapart.runs.store import Run
from tellapart.server import run as run_module
from tellapart.server.settings import ServerSettings

from .conftest import encoded, noise

#: A shell that starts tests with `&` leaves Ctrl-C ignored; a person's does not.
PROGRAM = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from tellapart.cli.main import main; main()"


@contextlib.contextmanager
def serving(run: Run, *options: str) -> Iterator[tuple[subprocess.Popen[str], tuple[str, int]]]:
    """`tellapart serve` on a port of its own."""
    command = [sys.executable, "-c", PROGRAM, "serve", str(run.folder), "--port", "0", "--runs", str(run.runs), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        address = urlsplit(process.stdout.readline().strip())
        yield process, (str(address.hostname), int(address.port or 0))
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=240)


@pytest.fixture(scope="module")
def server(runs: dict[str, Run]) -> Iterator[tuple[str, int]]:
    with serving(runs["linear"], "--rate", "0", "--timeout", "240") as (process, place):
        yield place
        assert process.poll() is None, "the server died"


def exchange(place: tuple[str, int], request: bytes, more: Iterable[bytes] = ()) -> tuple[int, bytes]:
    """Status and body of one request over a socket of its own."""
    with socket.create_connection(place, timeout=240) as line:
        line.sendall(request)
        with contextlib.suppress(ConnectionError):
            for chunk in more:
                line.sendall(chunk)
        reply = b""
        with contextlib.suppress(ConnectionError):
            while chunk := line.recv(65_536):
                reply += chunk
    head, _, body = reply.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


def post(kind: str, length: int, *more: str) -> bytes:
    lines = ["POST /api/predict HTTP/1.1", "Host: localhost", f"Content-Type: {kind}", f"Content-Length: {length}", *more]
    return ("\r\n".join([*lines, "Connection: close", "", ""])).encode()


def picture(place: tuple[str, int], content: bytes) -> tuple[int, bytes]:
    return exchange(place, post("image/png", len(content)) + content)


def huge_png(width: int, height: int) -> bytes:
    """A valid PNG of very many pixels in few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = zlib.compressobj(9)
    data = b"".join(row.compress(bytes(1 + width)) for _ in range(min(height, 200))) + row.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_hostile_uploads_get_4xx_and_the_server_lives(server: tuple[str, int]) -> None:
    good = encoded(noise(1, True))
    assert picture(server, good)[0] == 200
    status, body = picture(server, huge_png(25_000, 20_000))
    assert status == 413 and "500 megapixels" in json.loads(body)["error"]
    photo = encoded(noise(1, True, 64), "jpeg")
    for content, wanted in ((photo[:700], 422), (b"\x89PNG\r\n\x1a\n", 415), (bytes(1000), 415), (good[:-60], 422)):
        assert picture(server, content)[0] == wanted
    frames = io.BytesIO()
    stills = [Image.fromarray(np.full((8, 8), i, np.uint8)) for i in range(200)]
    stills[0].save(frames, "gif", save_all=True, append_images=stills[1:])
    assert picture(server, frames.getvalue())[0] == 200  # the first frame is the picture
    assert exchange(server, b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n")[0] == 400
    assert exchange(server, b"\x00\x01nonsense\r\n\r\n")[0] == 400
    assert picture(server, good)[0] == 200


def test_a_hundred_megabytes_are_refused_before_they_are_read(server: tuple[str, int]) -> None:
    million = (bytes(1_000_000) for _ in range(100))
    status, body = exchange(server, post("image/png", 100_000_000), million)
    assert status == 413 and "larger than 20 MB" in json.loads(body)["error"]
    chunked = b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = (b"%x\r\n" % 1_000_000 + bytes(1_000_000) + b"\r\n" for _ in range(100))
    status, _ = exchange(server, chunked, itertools.chain(chunks, [b"0\r\n\r\n"]))
    assert status == 413
    patient = post("image/png", 100_000_000, "Expect: 100-continue")
    status, _ = exchange(server, patient)
    assert status == 413
    assert picture(server, encoded(noise(1, True)))[0] == 200


def children(pid: int) -> list[Path]:
    """Folders in /proc of the processes that a process has started."""
    return [Path("/proc", child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_stops_a_server_gets_no_error_and_no_process_is_left(runs: dict[str, Run], number: int) -> None:
    with serving(runs["linear"], "--host", "0.0.0.0") as (process, place):
        status, body = exchange(place, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert status == 200 and json.loads(body)["status"] == "ok"
        workers = children(process.pid)
        assert len(workers) >= 3
        process.send_signal(number)
        _, err = process.communicate(timeout=240)
    assert process.returncode == 0 and not [worker for worker in workers if worker.exists()]
    assert "can be reached from other machines" in err
    assert err.splitlines()[-1] == "  stopped" and "error" not in err and "Traceback" not in err


class Interrupted:
    """A server of uvicorn that was interrupted."""

    def __init__(self, started: bool, force_exit: bool) -> None:
        self.started, self.force_exit = started, force_exit

    def run(self, sockets: object) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize(("started", "twice", "is_error"), [(False, False, True), (True, False, False), (True, True, True)])
def test_only_a_clean_shutdown_is_no_error(
    runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch, started: bool, twice: bool, is_error: bool
) -> None:
    monkeypatch.setattr(run_module, "http_server", lambda *_: Interrupted(started, twice))
    apps = []
    create_app = run_module._imported()
    monkeypatch.setattr(run_module, "_imported", lambda: lambda *given: apps.append(create_app(*given)) or apps[0])
    try:
        with pytest.raises(KeyboardInterrupt) if is_error else contextlib.nullcontext():
            run_module.serve([str(runs["linear"].folder)], ServerSettings(), 0, ready=bool)
    finally:
        apps[0].state.service.close()


def test_an_address_that_is_taken_is_said(runs: dict[str, Run]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemLimitError, match=f"cannot listen on http://127.0.0.1:{port}") as caught:
            run_module.serve([str(runs["linear"].folder)], ServerSettings(), port, ready=print)
    assert "--port" in str(caught.value)
    with pytest.raises(SystemLimitError, match="cannot listen on"):
        run_module.serve([str(runs["linear"].folder)], ServerSettings(host="no such host"), 0, ready=print)


def test_the_extra_is_named_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(run_module.WebExtraError, match="uvicorn is not installed") as caught:
        run_module.serve([], ServerSettings(), 0, ready=print)
    assert 'pip install ".[web]"' in str(caught.value.hint)


def test_static_files_and_templates_come_with_the_package() -> None:
    here = Path(run_module.__file__).parent
    assert {path.name for path in (here / "static").iterdir()} == {"page.css", "page.js", "icon.svg"}
    assert (here / "templates" / "base.html").exists()
