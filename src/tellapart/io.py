"""TODO."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from tellapart.errors import RunError, SystemLimitError

_FULL = {
    errno.ENOSPC: ("the disk is full", "free some space, then give the same command again: it goes on"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, then give the same command again: it goes on"),
    errno.EFBIG: ("files as large as this are not allowed here", "choose another disk with --runs, or raise `ulimit -f`"),
}


_DENIED = {
    errno.EACCES: ("no permission to write here", "choose another folder with --runs"),
    errno.EPERM: ("no permission to write here", "choose another folder with --runs"),
    errno.EROFS: ("this file system is read-only", "choose another folder with --runs"),
    errno.ENOTDIR: ("a part of this path is a file", "choose another folder with --runs"),
    errno.ENAMETOOLONG: ("this path is too long", "choose another folder with --runs"),
    errno.EEXIST: ("a part of this path is a file", "choose another folder with --runs"),
}


@contextlib.contextmanager
def translate_os_errors(where: Path | str, *, writes_only: bool = True) -> Iterator[None]:
    """Turn "disk full" and, when nothing but writing happens inside, "no permission" into errors that name the place."""
    reasons = _FULL | _DENIED if writes_only else _FULL
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = error.errno if isinstance(error, OSError) else _number_in(error)
        if number not in reasons:
            raise
        reason, hint = reasons[number]
        place = error.filename if isinstance(error, OSError) else None
        raise SystemLimitError(f"{place or where}: {reason}", hint=hint) from error


def _number_in(error: SafetensorError) -> int | None:
    """safetensors says what the system said in words only: "I/O error: No space left on device (os error 28)"."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that a crash leaves the old file or the new one, never half of it."""
    write_atomically(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_atomically(path: Path, text: str) -> None:
    """Write text beside `path`, then rename."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """Read JSON; a missing or broken file is a RunError that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read as JSON ({error})") from error


def now() -> str:
    """The time: ISO 8601, UTC, seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
