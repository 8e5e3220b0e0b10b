"""A file of answers that is not whole yet: `answers.csv.partial`, and `answers.csv.partial.json` that says how far it is.

The second file names the command (run, images, options), how many images were taken, a digest of their names, and how many
bytes of the first file belong to them. It is written after those bytes are on the disk, so whatever ends the process, they are
there; what stands behind them is cut off when the work goes on. The file of the final name appears when all is in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, BinaryIO, final

from tellapart.errors import DataError, RunError
from tellapart.inference.writers import PredictionWriter
from tellapart.io import flush_to_disk, translate_os_errors, write_text_atomically

_BETWEEN = 2.0  # seconds between two looks at the disk: what a crash may cost


@dataclass(frozen=True)
class Counts:
    """What has been answered so far.

    Attributes:
        images: Names taken, in their order, each once.
        bad: Those among them that could not be read.
        problems: Of the first few of these, "name: reason".
        counts: What was said → how many images.
        unstable: Images of which not all deliveries were told the same.
    """

    images: int = 0
    bad: int = 0
    problems: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    unstable: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {one.name: getattr(self, one.name) for one in fields(self)} | {"problems": list(self.problems)}


@final
class ResumableFile:
    """An unfinished file of answers, held by this process alone.

    Attributes:
        sheet: Its format.
        tally: Of what is in it.
    """

    def __init__(self, out: Path, sheet: PredictionWriter, command: dict[str, Any], file: BinaryIO) -> None:
        self.out, self.sheet, self._command, self._file = out, sheet, command, file
        self._path, self._state = partial_of(out)
        self.tally, self._names = Counts(), hashlib.blake2b(digest_size=16)
        self._kept: dict[str, Any] | None = None  # until the names in it were checked
        self._written = time.monotonic()

    def take_up(self) -> None:
        """Find out how far it is.

        Raises:
            RunError: It was begun by another command.
        """
        state = _read(self._state) if os.fstat(self._file.fileno()).st_size else None
        if state is None:
            self._file.truncate(0)
            self._file.write(self.sheet.head())
            return
        if state["command"] != self._command:
            raise RunError(
                f"{self._path} was begun by another command: {_difference(state['command'], self._command)}",
                hint="give that command again to go on, or begin anew with --fresh",
            )
        self._kept = state
        said = state["tally"]
        self.tally = Counts(**{**said, "problems": tuple(said["problems"])})
        self._file.truncate(state["bytes"])
        self._file.seek(state["bytes"])

    def check(self, names: Iterable[str]) -> None:
        """Are the names that are taken up now those that are in it? `names`: as many as there are, or all that there are.

        Raises:
            DataError: They are not.
        """
        for name in names:
            self._names.update(_told(name))
        if self._kept is not None and self._names.hexdigest() != self._kept["names"]:
            raise DataError(
                f"{self._path}: its {self.tally.images:,} images are not the first {self.tally.images:,} that are named now",
                hint="files were added, removed or renamed since: put them back, or begin anew with --fresh",
            )
        self._kept = None

    def add(self, names: Iterable[str], rows: bytes, tally: Counts) -> None:
        """Write the rows of a portion; every two seconds, make sure of them.

        Args:
            names: Its images.
            rows: In the sheet's format.
            tally: With the portion in it.
        """
        self._file.write(rows)
        for name in names:
            self._names.update(_told(name))
        self.tally = tally
        if time.monotonic() - self._written >= _BETWEEN:
            self.keep()

    def keep(self) -> None:
        """Bytes first, then the note that they are there."""
        if self._kept is not None:
            return  # nothing was added, and the names are not all told yet
        self._file.flush()
        os.fsync(self._file.fileno())
        content = {"command": self._command, "names": self._names.hexdigest(), "bytes": self._file.tell()}
        text = json.dumps({**content, "tally": self.tally.to_dict()}, ensure_ascii=False)
        write_text_atomically(self._state, text, durable=True)
        self._written = time.monotonic()

    def finish(self) -> None:
        """Give it its final name."""
        self.keep()
        self.sheet.finish(self._path, self.out)
        flush_to_disk(self.out.parent)  # else a power cut could undo the renaming
        self._state.unlink(missing_ok=True)

    def discard(self) -> None:
        """Nothing came of it."""
        self._path.unlink(missing_ok=True)
        self._state.unlink(missing_ok=True)


def partial_of(out: Path) -> tuple[Path, Path]:
    """The unfinished file, and what says how far it is."""
    return out.with_name(f"{out.name}.partial"), out.with_name(f"{out.name}.partial.json")


@contextlib.contextmanager
def open_resumable(out: Path, sheet: PredictionWriter, command: dict[str, Any], fresh: bool) -> Iterator[ResumableFile]:
    """The unfinished file of `out`: begun, or gone on with.

    Args:
        out: The final file.
        sheet: Its format.
        command: What makes its rows; it must be the same every time.
        fresh: Begin anew in any case.

    Raises:
        RunError: It was begun by another command, or another process is at it.
        SystemLimitError: It cannot be written.
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
            raise _busy(path)  # it was finished in this moment, and what we hold is the final file
        if fresh:
            state.unlink(missing_ok=True)
        partial = ResumableFile(out, sheet, json.loads(json.dumps(command)), file)
        partial.take_up()
        yield partial


def update_counts(
    tally: Counts, images: int, counts: dict[str, int], problems: list[str], unstable: int, named: int = 10
) -> Counts:
    """A tally with a portion added; `named`: problems that are kept in words."""
    total = {name: tally.counts.get(name, 0) + counts.get(name, 0) for name in [*tally.counts, *counts]}
    return replace(
        tally, images=tally.images + images, bad=tally.bad + len(problems), counts=total,
        problems=(*tally.problems, *problems)[:named], unstable=tally.unstable + unstable,
    )  # fmt: skip


def _busy(path: Path) -> RunError:
    return RunError(f"{path}: another process is writing it", hint="wait for it, or choose another file")


def _told(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass") + b"\0"


def _read(path: Path) -> dict[str, Any] | None:
    """The note; None where there is none yet, or it cannot be read: then nothing in the file can be relied on."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    """What is not the same, first thing first."""
    name = next(name for name in [*old, *new] if old.get(name) != new.get(name))
    return f"{name} was {old.get(name)!r} and is {new.get(name)!r}"
