"""Lists without a header: one image a line, with its path and its label.

`train.txt`, `val.txt`, `test.txt`, or one file of another name, ending in `.txt`, `.lst`, `.csv` or `.tsv`. Cells are separated
by tabs, commas, semicolons, bars or spaces. The column whose cells name images is the id; the only other one is the label.
Columns are numbered from 1, for `--id-column` and `--label-column`.
"""

from __future__ import annotations

import csv
import os
import posixpath
from dataclasses import replace
from functools import partial
from typing import NamedTuple, final

import numpy as np
import pandas as pd

from tellapart.data.folder_walk import IMAGE_ENDINGS, ending_of
from tellapart.data.layouts._csv import TABLE_ENDINGS, TextTable, _decode
from tellapart.data.layouts._id_lookup import FileFinder
from tellapart.data.layouts._table_rows import TableFile
from tellapart.data.layouts.base import Claim, ColumnOptions, Layout, LayoutOptions, LayoutRows
from tellapart.data.layouts.table import _part_of, _several, _stem, alone, read_tables
from tellapart.data.listing import Listing
from tellapart.errors import DataError

LIST_ENDINGS = (".txt", ".lst")
_PROBED = 20  # lines whose paths are looked up
_MOST = 16  # files that are looked at, those of the upper folders first
_DELIMITERS = ("\t", ",", ";", "|", " ", "last space", "first space")


@final
class Lists(Layout):
    """Text files of a path and a label in each line, and the images that they name."""

    def claims(self, listing: Listing, options: LayoutOptions) -> Claim | None:
        """See `Layout`."""
        found = _find(listing, options)
        if not found:
            return None
        names = " and ".join(found)
        label = str(next(column for column in (2, 1) if column != next(iter(found.values())).id_column))
        sure = options.file is not None or (options.columns.label_column or "").isdigit()
        certainty = 1.0 if sure else 0.85 if _base(listing, next(iter(found))) is not None else 0.5
        reason = f"Each line of {names} names an image and its label, and there is no header."
        return Claim(certainty, reason, names, f"--label-column {label}")

    def read(self, listing: Listing, options: LayoutOptions) -> LayoutRows:
        """See `Layout`."""
        found = _find(listing, options)
        if not found:
            raise DataError(f"{listing.where}: no list names an image and its label in each line")
        images = listing if options.images is None else options.images
        row_of = {path: row for row, path in enumerate(listing.paths)}
        lists = [
            TableFile(row_of[path], path, _part_of(_stem(path)), _part_of(_stem(path)), partial(_parse, shape=shape))
            for path, shape in found.items()
        ]
        chosen = [alone(lists[0])] if options.file is not None else _choose(lists)
        shape = found[chosen[0].path]
        chosen = [replace(one, parse=partial(_parse, shape=shape)) for one in chosen]
        first = chosen[0].parse(listing.read(chosen[0].row), chosen[0].path)
        base = _base(listing, chosen[0].path) or ""
        return read_tables(chosen, listing, images, base if images is listing else "", _columns(first, shape, options.columns))


class _Shape(NamedTuple):
    """How the lines of a list are read."""

    delimiter: str
    id_column: int  # from 1


def _find(listing: Listing, options: LayoutOptions) -> dict[str, _Shape]:
    """The lists in the uppermost folder that has any: path → shape."""
    if options.file is not None:
        rows = [row for row, path in enumerate(listing.paths) if path == options.file]
    else:
        rows = np.flatnonzero(np.isin(listing.endings, (*LIST_ENDINGS, *TABLE_ENDINGS))).tolist()
        if rows:  # a file with the name of an image beside it is its caption
            captioned = {listing.paths[row].rpartition(".")[0] for row in np.flatnonzero(listing.is_image).tolist()}
            rows = [row for row in rows if listing.paths[row].rpartition(".")[0] not in captioned]
        rows = sorted(rows, key=lambda row: listing.paths[row].count("/"))[:_MOST]
    found: dict[str, _Shape] = {}
    finders: dict[str, FileFinder] = {}
    for row in rows:
        path = listing.paths[row]
        if found and posixpath.dirname(path) != posixpath.dirname(next(iter(found))):
            continue
        if not path.lower().endswith((*LIST_ENDINGS, *TABLE_ENDINGS)) or not (lines := _first_lines(listing, row)):
            continue
        base = _base(listing, path) or ""
        images = options.images or listing
        if base not in finders:
            finders[base] = FileFinder(images, base if images is listing else "")
        if shape := _shape(lines, finders[base], listing):
            found[path] = shape
    return _with_unlabeled(found, rows, listing)


def _with_unlabeled(found: dict[str, _Shape], rows: list[int], listing: Listing) -> dict[str, _Shape]:
    """The lists, and a list of test images beside them that has no labels."""
    if not found or len(rows) < 2:
        return found
    first = next(iter(found))
    for row in rows:
        path = listing.paths[row]
        beside = (
            posixpath.dirname(path) == posixpath.dirname(first) and posixpath.splitext(path)[1] == posixpath.splitext(first)[1]
        )
        if beside and path not in found and _part_of(_stem(path)) == "test" and _is_path(_text(listing, row).split("\n")[0]):
            found[path] = _Shape(found[first].delimiter, 1)
    return found


