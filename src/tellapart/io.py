"""Atomic writes, locks and names of files.

Every file that is read again is written atomically: to a temporary file in the same folder
(`.<name>.<digest>.tellapart.tmp`), which then replaces the file in one step. A crash leaves the old file or the new one, never
half of either; after an error the temporary file is removed. `tests/hostile/test_writers.py` keeps it so.

The writer holds a lock (`flock`) on its temporary file. So a temporary file without a lock is what a killed process left: the
next writer of the same file removes it, and `remove_leftovers` removes those of a folder. No other file is touched.

When to pass `durable=True` (flush the file and its folder to the disk, `fsync`, so that even a power cut loses nothing):

    yes   what a finished result rests on and nobody can recompute for free: the `done` marker of a run, files that the user
          named (predictions, submissions, exports, aligned images), training states, kept uploads
    yes   everything in a folder with a `done` marker; `mark_complete` flushes it all at once, before it writes the marker, so
          the single files (recipe, weights, predictions, scores.json) are written without
    yes   decoded pixels in the cache: after a power cut, a file of the right size may hold zeros, and nothing would notice
    no    what the next command recomputes: predictions of a robustness grid, traced graphs, reports
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tellapart.errors import SystemLimitError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from tellapart.types import Predictions

#: Ending of temporary files and folders. No other program uses it, so what has it may be removed when it is not locked.
TEMPORARY = ".tellapart.tmp"
#: Characters of a name that its temporary file begins with: with a digest of all of them, at most 160 bytes.
_NAME_CHARACTERS = 32

#: Error handler of `str.encode` that writes a character as JSON would escape it: `\u00e9` for an é where only ASCII can be
#: written, `\udcff` for the byte FF of a name that is not UTF-8. JSON reads both back: such a name still opens its file.
ESCAPE = "tellapart.escape"


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


codecs.register_error(ESCAPE, _escape)


def make_folder(path: Path) -> None:
    """Make a folder and those above it; one that exists is fine.

    As `Path.mkdir(parents=True)`, which fails with a RecursionError below a thousand new folders.
    """
    for folder in (*reversed(path.parents), path):
        if not os.path.isdir(folder):  # noqa: PTH112 (unlike a Path, False for a name that is too long)
            folder.mkdir(exist_ok=True)


def file_name(text: str, otherwise: str) -> str:
    """A text, such as the name of a class, as a file name: letters, digits and `_.-` only, at most 60 characters.

    Args:
        text: Any text.
        otherwise: The name where nothing is left.

    >>> file_name("../a b", "run"), file_name("..", "run")
    ('a-b', 'run')
    """
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")[:60] or otherwise


def expand(path: str | Path) -> Path:
    """A path with `~` and `~user` replaced by the home folder; both stay as they are where there is none, as in a shell."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (Path.expanduser raises a RuntimeError)


@contextlib.contextmanager
def atomic_path(path: Path, *, durable: bool) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it when the block ends; after an error it is removed.

    Its permissions follow the umask. A second writer of the same file, in this process or another, waits for the first.

    Args:
        path: The file to write; its folder exists.
        durable: Flush the file, then its folder, to the disk; see the rule above.

    Yields:
        Where to write, an empty file. It must be written in place: a rename onto it would lose the lock.
    """
    temporary = _temporary(path)
    try:
        with _locked_anew(temporary, _create_file):
            try:
                yield temporary
                if durable:
                    flush_to_disk(temporary)
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        if durable:
            flush_to_disk(path.parent)
    except OSError as error:
        if error.filename in (None, str(temporary)):
            error.filename = str(path)  # the name that the user knows
        raise


@contextlib.contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` that replaces it when the block ends; after an error it is removed.

    A second writer of the same folder waits for the first. Linux renames a folder onto an empty one only, so the old one is
    renamed first; a process that is killed between the two renames leaves the old one, which the next call puts back.

    Args:
        folder: The folder to write.

    Yields:
        Where to write, an empty folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside, old = _temporary(folder), _temporary(folder, ".old")
    with _locked_anew(beside, lambda path: path.mkdir()):
        try:
            if old.exists() and not folder.exists():
                old.rename(folder)
            _remove(old)
            yield beside
            if folder.exists():
                folder.rename(old)
            beside.rename(folder)
        finally:
            with contextlib.suppress(OSError):
                _remove(beside)
            if old.exists() and not folder.exists():  # the second renaming failed
                old.rename(folder)
            with contextlib.suppress(OSError):
                _remove(old)


def _temporary(path: Path, kind: str = "") -> Path:
    """Where `path` is written first: the same for every writer of it, and short, since names have at most 255 bytes."""
    digest = hashlib.blake2b(os.fsencode(path.name), digest_size=8).hexdigest()
    return path.with_name(f".{path.name[:_NAME_CHARACTERS]}.{digest}{kind}{TEMPORARY}")


@contextlib.contextmanager
def _locked_anew(path: Path, create: Callable[[Path], object]) -> Iterator[None]:
    """Create a file or folder and lock it while the block runs; remove what a killed process left, wait for a live one."""
    while True:
        try:
            create(path)
            is_new = True
        except FileExistsError:
            is_new = False
        with _lock(path) as is_ours:
            if is_ours and is_new:
                yield
                return
            if is_ours:
                _remove(path)


@contextlib.contextmanager
def _lock(path: Path, how: int = fcntl.LOCK_EX) -> Iterator[bool]:
    """Lock what is at `path`, a file or folder. Yields whether it is there, is still there, and (`LOCK_NB`) was not locked."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(number, how)
        except BlockingIOError:
            yield False
            return
        except OSError:  # some network file systems have no locks
            pass
        try:
            is_there = os.path.samestat(os.fstat(number), path.lstat())
        except FileNotFoundError:  # another process has finished it while this one waited
            is_there = False
        yield is_there
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(number, fcntl.LOCK_UN)  # a child process that was forked meanwhile would keep the lock
        os.close(number)


