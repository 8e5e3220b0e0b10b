"""A process that decodes uploads, seen from the server: see `tellapart.server.decode_worker` for the other side."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from tellapart.errors import ImageError

_LINE = 1_000_000  # bytes of a reply's first line
_LARGEST = 1_000_000_000  # bytes of a reply
#: Variables of the environment that the process gets. The token of the server is not among them.
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "SYSTEMROOT")


class DecodingProcess:
    """One process of `tellapart.server.decode_worker`. One thread at a time may call `ask`; any may call `kill`.

    Args:
        allowance: Bytes of address space for its work.
        nice: Its priority, as of the command `nice`.
    """

    def __init__(self, allowance: int, nice: int = 0) -> None:
        self._allowance, self._nice = allowance, nice
        self._lock, self._busy, self._closed = threading.Lock(), False, False
        self._process = self._start()

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    @property
    def is_busy(self) -> bool:
        """Whether it works on a task."""
        return self._busy

    def ask(self, task: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytearray]:
        """Let it do one task: (values of the reply, bytes of the reply).

        Raises:
            ImageError: The file cannot be decoded, or not within the limits.
        """
        with self._lock:
            if self._closed:
                raise ImageError(task["name"], "the server is shutting down")
            if self._process.poll() is not None:  # killed while it had nothing to do
                self._replace()
            process, self._busy = self._process, True
        reason = ""
        try:
            values, payload = _exchange(process, {**task, "size": len(content)}, content)
            reason = str(values.get("error", ""))
        except (OSError, ValueError, KeyError, TypeError):  # it has ended, or what it sends is no reply
            process.kill()
            values, payload = {"last": True}, bytearray()
            reason = _ended(process.wait(), task["seconds"])
        with self._lock:
            self._busy = False
            if self._closed:
                _end(self._process)
            elif values["last"]:
                self._replace()
        if reason:
            raise ImageError(task["name"], reason)
        return values, payload

    def kill(self) -> None:
        """End the running task with its process; the `ask` that waits for it raises."""
        with self._lock:
            if self._busy:
                self._process.kill()

    def close(self) -> None:
        """End the process, for good."""
        with self._lock:
            self._closed = True
            if self._busy:  # `ask` closes the pipes, which it reads
                self._process.kill()
            else:
                _end(self._process)

    def _replace(self) -> None:
        _end(self._process)
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        sources = [str(Path(__file__).parents[2]), *filter(None, [kept.get("PYTHONPATH")])]
        environment = {
            **kept, "PYTHONPATH": os.pathsep.join(sources),
            "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",  # threads reserve address space
            "MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_ARENA_MAX": "1",  # decoded pixels go back to the system at once
        }  # fmt: skip
        command = [sys.executable, "-m", "tellapart.server.decode_worker", str(self._allowance), str(self._nice)]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
            start_new_session=True,  # Ctrl-C is for the server, which finishes its requests
        )  # fmt: skip


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):  # what is left to send
            if pipe is not None:
                pipe.close()


def _exchange(process: subprocess.Popen[bytes], task: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytearray]:
    """Send a task and read the reply. Raises OSError or ValueError where there is none."""
    if process.stdin is None or process.stdout is None:
        raise ValueError("the process has no pipes")
    process.stdin.write(json.dumps(task).encode() + b"\n")
    process.stdin.write(content)
    process.stdin.flush()
    values = json.loads(process.stdout.readline(_LINE))
    if not 0 <= values["size"] <= _LARGEST:
        raise ValueError("the reply is too large")
    payload = bytearray(values["size"])
    view = memoryview(payload)
    while len(view):
        count = process.stdout.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise ValueError("the reply ends early")
        view = view[count:]
    return values, payload


def _ended(code: int, seconds: float) -> str:
    """Why a decoding process ended, for the client."""
    if code == -signal.SIGPROF:
        return f"decoding it takes more than {seconds:,.3g} s of CPU time"
    return "decoding it ended the decoding process, which was replaced"
