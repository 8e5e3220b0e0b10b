"""Labels from CSV or TSV tables beside the images.

`train.csv`, alone or with `validation.csv` and `test.csv` (usually without labels); or one table of another name.
Cells are text; row numbers in messages are lines of the file (the header is line 1).
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import replace
from typing import final

import numpy as np

from tellapart.data.layouts._absolute_paths import files_elsewhere
from tellapart.data.layouts._aliases import parse_split
from tellapart.data.layouts._columns import has_columns
from tellapart.data.layouts._csv import TABLE_ENDINGS, read_text_table
from tellapart.data.layouts._id_lookup import FileFinder
from tellapart.data.layouts._labels import read_labels
from tellapart.data.layouts._near_names import NearNames, remedy
from tellapart.data.layouts._table_rows import TableFile, TablePart, read_part, repeated
from tellapart.data.layouts.base import Claim, ColumnOptions, Layout, LayoutOptions, LayoutRows
from tellapart.data.layouts.parquet import PARQUET_ENDINGS
from tellapart.data.listing import Listing
from tellapart.errors import DataError
from tellapart.types import Problem


@final
class Table(Layout):
    """A CSV or TSV with an id and a label column, and image files that its ids name."""

    def claims(self, listing: Listing, options: LayoutOptions) -> Claim | None:
        """See `Layout`."""
        if options.file is not None:
            return Claim(0.95, f"{options.file} is a table.") if options.file.lower().endswith(TABLE_ENDINGS) else None
        try:
            chosen = choose_tables(listing, find_tables(listing, top_folder(listing)), options.columns)
        except DataError as error:  # `read` raises it again, if this layout wins
            return Claim(0.8, f"There are tables, but {error.message}.")
        if chosen:
            names = " and ".join(table.path for table in chosen)
            return Claim(0.8, f"{names} could name the images and their labels.", names, "--label-column COLUMN")
        columns = options.columns
        if options.images is not None or columns.id_column or columns.label_column or columns.split_column or columns.unlabeled:
            return Claim(0.6, "The flags name images or columns, which only a table has.")
        return None

    def read(self, listing: Listing, options: LayoutOptions) -> LayoutRows:
        """See `Layout`."""
        images = listing if options.images is None else options.images
        if options.file is not None:
            named = next((table for table in find_tables(listing, "") if table.path == options.file), None)
            if named is None:
                raise DataError(f"{listing.where}/{options.file} is a hidden file", hint="rename it without the dot")
            return read_tables([alone(named)], listing, images, "", options.columns)
        top = top_folder(listing)
        tables = find_tables(listing, top)
        chosen = choose_tables(listing, tables, options.columns)
        if not chosen:
            raise _no_table(listing, top)
        found = read_tables(chosen, listing, images, top if images is listing else "", options.columns)
        unused = [table.path for table in tables if table.path not in {read.path for read in chosen}]
        return replace(found, layout=f"{found.layout} Not used: {', '.join(unused)}.") if unused else found


def top_folder(listing: Listing) -> str:
    """The folder that all files worth reading share: archives usually hold one folder with everything in it."""
    wanted = listing.is_image | np.isin(listing.endings, (*TABLE_ENDINGS, *PARQUET_ENDINGS))
    folders = [listing.folders[i] for i in np.unique(listing.folder[wanted]).tolist()]
    return posixpath.commonpath(folders) if folders else ""


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
        DataError: Columns or ids are ambiguous, an id occurs twice, or no id fits a file.
    """
    if images is listing and (elsewhere := files_elsewhere(tables, listing, choices)):
        images, base = elsewhere, ""
    skip = [table.row for table in tables] if images is listing else []
    finder, near = FileFinder(images, base, skip), NearNames(images)
    parts: list[TablePart] = []
    files: list[np.ndarray] = []
    problems: list[Problem] = []
    for table in tables:
        part = read_part(table, listing, choices)
        part.check_repeats()
        found, ambiguous = finder.find(part.ids, part.folders_to_prefer())
        problems += part.problems(found, ambiguous, images, near)
        files.append(part.usable(found, images))
        part.check_files(files[-1])
        parts.append(part.with_folder_splits(files[-1], finder.folder_splits(files[-1])))
    if not any((file >= 0).any() for file in files):
        raise _none_found(parts, images, base, near)
    _check_files_of_tables(parts, files)
    parts, notes = _make_ids_unique(parts, files)
    layout = " ".join([*(p.describe(f, images) for p, f in zip(parts, files, strict=True)), *notes])
    return _join(parts, files, images, problems, layout, choices.unlabeled)


