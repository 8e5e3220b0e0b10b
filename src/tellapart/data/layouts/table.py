"""Labels from CSV or TSV tables beside the images.

`train.csv`, alone or with `validation.csv` and `test.csv` (usually without labels); or one table of another name.
Cells are text; row numbers in messages are lines of the file (the header is line 1).
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tellapart.data.layouts._aliases import class_texts, parse_split
from tellapart.data.layouts._csv import (
    TABLE_ENDINGS,
    Columns,
    TextTable,
    _given,
    detect_columns,
    further_columns,
    has_columns,
    read_text_table,
)
from tellapart.data.layouts._id_lookup import AMBIGUOUS, MISSING, FileFinder
from tellapart.data.layouts.base import ColumnOptions, LayoutRows
from tellapart.data.listing import Listing
from tellapart.errors import DataError
from tellapart.types import Problem


def find_tables(listing: Listing, base: str) -> list[TableFile]:
    """The tables directly in folder `base`."""
    found = []
    for row in np.flatnonzero(np.isin(listing.endings, TABLE_ENDINGS)).tolist():
        path = listing.paths[row]
        if posixpath.dirname(path) == base:
            part = _part_of(_stem(path))
            found.append(TableFile(row, path, part, part))
    return found


def choose_tables(listing: Listing, tables: Sequence[TableFile], choices: ColumnOptions) -> list[TableFile]:
    """The tables to read: train with its companions, else the only one with an id and a label column; may be none.

    Raises:
        DataError: Two tables could each be the one that holds the labels.
    """
    tables = [table for table in tables if "submission" not in _stem(table.path).lower()]
    chosen: list[TableFile] = []
    for part in ("train", "valid", "test"):
        mine = [table for table in tables if table.part == part]
        exact = [table for table in mine if parse_split(_stem(table.path)) == part]
        if len(exact or mine) > 1:
            raise _several(exact or mine)
        chosen += exact or mine
    if chosen and chosen[0].part == "train":
        return chosen
    usable = [t for t in tables if has_columns(read_text_table(listing.read(t.row), t.path, header_only=True).names, choices)]
    if len(usable) > 1:
        raise _several(usable)
    return [alone(table) for table in usable]


def alone(table: TableFile) -> TableFile:
    """A table that is all there is: its name helps to find the images but makes no split."""
    return replace(table, split="")


def read_tables(
    tables: Sequence[TableFile], listing: Listing, images: Listing, base: str, choices: ColumnOptions
) -> LayoutRows:
    """Read tables and find their images.

    Args:
        tables: What `choose_tables` gave.
        listing: Where the tables lie.
        images: Where the images lie: the same listing, or that of `--images`.
        base: The folder in `images` that the ids are relative to.
        choices: Columns named by the user.

    Raises:
        DataError: Columns or ids are ambiguous, an id stands twice, or no id fits a file.
    """
    skip = [table.row for table in tables] if images is listing else []
    finder = FileFinder(images, base, skip)
    parts = [read_part(table, listing, choices) for table in tables]
    files: list[np.ndarray] = []
    problems: list[Problem] = []
    for part in parts:
        part.check_repeats()
        found, ambiguous = finder.find(part.ids, part.folders_to_prefer())
        problems += part.problems(found, ambiguous, images)
        files.append(part.usable(found, images))
    if not any((file >= 0).any() for file in files):
        raise _none_found(parts, images, base)
    parts, notes = _tell_apart(parts, files)
    layout = " ".join([*(p.describe(f, images) for p, f in zip(parts, files, strict=True)), *notes])
    return _join(parts, files, images, problems, layout)


def _tell_apart(parts: list[TablePart], files: list[np.ndarray]) -> tuple[list[TablePart], list[str]]:
    """Where a later table repeats ids for other files (both count from 1), its ids get the table's name in front.

    Raises:
        DataError: Two tables give the same file.
    """
    seen: dict[str, tuple[int, int]] = {}
    notes: list[str] = []
    told: list[TablePart] = []
    for number, part in enumerate(parts):
        again = [row for row, name in enumerate(part.ids) if name in seen and files[number][row] >= 0]
        for row in again:
            other, line = seen[part.ids[row]]
            if files[other][line] == files[number][row]:
                raise repeated(part, row, parts[other], line)
        if again:
            part = replace(part, ids=[f"{_stem(part.text.path)}/{name}" for name in part.ids])
            stem = _stem(part.text.path)
            notes.append(f"Ids of {part.text.path} stand in an earlier table too: {stem}/ is put before them.")
        if number + 1 < len(parts):
            seen.update((name, (number, row)) for row, name in enumerate(part.ids))
        told.append(part)
    return told, notes


def _join(parts: list[TablePart], files: list[np.ndarray], images: Listing, problems: list[Problem], layout: str) -> LayoutRows:
    """The rows of all tables, one after the other, those to leave out removed."""
    keep = [np.flatnonzero(file >= 0) for file in files]
    chosen = np.concatenate([file[rows] for file, rows in zip(files, keep, strict=True)])
    part_of = np.repeat(np.arange(len(parts)), [len(rows) for rows in keep])
    row_of = np.concatenate(keep)
    labels = _take([part.labels for part in parts], keep).tolist()
    names = dict.fromkeys(name for part in parts for name in part.more)
    texts: dict[str | None, str | None] = {None: None}
    texts |= class_texts(label for label in labels if label is not None)
    return LayoutRows(
        ids=[part.ids[row] for part, rows in zip(parts, keep, strict=True) for row in rows.tolist()],
        locators=images.locators(chosen),
        class_names=np.array([texts[label] for label in labels], dtype=object),
        sizes=images.sizes[chosen],
        stamps=images.stamps[chosen],
        where=lambda i: parts[part_of[i]].place(row_of[i]),
        layout=layout,
        problems=problems,
        split=_take([part.split for part in parts], keep),
        group=_take_optional([part.group for part in parts], keep),
        source=_take_optional([part.source for part in parts], keep),
        more={name: of for name in names if (of := _take_optional([part.more.get(name) for part in parts], keep)) is not None},
    )


def _take(columns: Sequence[np.ndarray], rows: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([column[row] for column, row in zip(columns, rows, strict=True)])


def _take_optional(columns: Sequence[np.ndarray | None], rows: list[np.ndarray]) -> np.ndarray | None:
    """As `_take`, "" for tables that lack the column; None when all do."""
    if all(column is None for column in columns):
        return None
    pairs = zip(columns, rows, strict=True)
    return np.concatenate([np.full(len(row), "", dtype=object) if column is None else column[row] for column, row in pairs])


def _none_found(parts: list[TablePart], images: Listing, base: str) -> DataError:
    path, ids = parts[0].text.path, [name for part in parts for name in part.ids]
    if not ids:
        return DataError(f"{path}: the table has a header but no rows")
    where = posixpath.join(images.where, base).rstrip("/")
    other = "" if parts[0].file.part else "; if folder names hold the labels, move this table away"
    return DataError(
        f"{path}: none of {len(ids):,} ids fits one image file in {where} "
        f"({int(images.is_image.sum()):,} images there); the first id is {ids[0]!r}",
        hint=f"say where the images are: --images DIR (or which column names them: --id-column){other}",
    )


def _several(tables: Sequence[TableFile]) -> DataError:
    names = " or ".join(table.path for table in tables)
    return DataError(f"the labels could be in {names}", hint="give the path of the table itself")


def _part_of(stem: str) -> str:
    """The part that a table's name tells.

    >>> [_part_of(stem) for stem in ("train", "train_v2", "val-labels", "metadata", "train_test_split")]
    ['train', 'train', 'valid', '', '']
    """
    told = {parse_split(word) for word in stem.replace("-", "_").replace(".", "_").replace(" ", "_").split("_")} - {""}
    return told.pop() if len(told) == 1 else ""


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]


# --- the rows of one table: ids, labels and the rest as text, and what is wrong with each row -------------------------


@dataclass(frozen=True)
class TableFile:
    """One table in a listing and the part it plays."""

    row: int  # in the listing
    path: str
    part: str  # "train", "valid", "test" by its name, or "" when the name does not say
    split: str  # that of its rows where they do not say: the part, or "" when the table stands alone


@dataclass(frozen=True, eq=False)
class TablePart:
    """The N rows of one table: arrays are (N,) object (str), labels with None for "not given"."""

    file: TableFile
    text: TextTable
    columns: Columns
    ids: list[str]
    labels: np.ndarray
    group: np.ndarray | None
    source: np.ndarray | None
    split: np.ndarray
    more: dict[str, np.ndarray]

    def place(self, row: int) -> str:
        """Where a row stands."""
        return f"{self.text.path}:{self.text.lines[row]}"

    def folders_to_prefer(self) -> list[str]:
        """The split in whose folder each image is looked for first."""
        return [split or self.file.part for split in self.split.tolist()]

    def usable(self, found: np.ndarray, images: Listing) -> np.ndarray:
        """File numbers (N,) int64, −1 for rows to leave out."""
        return np.where((found >= 0) & (images.sizes[found] > 0), found, MISSING)

    def problems(self, found: np.ndarray, ambiguous: dict[int, list[str]], images: Listing) -> list[Problem]:
        """Why rows are left out, in row order."""
        empty = (found >= 0) & (images.sizes[found] == 0)
        return [
            self._problem(row, found[row], ambiguous.get(row, []), images)
            for row in np.flatnonzero((found < 0) | empty).tolist()
        ]

    def _problem(self, row: int, found: int, fits: list[str], images: Listing) -> Problem:
        place, name = self.place(row), self.ids[row]
        if not name:
            return Problem("missing id", place, f"the {self.columns.id!r} cell is empty")
        if found == AMBIGUOUS:
            several = " and ".join(fits[:2]) + (f" and {len(fits) - 2} more" if len(fits) > 2 else "")
            return Problem("ambiguous file", place, f"the id {name!r} fits {several}")
        if found == MISSING:
            return Problem("missing file", place, f"no image file fits the id {name!r}")
        return Problem("empty file", place, f"{images.paths[found]} has no bytes")

    def check_repeats(self) -> None:
        """No id twice.

        Raises:
            DataError: Names the id and both rows.
        """
        if len(set(self.ids)) == len(self.ids):
            return
        first: dict[str, int] = {}
        for row, name in enumerate(self.ids):
            if name and name in first:
                raise repeated(self, row, self, first[name])
            first[name] = row

    def describe(self, file: np.ndarray, images: Listing) -> str:
        """What was understood."""
        rows = file[file >= 0]
        folders = [images.folders[i] for i in np.unique(images.folder[rows]).tolist()]
        where = f"{len(folders):,} folders" if len(folders) != 1 else f"{folders[0]}/" if folders[0] else "the top folder"
        unlabeled = "" if self.columns.label else "; no labels"
        return (
            f"{self.text.path} (columns {', '.join(self.columns.used)}{unlabeled}): "
            f"{len(rows):,} of {len(self.ids):,} rows used, images in {where}."
        )


def read_part(table: TableFile, listing: Listing, choices: ColumnOptions) -> TablePart:
    """Read one table.

    Raises:
        DataError: Its text, columns or split names cannot be understood.
    """
    text = read_text_table(listing.read(table.row), table.path)
    columns = detect_columns(text, choices, needs_label=table.split in ("", "train"))
    count = len(text.lines)
    return TablePart(
        file=table,
        text=text,
        columns=columns,
        ids=text.column(columns.id),
        labels=_given(text, columns.label, None) if columns.label else np.full(count, None, dtype=object),
        group=_given(text, columns.group, "") if columns.group else None,
        source=_given(text, columns.source, "") if columns.source else None,
        split=_splits(text, columns.split, table) if columns.split else np.full(count, table.split, dtype=object),
        more=further_columns(text, columns),
    )


def repeated(part: TablePart, row: int, other: TablePart, line: int) -> DataError:
    """The error for an id that stands twice, naming both rows."""
    where = f"line {other.text.lines[line]}" if other is part else other.place(line)
    return DataError(
        f"{part.place(row)}: the id {part.ids[row]!r} stands already in {where}", hint="delete one of the two rows"
    )


def _splits(text: TextTable, column: str, table: TableFile) -> np.ndarray:
    """Split names of the rows: (N,) object."""
    cells = _given(text, column, "").tolist()
    meaning = {cell: parse_split(cell) if cell else table.split for cell in set(cells)}
    unknown = next((row for row, cell in enumerate(cells) if cell and not meaning[cell]), None)
    if unknown is not None:
        raise DataError(
            f"{table.path}:{text.lines[unknown]}: {cells[unknown]!r} is no split; expected train, valid or test",
            hint=f"if the column {column!r} means something else, rename it",
        )
    return np.array([meaning[cell] for cell in cells], dtype=object)
