"""The output folder of an aligned copy: encoding, atomic writes, and a journal, so that interrupted work resumes.

OUT/images/000000.png …      written to a temporary name, flushed, renamed
OUT/.unfinished/             only while the copy is incomplete
    settings.json            the settings of the copy
    journal.jsonl            one line per written image; an incomplete last line is dropped
    lock                     held by the writing process
OUT/manifest.csv, left-out.csv, README.txt, test.csv, train.csv     written when all images are complete
OUT/align.json               the marker, written last
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tellapart.alignment.plan import IMAGES, SUBSAMPLING
from tellapart.data.locator import parse_locator
from tellapart.errors import DataError, RunError, SystemLimitError
from tellapart.features._jpeg_traces import COUNT
from tellapart.io import append_durably, expand, flush_to_disk, open_own, write_bytes_atomically, write_json
from tellapart.plain_data import parse_json, read_json
from tellapart.regular_files import read_bytes
from tellapart.runs._fields import Fields
from tellapart.types import ImageTable

MARKER, MANIFEST = "align.json", "manifest.csv"
_WORK, _SETTINGS, _JOURNAL, _LOCK = ".unfinished", "settings.json", "journal.jsonl", "lock"
_WAITING = 16  # threads
_TABLES = (".csv", ".tsv")


class PartialCopy:
    """A copy in progress. `folder`: OUT, locked by this process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.work = folder, folder / _WORK
        self.written: dict[int, CopyLog] = {}

    def begin(self, settings: Mapping[str, Any], images: int) -> None:
        """Resume the same copy, or start it.

        Args:
            settings: What identifies the copy, as JSON holds it.
            images: Number of images to write.

        Raises:
            DataError: The folder contains a copy with other data or settings, or its journal is damaged.
        """
        path, begun = self.work / _SETTINGS, (self.work / _JOURNAL).exists()
        if begun and read_json(path) != dict(settings):
            hint = f"remove {self.folder}, choose another folder, or run the original command"
            raise DataError(f"{self.folder}: contains an unfinished copy of other data, or with other settings", hint=hint)
        if not begun:  # an earlier process has not written any image
            write_json(path, dict(settings))
        (self.folder / IMAGES).mkdir(exist_ok=True)
        self._read_journal(images)

    def add(self, name: str, content: bytes) -> None:
        """Write one image atomically; `note` flushes it to the disk. Threads may call it."""
        write_bytes_atomically(self.folder / name, content, durable=False)

    def note(self, images: Mapping[str, CopyLog]) -> None:
        """Flush these images, by name, to the disk, then add them to the journal.

        Many threads wait for the disk at once: 1,000 files of 3 KB took 0.6 s with 16 threads, 10 s one by one.
        """
        with ThreadPoolExecutor(_WAITING) as pool:
            list(pool.map(flush_to_disk, (self.folder / name for name in images)))
        append_durably(self.work / _JOURNAL, "".join(json.dumps(asdict(one)) + "\n" for one in images.values()).encode())
        self.written |= {one.number: one for one in images.values()}

    def end(self, texts: Mapping[str, str], marker: Mapping[str, Any]) -> None:
        """Write the tables in order, then the marker, and delete the journal."""
        for beside in (self.folder / IMAGES).glob(".*"):
            beside.unlink()
        for name, text in texts.items():
            # names that are not valid UTF-8 keep their bytes
            write_bytes_atomically(self.folder / name, text.encode("utf-8", "surrogateescape"), durable=True)
        write_json(self.folder / MARKER, marker, durable=True)
        shutil.rmtree(self.work, ignore_errors=True)

    def _read_journal(self, images: int) -> None:
        """Read all complete lines; truncate an incomplete last line, so that the next line does not join it."""
        path = self.work / _JOURNAL
        if not path.exists():
            return
        whole, _, torn = read_bytes(path).rpartition(b"\n")
        if torn:
            os.truncate(path, path.stat().st_size - len(torn))
        for number, line in enumerate(whole.splitlines(), 1):
            one = _journal_entry(path, number, line, images)
            self.written[one.number] = one


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[PartialCopy]:
    """Create or reopen OUT, and lock it.

    Raises:
        DataError: Another process writes to it.
        SystemLimitError: It cannot be written.
    """
    with explain_os_errors(folder):
        (folder / _WORK).mkdir(parents=True, exist_ok=True)
        lock = open_own(folder / _WORK / _LOCK, "w")
    with lock, explain_os_errors(folder):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{folder}: another process is writing this copy", hint="wait until it has finished") from None
        yield PartialCopy(folder)


