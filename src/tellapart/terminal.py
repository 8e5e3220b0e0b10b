r"""Text of strangers on a terminal: control characters are shown escaped, never sent.

File names, members of archives, class names, metadata and cells of tables can hold control sequences, which a terminal would
obey (clear the screen, set the clipboard), and characters that reorder the text around them. `protect` changes the one place
through which all text of rich goes, whoever prints it: a table, an error, a progress bar, or the usage errors of typer. What
does not go through rich (warnings, log records, tracebacks) is escaped where Python formats it, JSON by `json_text`.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from typing import Any

#: Control characters but tab and line feed; separators of lines and paragraphs; overrides of the direction of writing; halves
#: of surrogate pairs, which stand for bytes of a file name that is not UTF-8.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    r"""Replace control characters by visible escapes; tabs and line feeds stay.

    >>> print(visible("cat\x1b[2J.png"), visible("a\u202egnp.exe"))
    cat\x1b[2J.png a\u202egnp.exe
    """
    return _UNSAFE.sub(_escape, text)


def one_line(text: str) -> str:
    r"""As `visible`, and tabs and line feeds are replaced too: for a name in a line or a cell of its own.

    >>> print(one_line("cat.png\nerror"))
    cat.png\nerror
    """
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def hanging(text: str) -> str:
    r"""Indent all lines but the first, so that a line feed in a name begins no line that looks like one of ours.

    >>> print(hanging("cannot read a\nerror: b"))
    cannot read a
        error: b
    """
    return re.sub(r"\n(?! {4})", "\n    ", text)


def json_text(content: Any, indent: int | None = None) -> str:
    r"""JSON as text. Characters that `visible` escapes are escaped as JSON does, so that the values stay the same.

    >>> print(json_text({"image": "é\x9b\u202e.png"}))
    {"image": "é\u009b\u202e.png"}

    Raises:
        ValueError: A number is not finite.
    """
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def plain_writer() -> Callable[[str], object]:
    """A function that writes text for other programs to standard output.

    A file or a pipe receives the text as it is; on a terminal, control characters are shown escaped.
    """
    stream = sys.stdout  # rich replaces sys.stdout while it shows a progress bar

    def write(text: str) -> None:
        stream.write(visible(text) if stream.isatty() else text)

    return write


def print_traceback() -> None:
    """Print the traceback of the exception that is being handled on standard error."""
    sys.stderr.write(visible(traceback.format_exc()))


def protect() -> None:
    """Escape control characters in everything that this process prints from now on. For the command line, not for a library."""
    import rich.text

    # Every text of rich is made here; rich itself removes five of the control characters, and obeys the others.
    rich.text.strip_control_codes = lambda text, *_: visible(text)  # pyright: ignore[reportPrivateImportUsage]
    warnings.formatwarning = _format_warning
    sys.excepthook = _print_exception
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = lambda raised: _print_exception(raised.exc_type, raised.exc_value, raised.exc_traceback)
    if logging.lastResort is not None:  # the handler of records that no other handler takes; it writes to standard error
        logging.lastResort.setFormatter(_Formatter())


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


_plain_warning = warnings.formatwarning


def _format_warning(*arguments: Any, **more: Any) -> str:
    return visible(_plain_warning(*arguments, **more))


def _print_exception(*error: Any) -> None:
    sys.stderr.write(visible("".join(traceback.format_exception(*error))))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
