"""What the command line needs of its process: open standard streams, text that they can encode, and signals as Ctrl-C."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import TextIO

from tellapart.errors import SystemLimitError
from tellapart.io import ESCAPE
from tellapart.os_errors import is_somewhere

_NARROWEST, _WIDEST = 20, 10_000  # characters of a line
_STREAMS = {0: "stdin", 1: "stdout", 2: "stderr"}
#: Signals that stop a command as Ctrl-C does: what was finished is kept.
_STOPS = (signal.SIGTERM, signal.SIGHUP)


def open_streams() -> None:
    """Open standard streams that the caller closed, and let the others escape what they cannot encode.

    A closed stream becomes the null device; else the next file that is opened would take its number, and what is printed would
    end in that file. Under an ASCII locale, `é` is written as `\\u00e9`, which is valid JSON too.
    """
    if (width := os.environ.get("COLUMNS", "80")) and not (width.isdecimal() and _NARROWEST <= int(width) <= _WIDEST):
        del os.environ["COLUMNS"]  # no word would fit into a line
    for number, name in _STREAMS.items():
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
        stream: TextIO | None = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "r+" if number == 0 else "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif number and getattr(stream, "reconfigure", None):
            stream.reconfigure(errors=ESCAPE)  # pyright: ignore[reportAttributeAccessIssue]


def check_current_folder() -> None:
    """Stop where the current folder was removed: relative paths mean nothing there, and torch cannot be loaded.

    Raises:
        SystemLimitError: The current folder does not exist.
    """
    if not is_somewhere():
        raise SystemLimitError("the current folder was removed", hint="change to another folder, then repeat the command")


def close_output() -> None:
    """Write what is still in the buffer of standard output.

    Raises:
        SystemLimitError: The disk is full, or the device refuses it.
        BrokenPipeError: The reader is gone, as in `tellapart … | head`.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):  # Python tries once more when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            raise
        hint = "free some space, or write elsewhere"
        raise SystemLimitError(f"standard output cannot be written ({error.strerror or error})", hint=hint) from error


class Received:
    """The signal that stopped the command.

    Attributes:
        number: Number of the signal; 0: none.
    """

    number = 0


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[Received]:
    """Inside the block, SIGTERM and SIGHUP raise KeyboardInterrupt: what resumes after Ctrl-C resumes after them.

    Signals that the caller ignores, such as SIGHUP under `nohup`, stay ignored. A forked child dies of them as usual.
    """
    received, owner = Received(), os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        if os.getpid() != owner:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        received.number = number
        raise KeyboardInterrupt

    ours = [number for number in _STOPS if signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in ours:
            signal.signal(number, stop)
    except ValueError:  # not the main thread, which alone receives signals
        ours = []
    try:
        yield received
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
