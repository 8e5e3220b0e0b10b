"""List files: a folder walked once (`walk`, used by every command), or the members of an archive. Nothing is opened.

`os.scandir` visits each folder once; for a data set, one `stat` a file gives size and time. Files are kept as (folder
number, name), so that a million files in a thousand folders are understood a folder at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from heapq import heappop, heappush
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from tellapart.data.archives import Archive, file_digest, open_archive
from tellapart.errors import DataError
from tellapart.types import UNLABELED, ImageTable, Problem

_ENDINGS = ".jpg .jpeg .jpe .jfif .png .bmp .dib .gif .tif .tiff .webp .ppm .pgm .pbm .pnm .tga .jp2 .j2k .avif"
IMAGE_ENDINGS = frozenset(_ENDINGS.split())
_SKIPPED = frozenset({"__MACOSX", "Thumbs.db", "thumbs.db", "desktop.ini", "@eaDir", "$RECYCLE.BIN"})
_RUNS_MARKER = "ledger.jsonl"  # our own runs folder, when data and results share a folder


@dataclass(frozen=True, eq=False)
class Listing:
    """N files, sorted by path.

    Attributes:
        root: The folder on disk that locators are relative to.
        prefix: What locators begin with: "" for a folder, `a.tar::` for an archive in `root`.
        folders: Relative paths of all folders, empty ones too; "" is the top.
        folder: (N,) int64, index into `folders`.
        names: File names without the folder, N.
        sizes: (N,) int64, bytes.
        stamps: (N,) int64, see `ImageTable`.
        problems: Files that cannot even be listed.
    """

    root: str
    prefix: str
    folders: list[str]
    folder: np.ndarray
    names: list[str]
    sizes: np.ndarray
    stamps: np.ndarray
    problems: tuple[Problem, ...] = ()
    archive: Archive | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def where(self) -> str:
        """The folder or archive, for messages."""
        return f"{self.root}/{self.prefix.removesuffix('::')}".rstrip("/")

    @cached_property
    def paths(self) -> list[str]:
        """Paths below the top, with forward slashes."""
        heads = [f"{folder}/" if folder else "" for folder in self.folders]
        return [heads[number] + name for number, name in zip(self.folder.tolist(), self.names, strict=True)]

    @cached_property
    def endings(self) -> np.ndarray:
        """Lower-case endings with the dot: (N,) object (str)."""
        return np.array([ending_of(name) for name in self.names], dtype=object)

    @cached_property
    def is_image(self) -> np.ndarray:
        """Whether the ending is that of an image: (N,) bool."""
        return np.fromiter((ending in IMAGE_ENDINGS for ending in self.endings), dtype=bool, count=len(self))

    def locators(self, rows: np.ndarray) -> list[str]:
        """Locators of files. `rows`: (M,) int."""
        paths, prefix = self.paths, self.prefix
        return [prefix + paths[row] for row in rows.tolist()] if prefix else [paths[row] for row in rows.tolist()]

    def read(self, row: int) -> bytes:
        """The content of one file.

        Raises:
            DataError: It cannot be read.
        """
        path = self.paths[row]
        try:
            return self.archive.read(path) if self.archive else (Path(self.root) / path).read_bytes()
        except PermissionError as error:
            raise DataError(f"{path}: no permission to read it") from error
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read ({error})") from error

    def content_stamp(self, row: int) -> int:
        """63-bit digest of one file's content."""
        return int(self.stamps[row]) if self.archive else file_digest(str(Path(self.root) / self.paths[row]))

    def only(self, rows: np.ndarray) -> Listing:
        """The same tree with only some of its files. `rows`: (M,) int."""
        return Listing(
            root=self.root,
            prefix=self.prefix,
            folders=self.folders,
            folder=self.folder[rows],
            names=[self.names[row] for row in rows.tolist()],
            sizes=self.sizes[rows],
            stamps=self.stamps[rows],
            problems=self.problems,
            archive=self.archive,
        )


def ending_of(name: str) -> str:
    """Lower-case ending with the dot; "" when there is none.

    >>> ending_of("A.b.JPG"), ending_of("README")
    ('.jpg', '')
    """
    _, dot, ending = name.rpartition(".")
    return dot + ending.lower() if dot else ""


