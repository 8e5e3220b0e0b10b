"""A table in another folder than the one that holds everything: `labels/train.csv` beside `images/`.

Such a table could also be a leftover, so it is claimed only if its ids name images, and no surer than class folders: where both
could hold the labels, the user chooses.
"""

from __future__ import annotations

import posixpath
from typing import final

import numpy as np
import pandas as pd

from tellapart.data.layouts._columns import detect_columns, has_columns
from tellapart.data.layouts._csv import TABLE_ENDINGS, TextTable, read_text_table
from tellapart.data.layouts._id_lookup import FileFinder
from tellapart.data.layouts._table_rows import TableFile
from tellapart.data.layouts.base import Claim, Layout, LayoutOptions, LayoutRows
from tellapart.data.layouts.table import choose_tables, find_tables, read_tables, top_folder
from tellapart.data.listing import Listing
from tellapart.errors import DataError

_PROBED = 50  # rows whose images are looked up
_MOST = 16  # tables that are looked at, those of the upper folders first


@final
class NestedTable(Layout):
    """A CSV or TSV in a folder below, whose ids name images anywhere in the data."""

    def claims(self, listing: Listing, options: LayoutOptions) -> Claim | None:
        """See `Layout`."""
        tables = _find(listing, options)
        if not tables:
            return None
        chosen = options.images or options.columns.id_column or options.columns.label_column
        names = " and ".join(table.path for table in tables)
        columns = _head(listing, tables[0]).names
        label = next((name for name in columns if has_columns([name], options.columns._replace(id_column=name))), "COLUMN")
        return Claim(0.65 if chosen else 0.5, f"The ids of {names} name images.", names, f"--label-column {label}")

    def read(self, listing: Listing, options: LayoutOptions) -> LayoutRows:
        """See `Layout`."""
        chosen = choose_tables(listing, _find(listing, options), options.columns)
        if not chosen:
            raise DataError(f"{listing.where}: no table in a folder below names images and their labels")
        images = options.images or listing
        return read_tables(chosen, listing, images, top_folder(listing) if images is listing else "", options.columns)


def _find(listing: Listing, options: LayoutOptions) -> list[TableFile]:
    """The tables in the uppermost folder that has one whose ids name images, but for the top folder."""
    if options.file is not None:
        return []
    top = top_folder(listing)
    rows = np.flatnonzero(np.isin(listing.endings, TABLE_ENDINGS)).tolist()
    folders = {posixpath.dirname(listing.paths[row]) for row in rows} - {top}
    finder = FileFinder(options.images or listing, top if options.images is None else "")
    tables = [table for folder in sorted(folders, key=_depth) for table in find_tables(listing, folder)][:_MOST]
    for table in tables:
        if _names_images(_head(listing, table), finder, options):
            return find_tables(listing, posixpath.dirname(table.path))
    return []


def _depth(folder: str) -> tuple[int, str]:
    return folder.count("/"), folder


def _head(listing: Listing, table: TableFile) -> TextTable:
    """The first rows of a table; none where it is not one."""
    try:
        return read_text_table(listing.head(table.row), table.path)
    except DataError:
        return TextTable(table.path, [], pd.DataFrame(), np.zeros(0, dtype=np.int64))


def _names_images(text: TextTable, finder: FileFinder, options: LayoutOptions) -> bool:
    """Whether a table has a label column, and at least half of its first ids name images."""
    if not has_columns(text.names, options.columns):
        return False
    try:
        ids = text.column(detect_columns(text, options.columns, needs_label=False).id)[:_PROBED]
    except DataError:  # two columns could be the id
        return True
    return bool(ids) and bool((finder.find(ids, [""] * len(ids))[0] >= 0).mean() >= 0.5)
