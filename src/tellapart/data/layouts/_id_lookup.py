"""Find the files that the ids of a table name: paths, file names, or these without their ending."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

import numpy as np

from tellapart.data.folder_walk import IMAGE_ENDINGS, ending_of
from tellapart.data.layouts._aliases import parse_split
from tellapart.data.listing import Listing

MISSING, AMBIGUOUS = -1, -2


class FileFinder:
    """Finds files of one listing.

    Args:
        listing: The files.
        base: The table's folder inside the listing; "" for the top.
        skip: Files that are tables, never images.
    """

    def __init__(self, listing: Listing, base: str = "", skip: Iterable[int] = ()) -> None:
        self._listing = listing
        self._cut = len(base) + 1 if base else 0
        self._base = f"{base}/" if base else ""
        self._skip = frozenset(skip)
        self._head = posixpath.join(listing.root, self._base) if not listing.archive else "\0"

    def find(self, ids: Sequence[str], splits: Sequence[str]) -> tuple[np.ndarray, dict[int, list[str]]]:
        """Rows of the listing, and what was ambiguous.

        Args:
            ids: N ids as written.
            splits: N split names, "" when unknown.

        Returns:
            (N,) int64 file numbers, `MISSING` or `AMBIGUOUS`; and for each ambiguous position the paths that fit.
        """
        keys = [_clean(name.removeprefix(self._head)) for name in ids]
        by_path = self._exact.by_path
        found = np.fromiter((by_path.get(key, MISSING) for key in keys), dtype=np.int64, count=len(keys))
        ambiguous: dict[int, list[str]] = {}
        for position in np.flatnonzero(found == MISSING).tolist():
            if ids[position].startswith(self._head):  # an absolute path of this machine: no file elsewhere will do
                fits = self._exact.with_or_without_ending(keys[position])
            else:
                fits = self._exact.search(keys[position], splits[position])
            if not fits and not keys[position].isascii():
                # The same letter may be one code point or two (é): compare in one normal form.
                fits = self._composed.search(_compose(keys[position]), splits[position])
            if len(fits) == 1:
                found[position] = fits[0]
            elif fits:
                found[position] = AMBIGUOUS
                ambiguous[position] = [self._listing.paths[row] for row in fits]
        return found, ambiguous

    def folder_splits(self, files: np.ndarray) -> np.ndarray:
        """The split that the folders of some files name, "" for none: (N,) object. files: (N,) int64, < 0 for none."""
        folders = [folder[self._cut :].split("/") for folder in self._listing.folders]
        splits = np.array([next(filter(None, map(parse_split, names)), "") for names in folders], dtype=object)
        return np.where(files >= 0, splits[self._listing.folder[files]], "")

    @cached_property
    def _exact(self) -> _Lookup:
        return self._lookup(lambda path: path)

    @cached_property
    def _composed(self) -> _Lookup:
        return self._lookup(_compose)

    def _lookup(self, fold: Callable[[str], str]) -> _Lookup:
        cut, base, skip = self._cut, self._base, self._skip
        paths = {
            fold(path[cut:]): row for row, path in enumerate(self._listing.paths) if row not in skip and path.startswith(base)
        }
        return _Lookup(paths)


class _Lookup:
    """The files of one tree by path, and, built when first needed, by path without ending, by name and by folder.

    A million files fit: values are row numbers, and only keys that several files share get a list.
    """

    def __init__(self, by_path: dict[str, int]) -> None:
        self.by_path = by_path

    @cached_property
    def _by_stem(self) -> _Index:
        """Path without its ending → images."""
        return _Index((path.rpartition(".")[0], row) for path, row in self.by_path.items() if _is_image(path))

    @cached_property
    def _by_name(self) -> _Index:
        """File name, with and without its ending → images."""
        names = ((path.rpartition("/")[2], row) for path, row in self.by_path.items() if _is_image(path))
        return _Index(pair for name, row in names for pair in ((name, row), (name.rpartition(".")[0], row)))

    @cached_property
    def _folders(self) -> list[str]:
        return sorted({path.rpartition("/")[0] for path in self.by_path})

    @cached_property
    def _folder_by_tail(self) -> _Index:
        """The last one, two, … names of a folder's path → numbers of folders."""
        split = [(folder.split("/"), number) for number, folder in enumerate(self._folders)]
        return _Index(("/".join(names[-n:]), number) for names, number in split for n in range(1, len(names) + 1))

    @cached_property
    def _split_of_row(self) -> dict[int, str]:
        """Image → the split that its folder names, "" for none."""
        splits = {folder: next(filter(None, map(parse_split, folder.split("/"))), "") for folder in self._folders}
        return {row: splits[path.rpartition("/")[0]] for path, row in self.by_path.items()}

    @cached_property
    def _splits(self) -> frozenset[str]:
        return frozenset(self._split_of_row.values())

    def search(self, key: str, split: str) -> list[int]:
        """Files that fit one id; empty when none does."""
        if key in self.by_path:
            return [self.by_path[key]]
        return self._by_stem.get(key) or self._by_end_of_path(key, split)

    def _by_end_of_path(self, key: str, split: str) -> list[int]:
        """Files whose path ends like the id: as much of it as possible, at least its name and one folder.

        The bare name is enough only where the id has no folder, or its folder does not exist here (the table was
        written elsewhere): otherwise a missing `cats/1.png` would be taken for `dogs/1.png`.
        """
        *folders, name = key.split("/")
        for first in range(len(folders)):
            tail = "/".join(folders[first:])
            places = [f"{self._folders[number]}/{name}" for number in self._folder_by_tail.get(tail)]
            fits = [row for path in places for row in self.with_or_without_ending(path)]
            if fits := self._of_split(fits, split):
                return fits
        if folders and self._folder_by_tail.get(folders[-1]):
            return []
        return self._of_split(self._by_name.get(name), split)

    def with_or_without_ending(self, path: str) -> list[int]:
        """Files of exactly this path, which may lack its ending."""
        return [self.by_path[path]] if path in self.by_path else self._by_stem.get(path)

    def _of_split(self, rows: list[int], split: str) -> list[int]:
        """Of several files those in the split's own folder; where it has one, none from the folders of other splits.

        So a test image that is missing is not found in the training folder.
        """
        if not split or not rows or split not in self._splits:
            return rows
        own = [row for row in rows if self._split_of_row[row] == split]
        return own or [row for row in rows if not self._split_of_row[row]]