def list_folder(path: str) -> Listing:
    """All files below a folder.

    Raises:
        DataError: The folder or one below it cannot be read.
    """
    folders: list[str] = []
    entries: list[tuple[str, int, int, int]] = []  # name, folder number, size, stamp
    problems: list[Problem] = []
    for walked in walk(path):
        number = len(folders)
        folders.append(walked.path)
        problems += walked.problems
        for entry in walked.files:
            try:
                stat = entry.stat()
            except OSError:  # deleted a moment ago
                problems.append(_not_a_file(entry, f"{walked.path}/{entry.name}" if walked.path else entry.name))
            else:
                entries.append((entry.name, number, stat.st_size, stat.st_mtime_ns))
    return _listing(path, "", folders, entries, problems, None)


def list_file(path: str) -> Listing:
    """One file alone."""
    root, name = os.path.split(path)
    stat = Path(path).stat()
    return _listing(root, "", [""], [(name, 0, stat.st_size, stat.st_mtime_ns)], [], None)


def list_archive(path: str) -> Listing:
    """All members of an archive; the root is the archive's folder."""
    archive = open_archive(path)
    root, name = os.path.split(path)
    number = {"": 0}
    for folder in archive.folders():
        if not _is_skipped_path(folder):
            _add_folder(number, folder)
    entries: list[tuple[str, int, int, int]] = []
    said = "is a link to nowhere in the archive, or not a regular file"
    problems = [Problem("missing file", name, said) for name in archive.links() if not _is_skipped_path(name)]
    for member in archive.members():
        if not _is_skipped_path(member.name) and not _is_no_text(member.name, problems):
            folder, _, base = member.name.rpartition("/")
            entries.append((base, _add_folder(number, folder), member.size, member.stamp))
    return _listing(root, f"{name}::", list(number), entries, problems, archive)


class WalkedFolder(NamedTuple):
    """One folder of a walk.

    Attributes:
        path: Relative to the top, with forward slashes; "" is the top.
        files: Its regular files, sorted by name.
        problems: Entries that cannot be listed (dead links, devices, names that are not UTF-8; a folder ends in "/"), sorted
            by name.
    """

    path: str
    files: list[os.DirEntry[str]]
    problems: list[Problem]


def walk(top: str) -> Iterator[WalkedFolder]:
    """Every folder below `top`, one at a time: parents first, then by path. No file is opened, none is `stat`-ed.

    Hidden entries, those that operating systems leave behind, and tellapart's own runs folder are skipped. A folder is
    visited once, however often it is linked; links to folders come last. Only the names of one folder and the paths of
    the folders still to be visited are in memory.

    Raises:
        DataError: The folder or one below it cannot be read.
    """
    folders, links = [""], []  # heaps: a folder sorts before what is below it, so that they come out in order
    seen: set[tuple[int, int]] = set()
    while folders or links:
        relative = heappop(folders or links)
        here = f"{top.rstrip('/')}/{relative}" if relative else top
        stat = _stat_folder(here)
        if stat.st_ino and (stat.st_dev, stat.st_ino) in seen:  # some network disks number nothing
            continue
        seen.add((stat.st_dev, stat.st_ino))
        walked, below = _sort_entries(here, relative)
        if relative and any(entry.name == _RUNS_MARKER for entry in walked.files):
            continue
        for entry in below:
            heappush(links if entry.is_symlink() else folders, f"{relative}/{entry.name}" if relative else entry.name)
        yield walked


def _sort_entries(here: str, relative: str) -> tuple[WalkedFolder, list[os.DirEntry[str]]]:
    """Files and problems of one folder, and the folders in it."""
    files: list[os.DirEntry[str]] = []
    below: list[os.DirEntry[str]] = []
    problems: list[Problem] = []
    for entry in sorted(_entries(here), key=attrgetter("name")):
        child = f"{relative}/{entry.name}" if relative else entry.name
        if is_skipped(entry.name) or _is_no_text(f"{child}/" if entry.is_dir() else child, problems):
            continue
        if entry.is_dir():
            below.append(entry)
        elif entry.is_file():
            files.append(entry)
        else:
            problems.append(_not_a_file(entry, child))
    return WalkedFolder(relative, files, problems), below


def walk_images(folder: str) -> Iterator[tuple[str, str]]:
    """Path and "" of every image below a folder, in the order of `walk`; where it cannot be read, its name and why.

    Args:
        folder: Paths begin with it, except with "." for the current folder.
    """
    head = "" if folder == "." else f"{folder.rstrip('/')}/"
    for walked in walk(folder):
        inside = f"{head}{walked.path}/" if walked.path else head
        readable = [(inside + entry.name, "") for entry in walked.files if _is_image(entry.name)]
        bad = [
            (head + p.where, p.message) for p in walked.problems if p.where[-1] == "/" or ending_of(p.where) in IMAGE_ENDINGS
        ]
        yield from sorted([*readable, *bad]) if bad else readable


