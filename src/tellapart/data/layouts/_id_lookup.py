"""Images by the names under which a table asks for them: the test images of a competition, none of them labeled."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tellapart.data.archives import ARCHIVE_ENDINGS
from tellapart.data.layouts._columns import detect_columns
from tellapart.data.layouts._csv import TextTable, read_text_table
from tellapart.data.layouts._file_finder import AMBIGUOUS, FileFinder
from tellapart.data.layouts._table_parts import further_columns
from tellapart.data.layouts.base import ColumnOptions
from tellapart.data.layouts.table import TABLE_ENDINGS
from tellapart.data.listing import Listing, list_archive, list_folder
from tellapart.errors import DataError
from tellapart.types import UNLABELED, ImageTable

#: From the position of an id to the place that asked for it, for messages: "sample.csv:7".
Place = Callable[[int], str]


def match_ids(
    ids: Sequence[str], place: Place, test: Path, images: Path | None = None, classes: Sequence[str] = ()
) -> tuple[ImageTable, int]:
    """The images of some ids, in their order.

    Args:
        ids: N names: paths, file names, or these without their ending.
        place: Where each stands, for messages.
        test: The images, as a folder or archive; or a table of them, whose ids may have an ending where `ids` have none.
        images: Where the images of a table lie, when that is not the folder beside it.
        classes: Class names of the run that will be asked.

    Returns:
        The table, its ids as given; and how many images of `test` nobody asked for.

    Raises:
        DataError: An id fits no image, or several; two ids fit one image; something is not there.
    """
    if not test.exists():
        raise DataError(f"--test {test}: not found", hint="give test.csv, or the folder or archive of the test images")
    more: dict[str, pd.Series] = {}
    if test.name.lower().endswith(TABLE_ENDINGS):
        text = read_text_table(test.read_bytes(), str(test))
        keys, unasked, more = _through_table(ids, place, text)
        listing = _listed(images or Path(os.path.abspath(test)).parent)  # noqa: PTH100
    else:
        listing, keys, unasked = _listed(images or test), list(ids), -1
    files = _files(keys, ids, place, listing)
    frame = pd.DataFrame(
        {
            "id": pd.Series(list(ids), dtype=object),
            "path": pd.Series(listing.locators(files), dtype=object),
            "label": UNLABELED,
            "size": listing.sizes[files],
            "stamp": listing.stamps[files],
            **more,
        }
    )
    unasked = int(listing.is_image.sum()) - len(files) if unasked < 0 else unasked
    return ImageTable(frame, tuple(classes), listing.root, layout=f"{len(frame):,} unlabeled images"), unasked


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
    """What a table of test images calls the files of some ids; how many of its rows nobody asked for; its further columns,
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
        f"{name} of the table": pd.Series(cells[chosen], dtype=object) for name, cells in further_columns(text, columns).items()
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
            hint="say where the test images are: --images DIR",
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
