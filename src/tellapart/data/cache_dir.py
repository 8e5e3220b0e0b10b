"""The folder of decoded images, unpacked archives and feature vectors: where it is, how large it may grow, and who may write.

Each finished file (`<digest>.npy`: decoded images, `<digest>.tar`: a compressed tar) has a lock `<digest>.lock`, held while it
is written as `.<digest>.….tellapart.tmp`. `<digest>.vectors` (feature vectors) and `<digest>.keys` beside it grow under such a
lock. The files that were not used for longest go first. `digests.sqlite` beside them is bounded by itself (`digest_store`).

Where: $TELLAPART_CACHE, else $XDG_CACHE_HOME/tellapart, else ~/.cache/tellapart. How much: $TELLAPART_CACHE_GIB, else 20.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tellapart.errors import SystemLimitError
from tellapart.io import expand

GIB = 1 << 30
#: The digests of files that were read before; see `digest_store`.
DIGESTS = "digests.sqlite"
_KEYS = ".keys"  # beside `.vectors`: whose they are


@dataclass(frozen=True)
class Kind:
    """A kind of files in the cache.

    Attributes:
        name: In commands.
        title: In words.
        ending: Of its files.
        need: How a message about the size of a file begins.
        less: How to need less.
        bounded: Whether the limit of the cache bounds these files; others bound themselves.
    """

    name: str
    title: str
    ending: str
    need: str = ""
    less: str = ""
    bounded: bool = True


KINDS = (
    Kind("images", "decoded images", ".npy", "the decoded images need", "choose a smaller inputs.size or inputs.limit"),
    Kind(
        "archives", "unpacked archives", ".tar", "the unpacked archive needs", "unpack the archive yourself and give the folder"
    ),
    Kind("vectors", "feature vectors", ".vectors", "the feature vectors need", "choose fewer or shorter descriptors"),
    Kind("digests", "digests of files", ".sqlite", bounded=False),
)
_BY_ENDING = {kind.ending: kind for kind in KINDS}


@dataclass(frozen=True)
class Entry:
    """One file of the cache, with what belongs to it."""

    path: Path
    bytes: int
    used: float  # seconds since the epoch

    @property
    def kind(self) -> Kind:
        """Its kind."""
        return _BY_ENDING[self.path.suffix]


def entries(folder: Path | None = None) -> list[Entry]:
    """The files of the cache, least recently used first."""
    found = []
    for path in (folder or default_folder()).glob("*.*"):
        if path.suffix not in _BY_ENDING or path.name.startswith("."):
            continue
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            beside = path.with_suffix(_KEYS)
            more = beside.stat().st_size if path.suffix == ".vectors" and beside.exists() else 0
            found.append(Entry(path, status.st_size + more, status.st_mtime))
    return sorted(found, key=lambda e: e.used)


def clear(folder: Path | None = None, kind: str | None = None) -> int:
    """Remove every file of the cache but those that a process is writing now; gives the bytes freed.

    Args:
        folder: The cache; None: the usual one.
        kind: Name of the only kind to remove; None: all, with what killed processes left.

    Raises:
        SystemLimitError: No permission.
    """
    folder = folder or default_folder()
    with permitted(folder):
        chosen = [entry.path for entry in entries(folder) if kind in (None, entry.kind.name)]
        freed = sum(map(_remove, chosen)) + (_remove_leftovers(folder) if kind is None else 0)
        for lock in folder.glob("*.lock") if kind is None else (path.with_suffix(".lock") for path in chosen):
            if not _is_held(lock):
                _remove(lock)
    return freed


def default_folder() -> Path:
    """Where the cache lies, by the environment.

    Raises:
        SystemLimitError: TELLAPART_CACHE names the home of an unknown user; or this user has no home folder, as in some
            containers, and no variable names another place.
    """
    if own := os.environ.get("TELLAPART_CACHE"):
        if (folder := expand(own)).parts[:1] and folder.parts[0].startswith("~"):
            raise SystemLimitError(f"TELLAPART_CACHE={own!r}: there is no such user", hint="write the whole path")
        return folder
    if os.path.isabs(standard := os.environ.get("XDG_CACHE_HOME", "")):  # noqa: PTH117 (the standard ignores relative ones)
        return Path(standard) / "tellapart"
    home = expand("~")
    if not home.is_absolute():
        hint = "set TELLAPART_CACHE to a folder that you may write"
        raise SystemLimitError("this user has no home folder, in which the cache would lie", hint=hint)
    return home / ".cache" / "tellapart"


def limit_bytes() -> int:
    """How large the cache may grow."""
    text = os.environ.get("TELLAPART_CACHE_GIB", "20")
    with contextlib.suppress(ValueError, OverflowError):
        if float(text) > 0:
            return int(float(text) * GIB)
    raise SystemLimitError(f"TELLAPART_CACHE_GIB={text!r}: expected a positive number of GiB, such as 20 or 0.5")


def make_room(folder: Path, needed: int, path: Path, written: int | None = None) -> None:
    """Remove what was not used for longest until a file fits. The caller holds the lock of `path`.

    Args:
        folder: The cache.
        needed: Bytes of the file.
        path: The file.
        written: Bytes of it that are on the disk already; None: it is not begun, and what a killed process left of it goes.

    Raises:
        SystemLimitError: They do not fit into an empty cache, or the disk has not so much left.
    """
    bound, kind = limit_bytes(), _BY_ENDING[path.suffix]
    if needed > bound:
        raise SystemLimitError(
            f"{kind.need} {needed / GIB:.1f} GiB, but the cache is bounded to {bound / GIB:.1f} GiB",
            hint=f"{kind.less}, or raise TELLAPART_CACHE_GIB",
        )
    _remove_leftovers(folder, path if written is None else None)
    others = [entry for entry in entries(folder) if entry.path != path and entry.kind.bounded]
    total = sum(e.bytes for e in others)
    for entry in others:
        if total + needed <= bound:
            break
        _remove(entry.path)  # a process that has it mapped keeps its pages
        total -= entry.bytes
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if needed - (written or 0) > free:
        raise SystemLimitError(
            f"{folder}: {kind.need} {needed / GIB:.2f} GiB, but the disk has {free / GIB:.2f} GiB left",
            hint="free some space, run `tellapart cache --clear`, or set TELLAPART_CACHE to another disk",
        )


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the right to make `path`; a second process waits here until the first is through."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def permitted(folder: Path) -> Iterator[None]:
    """Turn what the system refuses (disk full, no permission) into an error that names the place."""
    try:
        yield
    except OSError as error:
        place = error.filename or folder
        hint = "set TELLAPART_CACHE to a folder with room that you may write"
        raise SystemLimitError(f"{place}: the cache cannot be written ({error.strerror or error})", hint=hint) from error


def _remove_leftovers(folder: Path, ours: Path | None = None) -> int:
    """Remove what killed processes left half written; gives the bytes freed. `ours`: a file whose lock we hold."""
    freed = 0
    for path in folder.glob("*.tmp"):
        digest = path.name.lstrip(".").partition(".")[0]
        if (ours is not None and digest == ours.stem) or not _is_held(folder / f"{digest}.lock"):
            freed += _remove(path)
    return freed


def _is_held(lock: Path) -> bool:
    """Whether some process is writing the file that belongs to this lock, ours included."""
    try:
        with lock.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _remove(path: Path) -> int:
    """Remove a file if it is there, and what belongs to it; gives its bytes."""
    freed = _remove(path.with_suffix(_KEYS)) if path.suffix == ".vectors" else 0
    with contextlib.suppress(FileNotFoundError):
        size = path.stat().st_size
        path.unlink()
        freed += size
    return freed