def _is_image(name: str) -> bool:
    return ending_of(name) in IMAGE_ENDINGS


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except PermissionError as error:
        raise DataError(
            f"{folder}: no permission to list this folder", hint="make it readable, or give another folder"
        ) from error


def _stat_folder(folder: str) -> os.stat_result:
    try:
        return os.stat(folder)  # noqa: PTH116 (a Path here costs more than the call)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error


def _not_a_file(entry: os.DirEntry[str], child: str) -> Problem:
    """Why an entry is not a file: a link to nowhere, or a pipe, a socket or a device."""
    try:
        entry.stat()
    except OSError as error:
        return Problem("missing file", child, f"cannot be read ({error.strerror})")
    return Problem("missing file", child, "is not a regular file")


def _is_no_text(path: str, problems: list[Problem]) -> bool:
    """Whether a path is not UTF-8, which no table could name and no report could print; if so, it is a problem."""
    if path.isascii():
        return False
    shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if shown != path:
        problems.append(Problem("bad name", shown, "the name is not valid UTF-8: rename it"))
    return shown != path


def is_skipped(name: str) -> bool:
    """Whether a file or folder of this name is none of the user's: hidden, or left by a system."""
    return name[0] == "." or name in _SKIPPED


def _is_skipped_path(path: str) -> bool:
    return any(is_skipped(part) for part in path.split("/") if part)


def _add_folder(number: dict[str, int], folder: str) -> int:
    """The number of a folder; new ones are added with their parents."""
    if folder not in number:
        if parent := folder.rpartition("/")[0]:
            _add_folder(number, parent)
        number[folder] = len(number)
    return number[folder]


def _listing(
    root: str,
    prefix: str,
    folders: list[str],
    entries: list[tuple[str, int, int, int]],
    problems: list[Problem],
    archive: Archive | None,
) -> Listing:
    """Sort by folder, then name, so that the order does not depend on the disk."""
    order = sorted(range(len(folders)), key=folders.__getitem__)
    place = np.empty(len(folders), dtype=np.int64)
    place[order] = np.arange(len(folders))
    rank = place.tolist()
    entries.sort(key=lambda entry: (rank[entry[1]], entry[0]))
    count = len(entries)
    return Listing(
        root=root or ".",
        prefix=prefix,
        folders=[folders[i] for i in order],
        folder=np.fromiter((rank[entry[1]] for entry in entries), dtype=np.int64, count=count),
        names=[entry[0] for entry in entries],
        sizes=np.fromiter((entry[2] for entry in entries), dtype=np.int64, count=count),
        stamps=np.fromiter((entry[3] for entry in entries), dtype=np.int64, count=count),
        problems=tuple(problems),
        archive=archive,
    )


# --- images without labels: files, and folders of them ----------------------------------------------------------------


def from_paths(paths: Sequence[str | Path], classes: Sequence[str] = ()) -> ImageTable:
    """A table of unlabeled image files.

    Args:
        paths: Files, taken whatever their ending, or folders, searched by `walk` for files with an image's ending.
        classes: Class names of the run that predicts them.

    Raises:
        DataError: Something does not exist, or there is no image at all.
    """
    listed = dict(pair for path in paths for pair in _images(Path(path)))
    shown = [file for file, reason in listed.items() if not reason]
    if not shown:
        raise DataError(f"no image in {', '.join(map(str, paths)) or 'nothing'}", hint="name image files or folders of them")
    full = [os.path.realpath(file) for file in shown]
    root = os.path.commonpath([os.path.dirname(file) for file in full])  # noqa: PTH120
    status = [os.stat(file) for file in full]  # noqa: PTH116
    frame = pd.DataFrame(
        {
            "id": pd.Series(shown, dtype=object),
            "path": pd.Series([os.path.relpath(file, root) for file in full], dtype=object),
            "label": UNLABELED,
            "size": [s.st_size for s in status],
            "stamp": [s.st_mtime_ns for s in status],
        }
    )
    problems = tuple(Problem("missing file", file, reason) for file, reason in listed.items() if reason)
    return ImageTable(frame, tuple(classes), root, problems=problems, layout=f"{len(frame):,} unlabeled files")


def _images(path: Path) -> Iterator[tuple[str, str]]:
    if not path.exists():
        raise DataError(f"{path}: no such file or folder", hint="name image files or folders of them")
    return walk_images(str(path)) if path.is_dir() else iter([(str(path), "")])
