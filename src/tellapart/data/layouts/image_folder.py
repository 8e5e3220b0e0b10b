"""`metadata.jsonl` or `metadata.csv` among the images, as in Hugging Face's ImageFolder: `file_name`, `label` and more.

Each file describes the images of its own folder and those below. A folder called `train`, `validation` or `test` is the split
of its file. JSON lines of another name (`train.jsonl`) are read in the same way.
"""

from __future__ import annotations

import json
import posixpath
from functools import partial
from typing import Any, final

import numpy as np
import pandas as pd

from tellapart.data.layouts._aliases import parse_split
from tellapart.data.layouts._columns import detect_columns, has_columns
from tellapart.data.layouts._csv import TextTable, _decode, read_text_table
from tellapart.data.layouts._table_rows import TableFile
from tellapart.data.layouts.base import Claim, ColumnOptions, Layout, LayoutOptions, LayoutRows
from tellapart.data.layouts.table import _part_of, _stem, alone, read_tables, top_folder
from tellapart.data.listing import Listing
from tellapart.errors import DataError

JSON_LINES = ".jsonl"
_NAMES = ("metadata.jsonl", "metadata.csv")


@final
class ImageFolder(Layout):
    """Files of metadata with a file name and a label for each image."""

    def claims(self, listing: Listing, options: LayoutOptions) -> Claim | None:
        """See `Layout`."""
        tables = _find(listing, options)
        if not tables:
            return None
        names = " and ".join([table.path for table in tables[:3]] + ["others"] * (len(tables) > 3))
        certainty = 0.85 if options.file is None else 1.0
        return Claim(certainty, f"{names} has a file name and a label for each image.", names, "--label-column label")

    def read(self, listing: Listing, options: LayoutOptions) -> LayoutRows:
        """See `Layout`."""
        tables = _find(listing, options)
        if not tables:
            raise DataError(f"{listing.where}: no file of metadata has a file name and a label for each image")
        if options.file is not None or "train" not in {table.part for table in tables}:
            tables = [alone(table) for table in tables]
        images = options.images or listing
        return read_tables(tables, listing, images, _top(listing, options) if images is listing else "", options.columns)


def _find(listing: Listing, options: LayoutOptions) -> list[TableFile]:
    """The files of metadata, the training split first."""
    top = _top(listing, options)
    found = []
    for row in np.flatnonzero(np.isin(listing.endings, (JSON_LINES, ".csv"))).tolist():
        path = listing.paths[row]
        wanted = posixpath.basename(path).lower() in _NAMES or path.lower().endswith(JSON_LINES)
        folder = posixpath.relpath(posixpath.dirname(path) or ".", top or ".") if options.images is None else "."
        parse = partial(_parse, folder="" if folder == "." else folder, choices=options.columns)
        if wanted and options.file in (None, path):
            part = _part_of(_stem(path)) or next(filter(None, map(parse_split, reversed(path.split("/")[:-1]))), "")
            if path == options.file or _describes(listing, row, options.columns):
                found.append(TableFile(row, path, part, part, parse))
    order = ("train", "valid", "test", "")
    return sorted(found, key=lambda table: (order.index(table.part), table.path))


def _top(listing: Listing, options: LayoutOptions) -> str:
    return "" if options.file is not None else top_folder(listing)


def _describes(listing: Listing, row: int, choices: ColumnOptions) -> bool:
    """Whether the first lines have a file name and a label; of a damaged `metadata.jsonl`, `read` says what is wrong."""
    head, path = listing.head(row), listing.paths[row]
    try:
        if path.lower().endswith(JSON_LINES):
            return has_columns(_json_lines(head, path, choices).names, choices)
        names = read_text_table(head, path).names
        return "file_name" in names and has_columns(names, choices)
    except DataError:
        return posixpath.basename(path).lower() == _NAMES[0]


def _parse(content: bytes, path: str, folder: str, choices: ColumnOptions) -> TextTable:
    """A file of metadata as a table; its file names get the folder in front.

    Raises:
        DataError: It cannot be understood.
    """
    text = _json_lines(content, path, choices) if path.lower().endswith(JSON_LINES) else read_text_table(content, path)
    column = text.names.index(detect_columns(text, choices, needs_label=False).id)
    frame = text.frame.copy()
    frame[column] = [posixpath.join(folder, name) if name else "" for name in frame[column]]
    return TextTable(path, text.names, frame, text.lines)


def _json_lines(content: bytes, path: str, choices: ColumnOptions) -> TextTable:
    """One JSON object a line as a table: texts as they are, numbers as written, "" where a key is missing or null.

    Keys whose values are lists or objects (boxes, captions) are left out.

    Raises:
        DataError: A line is no JSON object, or the label is a list or an object.
    """
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    for number, line in enumerate(_decode(content, path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}: not JSON ({error})", hint="each line must be one JSON object") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}:{number}: expected a JSON object, found {type(row).__name__}")
        rows.append(row)
        lines.append(number)
    names = list(dict.fromkeys(key for row in rows for key in row))
    nested = {key: number for row, number in zip(rows, lines, strict=True) for key, value in row.items() if _is_nested(value)}
    for name in names:
        if name in nested and (name == choices.label_column or has_columns(["id", name], ColumnOptions())):
            raise DataError(f"{path}:{nested[name]}: {name!r} holds a list or an object, expected one text or number")
    names = [name for name in names if name not in nested]
    cells = {place: [_cell(row.get(name)) for row in rows] for place, name in enumerate(names)}
    return TextTable(path, names, pd.DataFrame(cells, dtype=object), np.array(lines, dtype=np.int64))


def _is_nested(value: Any) -> bool:
    return isinstance(value, (list, dict))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
