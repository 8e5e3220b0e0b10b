"""From the ids in a table to files in a tree.

An id may be a path, a file name or a name without its ending. Tried in this order, for all ids at once: the path as
written, below the table's folder; the same without its ending; inside the folder of the id's split (`train.csv` →
`Train/`); any file below the table's folder whose path ends like the id. Where two files fit, the id is ambiguous.
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np

from tellapart.data.listing import IMAGE_ENDINGS, Listing, ending_of
from tellapart.data.spellings import split_of

MISSING, AMBIGUOUS = -1, -2
_Key = TypeVar("_Key", bound=Hashable)


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

    def find(self, ids: Sequence[str], splits: Sequence[str]) -> tuple[np.ndarray, dict[int, list[str]]]:
        """Rows of the listing, and what was ambiguous.

        Args:
            ids: N ids as written.
            splits: N split names, "" when unknown.

        Returns:
            (N,) int64 file numbers, `MISSING` or `AMBIGUOUS`; and for each ambiguous position the paths that fit.
        """
        keys = [_clean(name) for name in ids]
        by_path = self._exact.by_path
        found = np.fromiter((by_path.get(key, MISSING) for key in keys), dtype=np.int64, count=len(keys))
        ambiguous: dict[int, list[str]] = {}
        for position in np.flatnonzero(found == MISSING).tolist():
            fits = self._exact.search(keys[position], splits[position])
            if not fits and not keys[position].isascii():
                # The same letter may be one code point or two (é, ł): compare in one normal form.
                fits = self._composed.search(_compose(keys[position]), splits[position])
            if len(fits) == 1:
                found[position] = fits[0]
            elif fits:
                found[position] = AMBIGUOUS
                ambiguous[position] = [self._listing.paths[row] for row in fits]
        return found, ambiguous

    @cached_property
    def _exact(self) -> _Lookup:
        return self._lookup(lambda path: path)

    @cached_property
    def _composed(self) -> _Lookup:
        return self._lookup(_compose)

    def _lookup(self, fold: Callable[[str], str]) -> _Lookup:
        cut, base, skip = self._cut, self._base, self._skip
        paths = {
            fold(path[cut:]): row
            for row, path in enumerate(self._listing.paths)
            if row not in skip and path.startswith(base)
        }
        return _Lookup(paths)


class _Lookup:
    """The files of one tree by path, by path without ending, by split folder and by name; built when first needed."""

    def __init__(self, by_path: dict[str, int]) -> None:
        self.by_path = by_path

    @cached_property
    def _images(self) -> list[tuple[str, int]]:
        return [(path, row) for path, row in self.by_path.items() if ending_of(path) in IMAGE_ENDINGS]

    @cached_property
    def _by_stem(self) -> dict[str, list[int]]:
        return _gather((_stem(path), row) for path, row in self._images)

    @cached_property
    def _by_name(self) -> dict[str, list[tuple[str, int]]]:
        """File name, and stem, → (path with or without ending, row)."""
        table: dict[str, list[tuple[str, int]]] = {}
        for path, row in self._images:
            for key in (path, _stem(path)):
                table.setdefault(key.rpartition("/")[2], []).append((f"/{key}", row))
        return table

    @cached_property
    def _by_split(self) -> dict[tuple[str, str], list[int]]:
        """(split, path below the split's folder; also the bare name; each with and without ending) → rows."""
        pairs: list[tuple[tuple[str, str], int]] = []
        for path, row in self._images:
            parts = path.split("/")
            depth = next((i for i, part in enumerate(parts[:-1]) if split_of(part)), None)
            if depth is not None:
                split = split_of(parts[depth])
                keys = {"/".join(parts[depth + 1 :]), parts[-1]}
                pairs += [((split, key), row) for key in keys | {_stem(key) for key in keys}]
        return _gather(pairs)

    @cached_property
    def _splits(self) -> frozenset[str]:
        return frozenset(split for split, _ in self._by_split)

    @cached_property
    def _folder_names(self) -> frozenset[str]:
        folders = {path.rpartition("/")[0] for path in self.by_path}
        return frozenset(name for folder in folders for name in folder.split("/"))

    def search(self, key: str, split: str) -> list[int]:
        """Files that fit one id; empty when none does."""
        if key in self.by_path:
            return [self.by_path[key]]
        if fits := self._by_stem.get(key):
            return fits
        if split and (fits := self._by_split.get((split, key))):
            return fits
        return self._by_ending_of_path(key, split)

    def _by_ending_of_path(self, key: str, split: str) -> list[int]:
        """Files whose path ends like the id: as much of it as possible, at least its name and one folder.

        The bare name is enough only where the id has no folder, or its folder does not exist here (the table was
        written elsewhere): otherwise a missing `cats/1.png` would be taken for `dogs/1.png`. For the same reason a test
        image is not looked for in the training folder when there is a test folder.
        """
        parts = key.split("/")
        candidates = self._by_name.get(parts[-1], [])
        if split in self._splits:
            candidates = [(path, row) for path, row in candidates if _split_of_path(path) in ("", split)]
        shortest = 1 if len(parts) == 1 or parts[-2] not in self._folder_names else 2
        for length in range(len(parts), shortest - 1, -1):
            tail = "/" + "/".join(parts[-length:])
            if fits := sorted({row for path, row in candidates if path.endswith(tail)}):
                return fits
        return []


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


def _split_of_path(path: str) -> str:
    return next(filter(None, map(split_of, path.split("/")[:-1])), "")


def _stem(path: str) -> str:
    return path.rpartition(".")[0]


def _compose(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _gather(pairs: Iterable[tuple[_Key, int]]) -> dict[_Key, list[int]]:
    table: dict[_Key, list[int]] = {}
    for key, row in pairs:
        table.setdefault(key, []).append(row)
    return table
