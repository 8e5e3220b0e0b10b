"""The rows of one table: ids, labels and the other columns as text, and what is wrong with each row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tellapart.data.layouts._columns import Columns, detect_columns, further_columns, given_cells
from tellapart.data.layouts._csv import TextTable, read_text_table
from tellapart.data.layouts._id_lookup import AMBIGUOUS, MISSING
from tellapart.data.layouts._labels import label_cells
from tellapart.data.layouts._near_names import NearNames
from tellapart.data.layouts._split_columns import SplitCells, read_splits
from tellapart.data.layouts.base import ColumnOptions
from tellapart.data.listing import Listing
from tellapart.errors import DataError
from tellapart.types import SPLITS, Problem


@dataclass(frozen=True)
class TableFile:
    """One table in a listing and its split."""

    row: int  # in the listing
    path: str
    part: str  # "train", "valid" or "test" from its name, else ""
    split: str  # the split of rows without one of their own: `part`, or "" for a table alone
    parse: Callable[[bytes, str], TextTable] = read_text_table  # content and path → its cells


@dataclass(frozen=True, eq=False)
class TablePart:
    """The N rows of one table: arrays are (N,) object (str), "" where not given."""

    file: TableFile
    text: TextTable
    columns: Columns
    ids: list[str]
    labels: np.ndarray
    group: np.ndarray | None
    source: np.ndarray | None
    splits: SplitCells
    more: dict[str, np.ndarray]

    @property
    def split(self) -> np.ndarray:
        """The split of each row."""
        return self.splits.split

    @property
    def used(self) -> list[str]:
        """The names of the columns that have a meaning."""
        return [*self.columns.used, *self.splits.columns]

    def place(self, row: int) -> str:
        """The place of a row, for messages."""
        return self.text.place(row)

    def folders_to_prefer(self) -> list[str]:
        """The split in whose folder each image is looked for first."""
        return [split or self.file.part for split in self.split.tolist()]

    def usable(self, found: np.ndarray, images: Listing) -> np.ndarray:
        """File numbers (N,) int64, −1 for rows to leave out."""
        return np.where((found >= 0) & (images.sizes[found] > 0), found, MISSING)

    def problems(self, found: np.ndarray, ambiguous: dict[int, list[str]], images: Listing, near: NearNames) -> list[Problem]:
        """Why rows are left out, in row order."""
        empty = (found >= 0) & (images.sizes[found] == 0)
        return [
            self._problem(row, found[row], ambiguous.get(row, []), images, near)
            for row in np.flatnonzero((found < 0) | empty).tolist()
        ]

    def _problem(self, row: int, found: int, fits: list[str], images: Listing, near: NearNames) -> Problem:
        place, name, label = self.place(row), self.ids[row], self.labels[row] or ""
        if not name:
            return Problem("missing id", place, f"the {self.columns.id!r} cell is empty", label)
        if found == AMBIGUOUS:
            several = " and ".join(fits[:2]) + (f" and {len(fits) - 2} more" if len(fits) > 2 else "")
            return Problem("ambiguous file", place, f"the id {name!r} fits {several}", label)
        if found == MISSING:
            return Problem("missing file", place, f"no image file fits the id {name!r}{near.beside(name)}", label)
        return Problem("empty file", place, f"{images.paths[found]} has no bytes", label)

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

    def check_files(self, files: np.ndarray) -> None:
        """No file twice, be it under two names. files: (N,) int64, < 0 for none.

        Raises:
            DataError: Names the file and both rows.
        """
        rows = np.flatnonzero(files >= 0)
        order = rows[np.argsort(files[rows], kind="stable")]
        again = order[1:][np.diff(files[order]) == 0]
        if len(again):
            row = int(again.min())
            first = int(rows[files[rows] == files[row]][0])
            raise repeated(self, row, self, first)

    def with_folder_splits(self, files: np.ndarray, folder_splits: np.ndarray) -> TablePart:
        """Where nothing else says the split of the rows, the folders of their images do, if all of them do.

        Args:
            files: (N,) int64, < 0 for none.
            folder_splits: (N,) object: the split that the folder of each image names, "" for none.
        """
        here = folder_splits[files >= 0]
        names = [split for split in SPLITS if (here == split).any()]
        if self.splits.columns or self.splits.ignored or len(names) < 2 or "train" not in names:
            return self
        found = f"the images lie in folders for {' and '.join(names)}"
        if self.file.split:
            why = f"all rows are used as {self.file.split}, because the table is called so"
            note = f"{self.text.path}: {found}; {why}; rename it, to labels.csv for example, to use the folders as splits."
        elif (here == "").any():
            note = f"{self.text.path}: {found}, but not all of them: the folders are not used; add a column split to use them."
        else:
            split = np.where(files >= 0, folder_splits, "")
            return replace(self, splits=self.splits._replace(split=split, sentence="the folders of the images"))
        return replace(self, splits=self.splits._replace(notes=(*self.splits.notes, note)))

    def describe(self, file: np.ndarray, images: Listing) -> str:
        """What was read."""
        rows = file[file >= 0]
        folders = [images.folders[i] for i in np.unique(images.folder[rows]).tolist()]
        where = f"{len(folders):,} folders" if len(folders) != 1 else f"{folders[0]}/" if folders[0] else "the top folder"
        unlabeled = "" if self.columns.label else "; no labels"
        return (
            f"{self.text.path} (columns {', '.join(self.used)}{unlabeled}): "
            f"{len(rows):,} of {len(self.ids):,} rows used, images in {where}{self.splits.described()}."
        )


def read_part(table: TableFile, listing: Listing, choices: ColumnOptions) -> TablePart:
    """Read one table.

    Raises:
        DataError: Its text, columns or split names cannot be understood.
    """
    text = table.parse(listing.read(table.row), table.path)
    columns = detect_columns(text, choices, needs_label=table.split in ("", "train"))
    count = len(text.lines)
    splits = read_splits(text, choices.split_column, count, columns.used, table.split)
    return TablePart(
        file=table,
        text=text,
        columns=columns,
        ids=text.column(columns.id),
        labels=label_cells(text, columns.label) if columns.label else np.full(count, "", dtype=object),
        group=given_cells(text, columns.group),
        source=given_cells(text, columns.source),
        splits=splits,
        more=further_columns(text, [*columns.used, *splits.columns]),
    )


def repeated(part: TablePart, row: int, other: TablePart, line: int) -> DataError:
    """The error for an image that two rows name, with both rows."""
    where = f"line {other.text.lines[line]}" if other is part else other.place(line)
    name, before = part.ids[row], other.ids[line]
    found = f"duplicate id {name!r}, which is already in {where}"
    if name != before:
        found = f"the id {name!r} names the same image file as {before!r} in {where}"
    there, here = other.labels[line], part.labels[row]
    labels = "" if there == here else f", with another label ({there!r} there, {here!r} here)"
    return DataError(f"{part.place(row)}: {found}{labels}", hint="delete one of the two rows")
