"""Find images by the ids of a table: the unlabeled test images of a competition."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from tellapart.data.archives import ARCHIVE_ENDINGS
from tellapart.data.folder_walk import IMAGE_ENDINGS, ending_of
from tellapart.data.layouts._aliases import parse_split
from tellapart.data.layouts._columns import detect_columns, further_columns
from tellapart.data.layouts._csv import TABLE_ENDINGS, TextTable, read_text_table
from tellapart.data.layouts._near_names import NearNames, remedy
from tellapart.data.layouts.base import ColumnOptions
from tellapart.data.listing import Listing, list_archive, list_folder
from tellapart.errors import DataError
from tellapart.types import UNLABELED, ImageTable

#: From the position of an id to its place in the table, for messages: "sample.csv:7".
Place = Callable[[int], str]


def match_ids(
    ids: Sequence[str], place: Place, test: Path, images: Path | None = None, classes: Sequence[str] = ()
) -> tuple[ImageTable, int]:
    """The images of some ids, in their order.

    Args:
        ids: N names: paths, file names, or these without their ending.
        place: Where each id is, for messages.
        test: The images, as a folder or archive; or a table of them, whose ids may have an ending where `ids` have none.
        images: Where the images of a table lie, when that is not the folder beside it.
        classes: Class names of the run that predicts the images.

    Returns:
        The table, its ids as given; and how many images of `test` no id names.

    Raises:
        DataError: An id fits no image, or several; two ids fit one image; something is not there.
    """
    if not test.exists():
        raise DataError(f"--test {test}: not found", hint="give test.csv, or the folder or archive of the test images")
    more: dict[str, pd.Series] = {}
    if test.name.lower().endswith(TABLE_ENDINGS):
        text = read_text_table(test.read_bytes(), str(test))
        keys, unused, more = _through_table(ids, place, text)
        listing = _listed(images or Path(os.path.abspath(test)).parent)  # noqa: PTH100
    else:
        listing, keys, unused = _listed(images or test), list(ids), -1
    files = _files(keys, ids, place, listing)
    frame = pd.DataFrame(
        {
            "id": pd.Series(list(ids), dtype=object),
            "path": pd.Series(listing.locators(files), dtype=object),
            "label": UNLABELED,
            "size": listing.sizes[files],
            **more,
        }
    )
    unused = int(listing.is_image.sum()) - len(files) if unused < 0 else unused
    return ImageTable(frame, tuple(classes), listing.root, layout=f"{len(frame):,} unlabeled images"), unused


def _listed(where: Path) -> Listing:
    if not where.exists():
        raise DataError(f"{where}: not found", hint="give the folder or archive of the test images")
    top = os.path.abspath(where)  # noqa: PTH100
    if where.is_dir():
        return list_folder(top)
    if top.lower().endswith(ARCHIVE_ENDINGS):
        return list_archive(top)
    raise DataError(f"{where}: expected a table, a folder, a .zip or a .tar of test images")


def _through_table(ids: Sequence[str], place: Place, text: TextTable) -> tuple[list[str], int, dict[str, pd.Series]]:
    """The file names that a table of test images gives for some ids; how many of its rows no id names; its further columns,
    which may hold boxes."""
    columns = detect_columns(text, ColumnOptions(), needs_label=False)
    theirs = text.column(columns.id)
    row_of: dict[str, int | None] = {}
    for row, name in enumerate(theirs):
        row_of[name] = row if name not in row_of else None
    stems: dict[str, int | None] = {}
    for row, name in enumerate(theirs):
        stems[_stem(name)] = row if _stem(name) not in stems else None
    rows = [row_of.get(name, stems.get(_stem(name))) for name in ids]
    lost = [position for position, row in enumerate(rows) if row is None]
    if lost:
        raise DataError(
            f"{place(lost[0])}: {ids[lost[0]]!r} is not one row of {text.path} ({_counted(len(lost), len(ids))})",
            hint=f"its column {columns.id!r} begins with {theirs[0]!r}" if theirs else "the table has no rows",
        )
    chosen = [row for row in rows if row is not None]
    more = {
        f"{name} of the table": pd.Series(cells[chosen], dtype=object)
        for name, cells in further_columns(text, columns.used).items()
    }
    return [theirs[row] for row in chosen], len(theirs) - len(set(rows)), more


def _files(keys: Sequence[str], ids: Sequence[str], place: Place, listing: Listing) -> np.ndarray:
    """The file of each key: (N,) int64, positions in the listing."""
    files, several = FileFinder(listing).find(keys, ["test"] * len(keys))
    lost = np.flatnonzero(files < 0)
    if len(lost):
        first = int(lost[0])
        said = f"fits {' and '.join(several[first][:3])}" if files[first] == AMBIGUOUS else f"fits no image in {listing.where}"
        there = f"{int(listing.is_image.sum()):,} images are there"
        raise DataError(
            f"{place(first)}: {ids[first]!r} {said} ({_counted(len(lost), len(ids))}; {there})",
            hint=remedy(
                None if files[first] == AMBIGUOUS else NearNames(listing).of(keys[first]),
                "give the folder of the test images: --images DIR",
            ),
        )
    order = np.argsort(files, kind="stable")
    same = np.flatnonzero(np.diff(files[order]) == 0)
    if len(same):
        one, other = sorted(order[same[0] : same[0] + 2].tolist())
        raise DataError(f"{place(other)}: {ids[other]!r} is the same image as {ids[one]!r} in {place(one)}")
    return files


def _counted(few: int, all_: int) -> str:
    return f"so it is with {few:,} of {all_:,} ids" if few > 1 else f"all others of {all_:,} ids are found"


def _stem(name: str) -> str:
    """A name without folder and ending."""
    return name.replace("\\", "/").rpartition("/")[2].rpartition(".")[0] or name


# --- from the ids in a table to files in a tree -----------------------------------------------------------------------


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
            fits = [row for path in places for row in self._with_or_without_ending(path)]
            if fits := self._of_split(fits, split):
                return fits
        if folders and self._folder_by_tail.get(folders[-1]):
            return []
        return self._of_split(self._by_name.get(name), split)

    def _with_or_without_ending(self, path: str) -> list[int]:
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
