"""Tables whose ids are absolute paths of this machine: the images may lie in any folder."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tellapart.data.layouts._columns import detect_columns
from tellapart.data.layouts._csv import TextTable
from tellapart.data.layouts._table_rows import TableFile
from tellapart.data.layouts.base import ColumnOptions
from tellapart.data.listing import Listing, list_files
from tellapart.errors import DataError


def files_elsewhere(tables: Sequence[TableFile], listing: Listing, choices: ColumnOptions) -> Listing | None:
    """The files that the ids of some tables name, if these are absolute paths that lead out of the listing.

    Paths of another machine, which do not exist here, are none of them: their images are searched for in the listing.

    Args:
        tables: In the listing.
        listing: A folder.
        choices: Columns named by the user.

    Returns:
        A listing with the root "/"; None where the images are to be searched for in `listing`.

    Raises:
        DataError: A table cannot be understood.
    """
    if listing.archive:  # whoever packed it does not know the paths of this machine
        return None
    if not any(_leads_out(name, listing.root) for table in tables for name in _first_ids(table, listing, choices)):
        return None
    names = [name for table in tables for name in _ids(table.parse(listing.read(table.row), table.path), choices)]
    return list_files((os.path.join(listing.root, name) for name in names if name), root="/")  # noqa: PTH118


def _first_ids(table: TableFile, listing: Listing, choices: ColumnOptions) -> list[str]:
    """The ids at the beginning of a table; none where it cannot be understood, which is an error later."""
    try:
        return _ids(table.parse(listing.head(table.row), table.path), choices)
    except DataError:
        return []


def _ids(text: TextTable, choices: ColumnOptions) -> list[str]:
    return text.column(detect_columns(text, choices, needs_label=False).id)


def _leads_out(name: str, root: str) -> bool:
    return name.startswith("/") and not name.startswith(f"{root.rstrip('/')}/") and os.path.isfile(name)  # noqa: PTH113