@dataclass(frozen=True)
class CopyLog:
    """Journal entry of one written image.

    Attributes:
        number: Its number in the plan.
        digest: Digest of the file, 32 hex digits.
        traces: Output of `tellapart.features._jpeg_traces`.
    """

    number: int
    digest: str
    traces: tuple[float, ...]


def _journal_entry(path: Path, number: int, line: bytes, images: int) -> CopyLog:
    """One line of the journal.

    Raises:
        DataError: It is none that `PartialCopy.note` writes for a copy of so many images.
    """
    try:
        fields = Fields(path, parse_json(line.decode()), f"line {number}")
        traces = fields.get("traces")
        if not isinstance(traces, list) or len(traces) != COUNT + 1 or not all(isinstance(one, float) for one in traces):
            fields.refuse("traces", f"{COUNT + 1} numbers", traces)
        return CopyLog(int(fields.number("number", 0, images - 1, whole=True) or 0), fields.text("digest"), tuple(traces))
    except (RunError, ValueError) as error:
        reason = error.message if isinstance(error, RunError) else f"{path}: line {number}: not JSON ({error})"
        raise DataError(reason, hint=f"remove {path}: all images are then written again") from None


def encode(pixels: np.ndarray, quality: int) -> bytes:
    """Encode an image without metadata.

    Args:
        pixels: (H, W, 3) uint8, RGB.
        quality: JPEG quality (baseline, chroma at half size); 0: PNG, stored without compression, so that its number of bytes
            depends on the size alone. Compressed, it would reveal how noisy an image is, and so whether it was a JPEG.
    """
    file, picture = io.BytesIO(), Image.fromarray(np.ascontiguousarray(pixels))
    if quality:
        picture.save(file, "JPEG", quality=quality, subsampling=SUBSAMPLING)
    else:
        picture.save(file, "PNG", compress_level=0)
    return file.getvalue()


def crop(pixels: np.ndarray, corner: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Crop an image. `pixels`: (H, W, 3) uint8; `corner`: (2,) int64, top and left; `size`: (height, width)."""
    top, left = int(corner[0]), int(corner[1])
    return pixels[top : top + size[0], left : left + size[1]]


def read_finished(folder: Path) -> dict[str, Any] | None:
    """Read the marker of a complete copy; None if the folder is empty, new, or incomplete.

    Raises:
        DataError: The folder contains something else.
    """
    if (folder / MARKER).is_file():
        try:
            return read_json(folder / MARKER)
        except RunError as error:
            raise DataError(error.message, hint="remove the folder, or choose another one") from None
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: expected a folder to write into, found a file", hint="choose another name")
    with explain_os_errors(folder):
        others = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if others and _WORK not in others:
        hint = "choose a folder that does not exist yet, or an empty one"
        raise DataError(f"{folder}: expected an empty folder or a copy made by align, found {others[0]}", hint=hint)
    return None


def check_outside(folder: Path, data: str | Path | None, table: ImageTable) -> None:
    """Check that OUT lies outside the data: otherwise the next scan would find both. `data`: the scanned path.

    Raises:
        DataError: OUT lies inside the data.
    """
    tops = [Path(table.root)] if any(_is_plain_file(str(path)) for path in table.paths) else []
    if data is not None:
        given = expand(data)
        tops += [given] if given.is_dir() else [given.parent] if given.suffix.lower() in _TABLES else []
    for top in tops:
        if folder.resolve().is_relative_to(top.resolve()):
            hint = f"choose a folder outside, for example {top.resolve()}-aligned"
            raise DataError(f"{folder}: the output folder lies inside the data ({top})", hint=hint)


def check_space(folder: Path, needed: int) -> None:
    """Raise an error at the start if the disk is too small. `needed`: bytes."""
    with explain_os_errors(folder):
        free = shutil.disk_usage(folder).free
    if needed > free:
        message = f"{folder}: {needed / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free"
        raise SystemLimitError(message, hint="free some space, choose another disk, a smaller --size, or --format jpeg")


@contextlib.contextmanager
def explain_os_errors(folder: Path) -> Iterator[None]:
    """Translate errors of the operating system into errors that name the folder. Errors in reading are not translated."""
    try:
        yield
    except OSError as error:
        hint = "free some space or fix the permissions, then run the same command again to resume"
        message = f"{folder}: the copy cannot be written ({error.strerror or error})"
        raise SystemLimitError(message, hint=hint) from error


def _is_plain_file(locator: str) -> bool:
    where = parse_locator(locator)
    return not where.archive and where.row is None