class _Index:
    """Row numbers by key; most keys have one."""

    def __init__(self, pairs: Iterable[tuple[str, int]]) -> None:
        self._first: dict[str, int] = {}
        self._all: dict[str, list[int]] = {}
        for key, row in pairs:
            first = self._first.setdefault(key, row)
            if first != row:
                self._all.setdefault(key, [first]).append(row)

    def get(self, key: str) -> list[int]:
        """Rows of a key; empty when there is none."""
        if key in self._all:
            return self._all[key]
        return [self._first[key]] if key in self._first else []


def _clean(name: str) -> str:
    """Forward slashes, no drive, no leading `/`, `./` or `../`.

    >>> _clean("..\\\\images\\\\1.png"), _clean("C:/a/1.png"), _clean("./a//1.png"), _clean("1.png")
    ('images/1.png', 'a/1.png', 'a/1.png', '1.png')
    """
    if "/" not in name and "\\" not in name:
        return name
    path = name.replace("\\", "/")
    path = path[2:] if path[1:3] == ":/" else path
    if "//" in path or "./" in path or path[0] == "/":
        path = posixpath.normpath(path).lstrip("/")
        while path.startswith("../"):
            path = path[3:]
    return path


def _is_image(path: str) -> bool:
    return ending_of(path) in IMAGE_ENDINGS


def _compose(text: str) -> str:
    return unicodedata.normalize("NFC", text)
