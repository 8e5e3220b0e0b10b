"""Walk a folder: the one walk that every command uses, so that all of them see the same images in the same order.

Nothing is opened. `os.scandir` visits each folder once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from operator import attrgetter
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Literal, NamedTuple

from tellapart.errors import DataError
from tellapart.os_errors import explain_os_error
from tellapart.types import Problem

_ENDINGS = ".jpg .jpeg .jpe .jfif .png .bmp .dib .gif .tif .tiff .webp .ppm .pgm .pbm .pnm .tga .jp2 .j2k .avif"
IMAGE_ENDINGS = frozenset(_ENDINGS.split())
_SKIPPED = frozenset({"__MACOSX", "Thumbs.db", "thumbs.db", "desktop.ini", "@eaDir", "$RECYCLE.BIN"})
#: In the folder of our own runs, which is no data when both share a folder.
RUNS_MARKER = ".tellapart-runs"
_LEDGER = "ledger.jsonl"  # in older ones


class WalkedFolder(NamedTuple):
    """One folder of a walk.

    Attributes:
        path: Relative to the top, with forward slashes; "" is the top.
        files: Its regular files, sorted by name.
        problems: Entries that cannot be listed (dead links, loops of links, devices, names that are not UTF-8), and folders
            that
            cannot be read or were read before; a folder ends in "/". Sorted by name.
        entered: False for a folder of which only its problem is known.
    """

    path: str
    files: list[os.DirEntry[str]]
    problems: list[Problem]
    entered: bool = True


def walk(top: str) -> Iterator[WalkedFolder]:
    """Every folder below `top`, one at a time: parents first, then by path. No file is opened, none is `stat`-ed.

    Hidden entries, those that operating systems leave behind, and tellapart's own runs folder are skipped. A folder is
    visited once, however often it is linked; links to folders come last, and those that lead to a visited folder are a problem:
    a "loop of links" or a "linked folder". Only the names of one folder and the paths of the folders still to be visited are in
    memory.

    Raises:
        DataError: The folder itself cannot be read.
    """
    folders, links = [""], []  # heaps: a folder sorts before what is below it, so that they come out in order
    seen: dict[tuple[int, int], str] = {}
    while folders or links:
        relative = heappop(folders or links)
        here = f"{top.rstrip('/')}/{relative}" if relative else top
        try:
            stat = os.stat(here)  # noqa: PTH116 (a Path here costs more than the call)
            place = (stat.st_dev, stat.st_ino)
            if stat.st_ino and place in seen:  # some network disks number nothing
                yield WalkedFolder(relative, [], [_visited(relative, seen[place])], entered=False)
                continue
            walked, below = _sort_entries(here, relative)
        except OSError as error:
            if not relative:
                raise _unreadable(top, error) from error
            yield WalkedFolder(relative, [], [Problem("unreadable folder", f"{relative}/", _reason(error))], entered=False)
            continue
        seen[place] = relative
        if relative and (any(entry.name == _LEDGER for entry in walked.files) or os.path.exists(f"{here}/{RUNS_MARKER}")):  # noqa: PTH110
            continue
        for entry in below:
            heappush(links if entry.is_symlink() else folders, f"{relative}/{entry.name}" if relative else entry.name)
        yield walked


def walk_images(folder: str) -> Iterator[tuple[str, str]]:
    """Path and "" of every image below a folder, in the order of `walk`; where it cannot be read, its name and why.

    Args:
        folder: Paths begin with it, except with "." for the current folder.
    """
    head = "" if folder == "." else f"{folder.rstrip('/')}/"
    for walked in walk(folder):
        inside = f"{head}{walked.path}/" if walked.path else head
        readable = [(inside + entry.name, "") for entry in walked.files if _is_image(entry.name)]
        bad = [(head + p.where, p.message) for p in walked.problems if _hides_images(p)]
        yield from sorted([*readable, *bad]) if bad else readable


def path_kind(path: str | Path) -> Literal["folder", "file", "special", ""]:
    """What a path that the user gave names, links followed: "" where there is nothing.

    Raises:
        DataError: The system refuses to look: no permission, links that form a loop, a name that is too long.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        found = explain_os_error(error, path)
        raise DataError(found.message, hint=found.hint) from error
    except ValueError as error:
        raise DataError(f"{str(path)!r}: a path cannot contain a NUL character") from error
    return "folder" if S_ISDIR(mode) else "file" if S_ISREG(mode) else "special"


