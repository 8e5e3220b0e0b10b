"""The folder that a copy is written into, so that nothing half-written looks whole, and work that was cut off goes on.

OUT/images/000000.png …      written beside, flushed, renamed
OUT/.unfinished/             only while it is not whole
    settings.json            what is being made
    journal.jsonl            one line a written image; a torn last line is dropped
    lock                     held by the process at work
OUT/manifest.csv, left-out.csv, README.txt, test.csv, train.csv     when all images are there
OUT/align.json               the marker, last of all
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tellapart.alignment.plan import IMAGES, SUBSAMPLING
from tellapart.data.reader import parse_locator
from tellapart.errors import DataError, RunError, SystemLimitError
from tellapart.io import append_durably, flush_to_disk, read_json, write_bytes_atomically, write_json
from tellapart.types import ImageTable

MARKER, MANIFEST = "align.json", "manifest.csv"
_WORK, _SETTINGS, _JOURNAL, _LOCK = ".unfinished", "settings.json", "journal.jsonl", "lock"
_WAITING = 16  # threads
_TABLES = (".csv", ".tsv")


@dataclass(frozen=True)
class CopyLog:
    """One image that lies in its place.

    Attributes:
        number: Its number in the plan.
        digest: 32 hex digits of the file.
        traces: Of `tellapart.features._jpeg_traces`.
    """

    number: int
    digest: str
    traces: tuple[float, ...]


class PartialCopy:
    """A copy under way. `folder`: OUT; held alone while it is worked on."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.work = folder, folder / _WORK
        self.written: dict[int, CopyLog] = {}

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Find what is there already of the same copy, or begin anew.

        Raises:
            DataError: The folder holds something else.
        """
        path, begun = self.work / _SETTINGS, (self.work / _JOURNAL).exists()
        if begun and read_json(path) != dict(settings):
            hint = f"remove {self.folder}, choose another folder, or give the same command as then"
            raise DataError(f"{self.folder}: holds an unfinished copy of other data, or with other settings", hint=hint)
        if not begun:  # nothing was written by whoever was here before
            write_json(path, dict(settings))
        (self.folder / IMAGES).mkdir(exist_ok=True)
        self._read_journal()

    def add(self, name: str, content: bytes) -> None:
        """Write one image atomically; `note` flushes it to the disk. Threads may call it."""
        write_bytes_atomically(self.folder / name, content, durable=False)

    def note(self, images: Mapping[str, CopyLog]) -> None:
        """Write down that these images, by name, are in their places, once the disk has them.

        Many wait for the disk at once: 1,000 files of 3 KB took 0.6 s with 16 threads, 10 s one by one.
        """
        with ThreadPoolExecutor(_WAITING) as pool:
            list(pool.map(flush_to_disk, (self.folder / name for name in images)))
        append_durably(self.work / _JOURNAL, "".join(json.dumps(asdict(one)) + "\n" for one in images.values()).encode())
        self.written |= {one.number: one for one in images.values()}

    def end(self, texts: Mapping[str, str], marker: Mapping[str, Any]) -> None:
        """Write the tables in their order, then the marker, and drop what was needed to go on."""
        for beside in (self.folder / IMAGES).glob(".*"):
            beside.unlink()
        for name, text in texts.items():
            # names that are not valid UTF-8 keep their bytes
            write_bytes_atomically(self.folder / name, text.encode("utf-8", "surrogateescape"), durable=True)
        write_json(self.folder / MARKER, marker, durable=True)
        shutil.rmtree(self.work, ignore_errors=True)

    def _read_journal(self) -> None:
        """Every whole line; what follows the last one is cut off, so that the next line does not join it."""
        path, end = self.work / _JOURNAL, 0
        if not path.exists():
            return
        with path.open("r+b") as file:
            for line in file:
                try:
                    content = json.loads(line)
                except ValueError:
                    break
                if not line.endswith(b"\n"):
                    break
                self.written[content["number"]] = CopyLog(content["number"], content["digest"], tuple(content["traces"]))
                end += len(line)
            file.truncate(end)


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[PartialCopy]:
    """Make OUT, or take it up again, alone.

    Raises:
        DataError: Another process is at work there.
        SystemLimitError: It cannot be written.
    """
    with explain_os_errors(folder):
        (folder / _WORK).mkdir(parents=True, exist_ok=True)
        lock = (folder / _WORK / _LOCK).open("w")
    with lock, explain_os_errors(folder):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{folder}: another process is writing this copy", hint="wait for it") from None
        yield PartialCopy(folder)


@contextlib.contextmanager
def explain_os_errors(folder: Path) -> Iterator[None]:
    """What the system refuses becomes an error that names the place. Reading has errors of its own."""
    try:
        yield
    except OSError as error:
        hint = "free some space, or mend the permission, then give the same command again: it goes on"
        place = f"{folder}: the copy cannot be written ({error.strerror or error})"
        raise SystemLimitError(place, hint=hint) from error


def check_space(folder: Path, needed: int) -> None:
    """Say before hours of work that the disk is too small. `needed`: bytes."""
    with explain_os_errors(folder):
        free = shutil.disk_usage(folder).free
    if needed > free:
        said = f"{folder}: {needed / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free"
        raise SystemLimitError(said, hint="free some space, choose another disk, a smaller --size, or --format jpeg")


def read_finished(folder: Path) -> dict[str, Any] | None:
    """What the marker of a whole copy says; None where there is none.

    Raises:
        DataError: The folder holds something else.
    """
    if (folder / MARKER).is_file():
        try:
            return read_json(folder / MARKER)
        except RunError as error:
            raise DataError(error.message, hint="remove the folder, or choose another") from None
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: expected a folder to write into, found a file", hint="choose another name")
    with explain_os_errors(folder):
        others = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if others and _WORK not in others:
        hint = "choose a folder that does not exist yet, or an empty one"
        raise DataError(f"{folder}: is not empty, and no copy that align made ({others[0]} is there)", hint=hint)
    return None


def check_outside(folder: Path, data: str | Path | None, table: ImageTable) -> None:
    """OUT must not lie where the images are looked for: the next look would find both. `data`: what was scanned.

    Raises:
        DataError: It does.
    """
    tops = [Path(table.root)] if any(_is_loose(str(path)) for path in table.paths) else []
    if data is not None:
        given = Path(data).expanduser()
        tops += [given] if given.is_dir() else [given.parent] if given.suffix.lower() in _TABLES else []
    for top in tops:
        if folder.resolve().is_relative_to(top.resolve()):
            hint = f"choose a folder outside, for example {top.resolve()}-aligned"
            raise DataError(f"{folder} lies inside the data that are to be aligned ({top})", hint=hint)


def _is_loose(locator: str) -> bool:
    where = parse_locator(locator)
    return not where.archive and where.row is None


# --- pixels to files that differ in nothing but their pixels ----------------------------------------------------------


def encode(pixels: np.ndarray, quality: int) -> bytes:
    """A file without metadata.

    Args:
        pixels: (H, W, 3) uint8, RGB.
        quality: Of JPEG (baseline, color at half size); 0: PNG, stored without compression, so that its number of bytes
            depends on the size alone. Compressed, it would tell how noisy a picture is, and so whether it was a JPEG.
    """
    file, picture = io.BytesIO(), Image.fromarray(np.ascontiguousarray(pixels))
    if quality:
        picture.save(file, "JPEG", quality=quality, subsampling=SUBSAMPLING)
    else:
        picture.save(file, "PNG", compress_level=0)
    return file.getvalue()


def crop(pixels: np.ndarray, corner: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A part of a picture, pixel for pixel. `pixels`: (H, W, 3) uint8; `corner`: (2,) int64, top and left."""
    top, left = int(corner[0]), int(corner[1])
    return pixels[top : top + size[0], left : left + size[1]]
