"""List the files of a data set: those of a folder, or the members of an archive. Nothing is opened.

A folder is walked once (`data/folder_walk.py`), with one `stat` a file for size and time. Files are kept as (folder
number, name), so that a million files in a thousand folders are understood a folder at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from tellapart.data.archives import Archive, open_archive
from tellapart.data.folder_walk import (
    IMAGE_ENDINGS,
    ending_of,
    is_no_text,
    is_skipped,
    not_a_file,
    path_kind,
    walk,
    walk_images,
)
from tellapart.data.locator import loose_locator
from tellapart.errors import DataError
from tellapart.regular_files import IrregularFileError, open_file, read_bytes
from tellapart.types import UNLABELED, ImageTable, Problem


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
        problems: Files that cannot even be listed.
    """

    root: str
    prefix: str
    folders: list[str]
    folder: np.ndarray
    names: list[str]
    sizes: np.ndarray
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
        return [prefix + paths[row] if prefix else loose_locator(paths[row]) for row in rows.tolist()]

    def read(self, row: int, limit: int = -1) -> bytes:
        """The content of one file, or its first `limit` bytes.

        Raises:
            DataError: It cannot be read.
        """
        path = self.paths[row]
        try:
            if self.archive:
                return self.archive.read(path, limit)
            if limit < 0:
                return read_bytes(f"{self.root}/{path}")
            with open_file(f"{self.root}/{path}") as file:
                return file.read(limit)
        except IrregularFileError as error:
            raise DataError(f"{path}: {error.reason}") from error
        except PermissionError as error:
            raise DataError(f"{path}: no permission to read it") from error
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read ({error})") from error

    def head(self, row: int, limit: int = 64 << 10) -> bytes:
        """The first whole lines of a file, for a guess at what it is; nothing where it cannot be read."""
        try:
            content = self.read(row, limit + 1)
        except DataError:
            return b""
        return content if len(content) <= limit else content[: content.rfind(b"\n") + 1]

    def only(self, rows: np.ndarray) -> Listing:
        """The same tree with only some of its files. `rows`: (M,) int."""
        return Listing(
            root=self.root,
            prefix=self.prefix,
            folders=self.folders,
            folder=self.folder[rows],
            names=[self.names[row] for row in rows.tolist()],
            sizes=self.sizes[rows],
            problems=self.problems,
            archive=self.archive,
        )


def list_folder(path: str) -> Listing:
    """All files below a folder.

    Raises:
        DataError: The folder itself cannot be read.
    """
    folders: list[str] = []
    entries: list[tuple[str, int, int]] = []  # name, folder number, size
    problems: list[Problem] = []
    for walked in walk(path):
        problems += walked.problems
        if not walked.entered:
            continue
        number = len(folders)
        folders.append(walked.path)
        for entry in walked.files:
            try:
                size = entry.stat().st_size
            except OSError:  # deleted a moment ago
                problems.append(not_a_file(entry, f"{walked.path}/{entry.name}" if walked.path else entry.name))
            else:
                entries.append((entry.name, number, size))
    return _listing(path, "", folders, entries, problems, None)


def list_file(path: str) -> Listing:
    """One file alone."""
    root, name = os.path.split(path)
    return _listing(root, "", [""], [(name, 0, Path(path).stat().st_size)], [], None)


def list_files(paths: Iterable[str], root: str | None = None) -> Listing:
    """Some files, wherever they lie.

    Args:
        paths: Absolute paths. Those that name no regular file are left out; one must remain.
        root: A folder above all of them; None: the one that they share.
    """
    kept = [path for path in sorted(set(map(os.path.normpath, paths))) if os.path.isfile(path)]  # noqa: PTH113
    top = os.path.commonpath([os.path.dirname(path) for path in kept]) if root is None else root  # noqa: PTH120
    number = {"": 0}
    entries: list[tuple[str, int, int]] = []
    for path in kept:
        folder, _, name = path[len(top.rstrip("/")) + 1 :].rpartition("/")
        entries.append((name, _add_folder(number, folder), os.path.getsize(path)))  # noqa: PTH202
    return _listing(top, "", list(number), entries, [], None)


def list_archive(path: str) -> Listing:
    """All members of an archive; the root is the archive's folder."""
    archive = open_archive(path)
    root, name = os.path.split(path)
    number = {"": 0}
    for folder in archive.folders():
        if not _is_skipped_path(folder):
            _add_folder(number, folder)
    entries: list[tuple[str, int, int]] = []
    problems = [problem for problem in archive.problems() if not _is_skipped_path(problem.where)]
    for member in archive.members():
        if not _is_skipped_path(member.name) and not is_no_text(member.name, problems):
            folder, _, base = member.name.rpartition("/")
            entries.append((base, _add_folder(number, folder), member.size))
    return _listing(root, f"{name}::", list(number), entries, problems, archive)


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
    entries: list[tuple[str, int, int]],
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
    frame = pd.DataFrame(
        {
            "id": pd.Series(shown, dtype=object),
            "path": pd.Series([os.path.relpath(file, root) for file in full], dtype=object),
            "label": UNLABELED,
            "size": [os.stat(file).st_size for file in full],  # noqa: PTH116
        }
    )
    problems = tuple(Problem("missing file", file, reason) for file, reason in listed.items() if reason)
    return ImageTable(frame, tuple(classes), root, problems=problems, layout=f"{len(frame):,} unlabeled files")


def _images(path: Path) -> Iterator[tuple[str, str]]:
    kind = path_kind(path)
    if not kind:
        raise DataError(f"{path}: no such file or folder", hint="name image files or folders of them")
    return walk_images(str(path)) if kind == "folder" else iter([(str(path), "")])