def ending_of(name: str) -> str:
    """Lower-case ending with the dot; "" when there is none.

    >>> ending_of("A.b.JPG"), ending_of("README")
    ('.jpg', '')
    """
    _, dot, ending = name.rpartition(".")
    return dot + ending.lower() if dot else ""


def is_skipped(name: str) -> bool:
    """Whether a file or folder of this name is none of the user's: hidden, or left by a system."""
    return name[0] == "." or name in _SKIPPED


def is_no_text(path: str, problems: list[Problem]) -> bool:
    """Whether a path is not UTF-8, which no table could name and no report could print; if so, it is a problem."""
    if path.isascii():
        return False
    shown, reason = readable_name(path)
    if reason:
        problems.append(Problem("bad name", shown, reason))
    return bool(reason)


def readable_name(path: str) -> tuple[str, str]:
    """A path as it can be printed, and why it cannot be used: "" for a valid one."""
    shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if shown == path:
        return path, ""
    if "\ufffd" not in shown:  # the locale is not UTF-8, but the name is
        return shown, "the name cannot be read under this locale: set PYTHONUTF8=1"
    return shown, "the name is not valid UTF-8: rename it"


def not_a_file(entry: os.DirEntry[str], child: str) -> Problem:
    """Why an entry is not a file: a link to nowhere, or a pipe, a socket or a device."""
    try:
        entry.stat()
    except OSError as error:
        return Problem("missing file", child, f"cannot be read ({error.strerror})")
    return Problem("missing file", child, "is not a regular file")


def _sort_entries(here: str, relative: str) -> tuple[WalkedFolder, list[os.DirEntry[str]]]:
    """Files and problems of one folder, and the folders in it."""
    files: list[os.DirEntry[str]] = []
    below: list[os.DirEntry[str]] = []
    problems: list[Problem] = []
    for entry in sorted(_entries(here), key=attrgetter("name")):
        child = f"{relative}/{entry.name}" if relative else entry.name
        if is_skipped(entry.name) or is_no_text(f"{child}/" if _is(entry.is_dir) else child, problems):
            continue
        if _is(entry.is_dir):
            below.append(entry)
        elif _is(entry.is_file):
            files.append(entry)
        else:
            problems.append(not_a_file(entry, child))
    return WalkedFolder(relative, files, problems), below


def _hides_images(problem: Problem) -> bool:
    """Whether a problem names an image, or a folder whose images are not seen elsewhere."""
    return _is_image(problem.where) or (problem.where[-1] == "/" and problem.kind not in ("loop of links", "linked folder"))


def _is_image(name: str) -> bool:
    return ending_of(name) in IMAGE_ENDINGS


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)


def _is(kind: Callable[[], bool]) -> bool:
    """The answer of `entry.is_dir` or `entry.is_file`; False where links form a loop or the folder may not be entered."""
    try:
        return kind()
    except OSError:
        return False


def _visited(relative: str, first: str) -> Problem:
    """A link to a folder that was read under another path."""
    if not first or relative.startswith(f"{first}/"):
        return Problem("loop of links", f"{relative}/", "is a link to a folder above it: not followed")
    return Problem("linked folder", f"{relative}/", f"is a link to {first}/, which is read there: not followed")


def _unreadable(folder: str, error: OSError) -> DataError:
    if isinstance(error, PermissionError):
        return DataError(f"{folder}: no permission to list this folder", hint="make it readable, or give another folder")
    return DataError(f"{folder}: cannot be read ({error.strerror})")


def _reason(error: OSError) -> str:
    return "no permission to list this folder" if isinstance(error, PermissionError) else f"cannot be read ({error.strerror})"