def _create_file(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))


def _remove(path: Path) -> None:
    """Remove a file, a folder with its content, or a link, but not what the link leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders below a folder that killed processes left; none of a process that lives."""
    for place, folders, names in os.walk(folder, topdown=False):
        for name in (*names, *folders):
            if name.startswith(".") and name.endswith(TEMPORARY):
                with _lock(Path(place, name), fcntl.LOCK_EX | fcntl.LOCK_NB) as is_left:
                    if is_left:
                        _remove(Path(place, name))


def open_own(path: Path, mode: str) -> IO[Any]:
    """Open a file of ours for writing, as `open` does, but never the target of a link, which may be any file of the user.

    Raises:
        SystemLimitError: It is a link.
        OSError: It is a FIFO without a reader, or it cannot be written.
    """
    try:
        return open(path, mode, opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666))
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise SystemLimitError(f"{path}: is a link, expected a file", hint="remove the link") from None
        raise


@contextlib.contextmanager
def locked_file(path: Path, waiting: Callable[[], object] = bool) -> Iterator[None]:
    """Hold a lock file; a second process, or thread, waits here until the first is through.

    Args:
        path: The lock file; it is created, and stays. Its folder exists.
        waiting: Called once if another process holds the lock.
    """
    with open_own(path, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_bytes_atomically(path: Path, content: bytes, *, durable: bool) -> None:
    """Write a file so that a crash leaves the old content or the new. Arguments as of `atomic_path`."""
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_bytes(content)


def write_text_atomically(path: Path, text: str, *, durable: bool) -> None:
    """Write UTF-8 text as `write_bytes_atomically` writes bytes; line ends stay as they are. See `ESCAPE`."""
    write_bytes_atomically(path, text.encode(errors=ESCAPE), durable=durable)


def write_json(path: Path, content: Any, *, durable: bool = False) -> None:
    """Write indented JSON atomically. NaN and infinity are a ValueError: they are not JSON."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text_atomically(path, text, durable=durable)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays of any shape and dtype atomically as safetensors.

    They are serialized in memory, which costs their size once more: `save_file` of safetensors makes a temporary file of its
    own, with permissions 0600, which a killed process leaves.
    """
    import numpy as np
    from safetensors.numpy import save

    write_bytes_atomically(path, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}), durable=False)


def write_parquet(path: Path, content: Predictions | pd.DataFrame) -> None:
    """Write predictions, or a table without its index, atomically."""
    from tellapart.types import Predictions

    more: dict[str, Any] = {} if isinstance(content, Predictions) else {"index": False}
    with atomic_path(path, durable=False) as temporary:
        content.to_parquet(temporary, **more)


def append_durably(path: Path, content: bytes) -> None:
    """Append to a file and flush it to the disk: a line of a journal, which is relied on from then on.

    A link is not followed: a folder that comes from a stranger may hold links to any file.
    """
    with open_own(path, "ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def flush_to_disk(path: Path) -> None:
    """Flush a file or the entries of a folder to the disk, where the file system can (some network ones flush no folders)."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(number)


def mark_complete(marker: Path, text: str) -> None:
    """Write the marker of a finished folder, after everything else in the folder is on the disk.

    Args:
        marker: A file in the folder, such as `runs/<id>/done`.
        text: Its content.
    """
    for folder, _, names in os.walk(marker.parent, topdown=False):
        for name in names:
            flush_to_disk(Path(folder, name))
        flush_to_disk(Path(folder))
    write_text_atomically(marker, text, durable=True)


def now(to: str = "seconds") -> str:
    """The current time: ISO 8601, UTC, to the second or to another `timespec` of `datetime.isoformat`."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec=to) + "Z"