def _text(listing: Listing, row: int) -> str:
    """The beginning of a file, whole lines; "" when it is not text."""
    try:
        return _decode(listing.head(row), listing.paths[row])
    except DataError:
        return ""


def _first_lines(listing: Listing, row: int) -> list[str]:
    """Some lines of a file, if the first could name an image; a header or prose could not."""
    lines = [line.strip() for line in _text(listing, row).split("\n") if line.strip()][:_PROBED]
    if not lines:
        return []
    is_table = listing.endings[row] in TABLE_ENDINGS
    cells = [cell for delimiter in _DELIMITERS for cell in _split(lines[0], delimiter)]
    bare = not is_table and len(lines[0].split()) <= 3 and any(map(str.isdigit, lines[0]))  # 2008_000008  1
    return lines if bare or any(map(_is_path, cells)) else []


def _is_path(cell: str) -> bool:
    return ending_of(cell) in IMAGE_ENDINGS or "/" in cell or "\\" in cell


def _shape(lines: list[str], finder: FileFinder, listing: Listing) -> _Shape | None:
    """How to split lines so that one column names images; None when there is no way."""
    for delimiter in _DELIMITERS:
        rows = [_split(line, delimiter) for line in lines]
        width = len(rows[0])
        alike = [row for row in rows if len(row) == width]  # a line with a cell too few is an error later
        if width < 2 or len(alike) < 0.8 * len(rows):
            continue
        for column in range(width):
            names = [row[column] for row in alike]
            found = finder.find(names, [""] * len(names))[0] >= 0
            found |= [not listing.archive and name.startswith("/") and os.path.isfile(name) for name in names]  # noqa: PTH113
            if found.mean() >= 0.5 and (found[0] or ending_of(names[0]) in IMAGE_ENDINGS):
                return _Shape(delimiter, column + 1)
    return None


def _split(line: str, delimiter: str) -> list[str]:
    if delimiter == "last space":
        return line.rsplit(None, 1)
    if delimiter == "first space":
        return line.split(None, 1)
    if delimiter == " ":
        return line.split()
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]


def _parse(content: bytes, path: str, shape: _Shape) -> TextTable:
    """A list as a table whose columns are called 1, 2, …

    Raises:
        DataError: Not text, or a line with another number of cells than the first.
    """
    rows: list[list[str]] = []
    lines: list[int] = []
    for number, line in enumerate(_decode(content, path).split("\n"), start=1):
        if not line.strip():
            continue
        rows.append(_split(line.strip(), shape.delimiter))
        lines.append(number)
        if len(rows[-1]) != len(rows[0]):
            raise DataError(
                f"{path}:{number}: expected {len(rows[0])} cells as in line {lines[0]}, found {len(rows[-1])}",
                hint="is a label or a separator missing?",
            )
    names = [str(column + 1) for column in range(len(rows[0]) if rows else shape.id_column)]
    return TextTable(path, names, pd.DataFrame(rows, columns=range(len(names)), dtype=object), np.array(lines, dtype=np.int64))


def _columns(text: TextTable, shape: _Shape, choices: ColumnOptions) -> ColumnOptions:
    """The numbers of the columns of ids and of labels.

    Raises:
        DataError: Two columns could be the label.
    """
    id_column = choices.id_column or str(shape.id_column)
    if choices.label_column:
        return choices._replace(id_column=id_column)
    others = [name for name in text.names if name != id_column]
    if len(others) > 1:  # a running number is different in every line
        others = [name for name in others if len(set(text.column(name))) < len(text.lines)] or others
    if len(others) > 1:
        cells = text.frame.iloc[0].tolist()
        shown = " or ".join(f"column {name} ({cells[int(name) - 1]!r} in the first line)" for name in others)
        raise DataError(f"{text.path}: the label could be {shown}", hint=f"choose one: --label-column {others[0]}")
    return choices._replace(id_column=id_column, label_column=others[0])


def _choose(lists: list[TableFile]) -> list[TableFile]:
    """Train with its companions, or the only list.

    Raises:
        DataError: Two lists could each hold the labels.
    """
    chosen = [one for part in ("train", "valid", "test") for one in lists if one.part == part]
    if len({one.part for one in chosen}) < len(chosen):
        raise _several([one for one in chosen if sum(other.part == one.part for other in chosen) > 1])
    if chosen and chosen[0].part == "train":
        return chosen
    if len(lists) > 1:
        raise _several(lists)
    return [alone(lists[0])]


def _base(listing: Listing, path: str) -> str | None:
    """The folder of a list, if all images lie below it; else None."""
    folder = posixpath.dirname(path)
    numbers = np.unique(listing.folder[listing.is_image]).tolist()
    inside = all(not folder or f"{listing.folders[number]}/".startswith(f"{folder}/") for number in numbers)
    return folder if inside else None
