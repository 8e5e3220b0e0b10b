"""Errors of the operating system as sentences that name the path and say what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from tellapart.errors import SystemLimitError

_ELSEWHERE = "choose another folder with --runs"


_FULL = {
    errno.ENOSPC: ("the disk is full", "free some space, then repeat the command: it resumes"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, then repeat the command: it resumes"),
    errno.EFBIG: ("files as large as this are not allowed here", "choose another disk with --runs, or raise `ulimit -f`"),
}


_DENIED = {
    errno.EACCES: ("no permission to write here", _ELSEWHERE),
    errno.EPERM: ("no permission to write here", _ELSEWHERE),
    errno.EROFS: ("this file system is read-only", _ELSEWHERE),
    errno.ENOTDIR: ("a component of this path is a file, not a folder", _ELSEWHERE),
    errno.ENAMETOOLONG: ("this path is too long", _ELSEWHERE),
    errno.ELOOP: ("the links in this path form a loop", _ELSEWHERE),
    errno.EEXIST: ("a component of this path is a file, not a folder", _ELSEWHERE),
    errno.EIO: ("the disk reports an error", "check the disk, then repeat the command: it resumes"),
}


_READ_OR_WRITTEN = {
    errno.ENOENT: ("no such file or folder", "check whether it was removed or renamed while the command ran"),
    errno.EACCES: ("no permission", "change the permissions, or choose another place"),
    errno.EPERM: ("no permission", "change the permissions, or choose another place"),
    errno.EROFS: ("this file system is read-only", "choose another place"),
    errno.ENOTDIR: ("a component of this path is a file, not a folder", "check the path"),
    errno.ENAMETOOLONG: (
        "this path is too long",
        "use a shorter one: most systems take 255 bytes a name, 4,096 a path",
    ),
    errno.ELOOP: ("the links in this path form a loop", "remove the link"),
    errno.EMFILE: ("too many files are open", "raise the limit: `ulimit -n 1024`"),
    errno.ENFILE: ("too many files are open on this machine", "end other programs, then repeat the command"),
    errno.ENOMEM: ("the memory is used up", "end other programs, or use a machine with more memory"),
}


def explain_os_error(error: OSError | SafetensorError, where: Path | str = "") -> SystemLimitError:
    """An operating-system error as a sentence that names the path and what to do.

    Args:
        error: What the system refused.
        where: The file or folder to name where the error itself names none.
    """
    number = error.errno if isinstance(error, OSError) else _number_in(error)
    said = (error.strerror if isinstance(error, OSError) else None) or str(error)
    reason, hint = (_FULL | _READ_OR_WRITTEN).get(number or 0, (said, None))
    place = (error.filename if isinstance(error, OSError) else None) or where
    return SystemLimitError(f"{_shown(place)}: {reason}" if place else reason, hint=hint)


def is_somewhere() -> bool:
    """Whether the current folder exists."""
    try:
        return bool(os.getcwd())  # noqa: PTH109
    except OSError:
        return False


def _shown(place: Path | str | bytes | int) -> str:
    return os.fsdecode(place) if isinstance(place, str | bytes | Path) else f"file descriptor {place}"


@contextlib.contextmanager
def translate_os_errors(where: Path | str, *, writes_only: bool = True) -> Iterator[None]:
    """Turn "disk full" and "no permission" into a SystemLimitError that names the file and what to do.

    Args:
        where: The file or folder to name where the error itself names none.
        writes_only: Whether the block only writes. Then "no permission" and bad paths are translated too; else only a full
            disk is, and what concerns a file in that folder, since the rest may come from reading.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = error.errno if isinstance(error, OSError) else _number_in(error)
        place = str((error.filename if isinstance(error, OSError) else None) or where)
        folder = where if Path(where).is_dir() else Path(where).parent
        reasons = _FULL | _DENIED if writes_only or Path(place).is_relative_to(folder) else _FULL
        if number not in reasons:
            raise
        reason, hint = reasons[number]
        room = f" ({_free(Path(place))} MiB left)" if number == errno.ENOSPC else ""
        raise SystemLimitError(f"{place}: {reason}{room}", hint=hint) from error


def _free(path: Path) -> str:
    """Free space of the disk on which a file was to be written, in MiB."""
    near = next((one for one in path.absolute().parents if one.is_dir()), Path("/"))
    return f"{shutil.disk_usage(near).free / 2**20:,.1f}"


def _number_in(error: SafetensorError) -> int | None:
    """The error number in the message of safetensors, such as "I/O error: No space left on device (os error 28)"."""
    match = re.search(r"\(os error (\d+)\)", str(error))
    return int(match[1]) if match else None
