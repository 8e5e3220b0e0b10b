"""An unfinished file of predictions, which can be resumed: `out.csv.partial`, and its state in `out.csv.partial.json`.

The state holds the command (run, images, options), the number of images that are done, a digest of their names, and how many
bytes of the partial file belong to them. It is written after those bytes are on the disk, so they are there whatever ends the
process; bytes after them are cut off on resuming. The final name appears when the file is complete.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO, final

from pydantic import BaseModel, NonNegativeInt

from tellapart.errors import DataError, RunError
from tellapart.inference.prediction import ImagePrediction
from tellapart.inference.writers import PredictionWriter
from tellapart.io import flush_to_disk, write_text_atomically
from tellapart.os_errors import translate_os_errors
from tellapart.regular_files import read_bytes

_SYNC_INTERVAL = 2.0  # seconds between two flushes to the disk: the work that a crash may cost


@dataclass(frozen=True)
class Counts:
    """Counts of the images predicted so far.

    Attributes:
        images: Number of images, unreadable ones included.
        unreadable: Number of images that cannot be read.
        problems: "name: reason" of the first few of these.
        counts: Decision, or most probable class → number of images.
        unstable: Number of images with a re-saved version that gets another decision.
    """

    images: int = 0
    unreadable: int = 0
    problems: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    unstable: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {one.name: getattr(self, one.name) for one in fields(self)} | {"problems": list(self.problems)}


class _State(BaseModel, extra="forbid"):
    """The content of `out.csv.partial.json`."""

    command: dict[str, Any]
    names: str
    bytes: NonNegativeInt
    done: Counts


@final
class ResumableFile:
    """An unfinished file of predictions, locked by this process.

    Attributes:
        writer: Writer of the file format.
        done: Counts of the images in it.
    """

    def __init__(self, out: Path, writer: PredictionWriter, command: dict[str, Any], file: BinaryIO) -> None:
        self.out, self.writer, self._command, self._file = out, writer, command, file
        self._path, self._state = partial_of(out)
        self.done, self._names = Counts(), hashlib.blake2b(digest_size=16)
        self._resumed: _State | None = None  # the stored state, until the names in it are checked
        self._synced = time.monotonic()

    def resume(self) -> None:
        """Read the stored state, or begin.

        Raises:
            RunError: The file was begun by another command.
        """
        size = os.fstat(self._file.fileno()).st_size
        state = _read(self._state, size) if size else None
        if state is None:
            self._file.truncate(0)
            self._file.write(self.writer.head())
            return
        if state.command != self._command:
            raise RunError(
                f"{self._path} was begun by another command: {_difference(state.command, self._command)}",
                hint="repeat that command to resume, or pass --overwrite to start over",
            )
        self._resumed = state
        self.done = state.done
        self._file.truncate(state.bytes)
        self._file.seek(state.bytes)

    def check(self, names: Iterable[str]) -> None:
        """Check that the images in the file are the first ones named now. `names`: as many as are done, fewer if there are
        fewer.

        Raises:
            DataError: The images differ: files were added, removed or renamed.
        """
        for name in names:
            self._names.update(_encoded(name))
        if self._resumed is not None and self._names.hexdigest() != self._resumed.names:
            raise DataError(
                f"{self._path}: its {self.done.images:,} images are not the first {self.done.images:,} that are named now",
                hint="undo later additions, removals or renames, or pass --overwrite to start over",
            )
        self._resumed = None

    def add(self, names: Iterable[str], rows: bytes, done: Counts) -> None:
        """Append the rows of a batch; every two seconds, flush them to the disk.

        Args:
            names: The images of the batch.
            rows: Bytes of the writer.
            done: Counts with the batch included.
        """
        self._file.write(rows)
        for name in names:
            self._names.update(_encoded(name))
        self.done = done
        if time.monotonic() - self._synced >= _SYNC_INTERVAL:
            self.sync()

    def sync(self) -> None:
        """Flush the rows to the disk, then the state that counts them."""
        if self._resumed is not None:
            return  # nothing was added, and the digest does not cover all names yet
        self._file.flush()
        os.fsync(self._file.fileno())
        content = {"command": self._command, "names": self._names.hexdigest(), "bytes": self._file.tell()}
        text = json.dumps({**content, "done": self.done.to_dict()}, ensure_ascii=False)
        write_text_atomically(self._state, text, durable=True)
        self._synced = time.monotonic()

    def finish(self) -> None:
        """Give the file its final name."""
        self.sync()
        self.writer.finish(self._path, self.out)
        flush_to_disk(self.out.parent)  # otherwise a power failure could undo the renaming
        self._state.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the file and its state."""
        self._path.unlink(missing_ok=True)
        self._state.unlink(missing_ok=True)


def partial_of(out: Path) -> tuple[Path, Path]:
    """The unfinished file and the file of its state."""
    return out.with_name(f"{out.name}.partial"), out.with_name(f"{out.name}.partial.json")


@contextlib.contextmanager
def open_resumable(out: Path, writer: PredictionWriter, command: dict[str, Any], overwrite: bool) -> Iterator[ResumableFile]:
    """The unfinished file of `out`, begun or resumed, locked while the block runs.

    Args:
        out: The final file.
        writer: Writer of the file format.
        command: Everything that the rows depend on; it must be the same on resuming.
        overwrite: Start over even if there is an unfinished file.

    Raises:
        RunError: The file was begun by another command, or another process is writing it.
        SystemLimitError: The file cannot be written.
    """
    path, state = partial_of(out)
    with translate_os_errors(path):
        out.parent.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
    with file, translate_os_errors(path, writes_only=False):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy(path) from None
        if not path.exists() or path.stat().st_ino != os.fstat(file.fileno()).st_ino:
            raise _busy(path)  # another process has just finished it, and our lock is on the final file
        if overwrite:
            state.unlink(missing_ok=True)
        partial = ResumableFile(out, writer, json.loads(json.dumps(command)), file)
        partial.resume()
        yield partial


def update_counts(done: Counts, batch: Sequence[ImagePrediction], shown: int = 10) -> Counts:
    """The counts with a batch added. `shown`: problems whose text is kept."""
    counts = Counter(done.counts)  # keeps the order of the first appearances
    counts.update(one.decision or one.predicted for one in batch if not one.error)
    problems = [f"{one.image}: {one.error}" for one in batch if one.error]
    return Counts(
        images=done.images + len(batch), unreadable=done.unreadable + len(problems),
        problems=(*done.problems, *problems)[:shown], counts=dict(counts),
        unstable=done.unstable + sum(one.stability is not None and not one.stability.stable for one in batch),
    )  # fmt: skip


def _busy(path: Path) -> RunError:
    return RunError(f"{path}: another process is writing it", hint="wait until it has finished, or choose another file")


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass") + b"\0"


def _read(path: Path, size: int) -> _State | None:
    """The stored state of a partial file of `size` bytes; None if there is none, or it is not whole, or does not fit the file.

    Then nothing in the partial file is reliable, and the command starts over.
    """
    try:
        state = _State.model_validate_json(read_bytes(path))
    except (OSError, ValueError):
        return None
    return state if state.bytes <= size else None


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    """The first setting that differs, with both values."""
    name = next(name for name in [*old, *new] if old.get(name) != new.get(name))
    return f"{name} was {old.get(name)!r} and is {new.get(name)!r}"