def _check_files_of_tables(parts: Sequence[TablePart], files: Sequence[np.ndarray]) -> None:
    """No file in two tables.

    Raises:
        DataError: Names the file and both rows.
    """
    for number, found in enumerate(files):
        for earlier in range(number):
            again = np.intersect1d(found[found >= 0], files[earlier])
            if len(again):
                row = int(np.flatnonzero(np.isin(found, again))[0])
                raise repeated(parts[number], row, parts[earlier], int(np.flatnonzero(files[earlier] == found[row])[0]))


def _make_ids_unique(parts: list[TablePart], files: list[np.ndarray]) -> tuple[list[TablePart], list[str]]:
    """Where a later table repeats ids for other files (both count from 1), its ids get the table's name in front."""
    seen: set[str] = set()
    notes: list[str] = []
    renamed: list[TablePart] = []
    for number, part in enumerate(parts):
        if any(name in seen and files[number][row] >= 0 for row, name in enumerate(part.ids)):
            part = replace(part, ids=[f"{_stem(part.text.path)}/{name}" for name in part.ids])
            stem = _stem(part.text.path)
            notes.append(f"Ids of {part.text.path} also occur in an earlier table: they get the prefix {stem}/.")
        if number + 1 < len(parts):
            seen.update(part.ids)
        renamed.append(part)
    return renamed, notes


def _join(
    parts: list[TablePart],
    files: list[np.ndarray],
    images: Listing,
    problems: list[Problem],
    layout: str,
    unlabeled: str | None,
) -> LayoutRows:
    """The rows of all tables, one after the other, those to leave out removed."""
    keep = [np.flatnonzero(file >= 0) for file in files]
    chosen = np.concatenate([file[rows] for file, rows in zip(files, keep, strict=True)])
    part_of = np.repeat(np.arange(len(parts)), [len(rows) for rows in keep])
    row_of = np.concatenate(keep)
    split = _take([part.split for part in parts], keep)
    column = next((part.columns.label for part in parts if part.columns.label), "")
    class_names, notes = read_labels(_take([part.labels for part in parts], keep), split, column, unlabeled)
    names = dict.fromkeys(name for part in parts for name in part.more)
    return LayoutRows(
        ids=[part.ids[row] for part, rows in zip(parts, keep, strict=True) for row in rows.tolist()],
        locators=images.locators(chosen),
        root=images.root,
        class_names=class_names,
        sizes=images.sizes[chosen],
        where=lambda i: parts[part_of[i]].place(row_of[i]),
        layout=layout,
        problems=problems,
        split=split,
        group=_take_optional([part.group for part in parts], keep),
        source=_take_optional([part.source for part in parts], keep),
        notes=[*(note for part in parts for note in part.splits.notes), *notes],
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


def _none_found(parts: list[TablePart], images: Listing, base: str, near: NearNames) -> DataError:
    path, ids = parts[0].text.path, [name for part in parts for name in part.ids]
    if not ids:
        return DataError(f"{path}: the table has a header but no rows")
    where = posixpath.join(images.where, base).rstrip("/")
    other = "" if parts[0].file.part else "; if folder names hold the labels, move this table away"
    return DataError(
        f"{path}: none of {len(ids):,} ids fits one image file in {where} "
        f"({int(images.is_image.sum()):,} images there); the first id is {ids[0]!r}",
        hint=remedy(
            near.explain(ids),
            f"give the folder of the images with --images DIR (or the column that names them with --id-column){other}",
        ),
    )


def _several(tables: Sequence[TableFile]) -> DataError:
    names = " or ".join(table.path for table in tables)
    return DataError(f"the labels could be in {names}", hint="give the path of the table itself")


def _part_of(stem: str) -> str:
    """The split that the name of a table means.

    >>> [_part_of(stem) for stem in ("train", "train_v2", "val-labels", "metadata", "train_test_split")]
    ['train', 'train', 'valid', '', '']
    """
    splits = {parse_split(word) for word in stem.replace("-", "_").replace(".", "_").replace(" ", "_").split("_")} - {""}
    return splits.pop() if len(splits) == 1 else ""


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]


def _no_table(listing: Listing, top: str) -> DataError:
    return DataError(
        f"{posixpath.join(listing.where, top)}: no table with an id and a label column, to which --images, "
        "--id-column, --label-column, --split-column and --unlabeled could refer",
        hint="give the path of the CSV",
    )
