"""The rows of one table: ids, labels and the other columns as text, and what is wrong with each row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tellapart.data.layouts._aliases import parse_split
from tellapart.data.layouts._csv import Columns, TextTable, _given, detect_columns, further_columns, read_text_table
from tellapart.data.layouts._id_lookup import AMBIGUOUS, MISSING
from tellapart.data.layouts.base import ColumnOptions
from tellapart.data.listing import Listing
from tellapart.errors import DataError
from tellapart.types import Problem


@dataclass(frozen=True)
class TableFile:
    """One table in a listing and its split."""

    row: int  # in the listing
    path: str
    part: str  # "train", "valid" or "test" from its name, else ""
    split: str  # the split of rows without one of their own: `part`, or "" for a table alone


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
        """The place of a row, for messages."""
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
        """What was read."""
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
    """The error for a duplicate id, naming both rows."""
    where = f"line {other.text.lines[line]}" if other is part else other.place(line)
    return DataError(
        f"{part.place(row)}: duplicate id {part.ids[row]!r}, which is already in {where}", hint="delete one of the two rows"
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
