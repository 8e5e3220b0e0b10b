"""Find the images that a sample submission asks for: in a folder or an archive, directly or through a table of test images."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tellapart.data.archives import ARCHIVE_ENDINGS
from tellapart.data.folder_walk import path_kind
from tellapart.data.layouts._columns import further_columns
from tellapart.data.layouts._csv import TABLE_ENDINGS, TextTable, read_text_table
from tellapart.data.layouts._id_lookup import AMBIGUOUS, FileFinder
from tellapart.data.layouts._near_names import NearNames, remedy
from tellapart.data.listing import Listing, list_archive, list_folder
from tellapart.errors import DataError, unknown_name
from tellapart.regular_files import read_bytes
from tellapart.types import UNLABELED, ImageTable


@dataclass(frozen=True, eq=False)
class AskedIds:
    """The ids that a sample submission asks for.

    Attributes:
        ids: N names: paths, file names, or these without their ending.
        column: The column that holds them.
        place: From the position of an id to its place, for messages: "sample.csv:7".
    """

    ids: Sequence[str]
    column: str
    place: Callable[[int], str]

    def counted(self, few: int) -> str:
        """How many of the ids a message is about."""
        total = len(self.ids)
        return f"so it is with {few:,} of {total:,} ids" if few > 1 else f"all others of {total:,} ids are found"


@dataclass(frozen=True, eq=False)
class TestImages:
    """The images of the ids that were asked for.

    Attributes:
        table: One row an id, in their order, unlabeled.
        unused: Number of test images that no id names.
        notes: Which columns of a table were used.
    """

    __test__ = False  # no test class, whatever its name says to pytest

    table: ImageTable
    unused: int
    notes: tuple[str, ...] = ()


def find_test_images(
    asked: AskedIds, test: Path, images: Path | None = None, *, id_column: str | None = None, classes: Sequence[str] = ()
) -> TestImages:
    """Find the image of each id.

    Args:
        asked: The ids.
        test: The images, as a folder or archive; or a table of them. In a table the column that holds the ids names the row,
            and a column whose cells are files names the image; both may be the same.
        images: Where the images of a table lie, when that is not the folder beside it.
        id_column: The column of the table that names the images; None: found by its cells.
        classes: Class names of the run that predicts the images.

    Raises:
        DataError: An id fits no image, or several; two ids fit one image; the columns are ambiguous; something is not there.
    """
    if not path_kind(test):
        raise DataError(f"--test {test}: not found", hint="give test.csv, or the folder or archive of the test images")
    if not test.name.lower().endswith(TABLE_ENDINGS):
        if id_column is not None:
            hint = "leave it out; --sample-id-column names the id column of the sample"
            raise DataError(f"--id-column {id_column}: {test} is no table, so it has no columns", hint=hint)
        listing = _listed(images or test)
        files = _files(asked.ids, asked, listing)
        return TestImages(_table(asked, listing, files, {}, classes), int(listing.is_image.sum()) - len(files))
    text = read_text_table(read_bytes(test), str(test), literal=True)
    listing = _listed(images or Path(os.path.abspath(test)).parent)  # noqa: PTH100
    row_column, rows = _rows(text, asked, id_column)
    column, files = _pictures(text, rows, row_column, asked, listing, id_column)
    further = further_columns(text, [column]).items()
    more = {f"{name} of the table": pd.Series(cells[rows], dtype=object) for name, cells in further}
    notes = () if column == row_column else (f"{test.name}: {row_column!r} names the rows, {column!r} the images",)
    return TestImages(_table(asked, listing, files, more, classes), len(text.lines) - len(files), notes)


def _table(
    asked: AskedIds, listing: Listing, files: np.ndarray, more: dict[str, pd.Series], classes: Sequence[str]
) -> ImageTable:
    frame = pd.DataFrame(
        {
            "id": pd.Series(list(asked.ids), dtype=object),
            "path": pd.Series(listing.locators(files), dtype=object),
            "label": UNLABELED,
            "size": listing.sizes[files],
            **more,
        }
    )
    return ImageTable(frame, tuple(classes), listing.root, layout=f"{len(frame):,} unlabeled images")


def _listed(where: Path) -> Listing:
    kind = path_kind(where)
    if not kind:
        raise DataError(f"{where}: not found", hint="give the folder or archive of the test images")
    top = os.path.abspath(where)  # noqa: PTH100
    if kind == "folder":
        return list_folder(top)
    if top.lower().endswith(ARCHIVE_ENDINGS):
        return list_archive(top)
    raise DataError(f"{where}: expected a table, a folder, a .zip or a .tar of test images")


# --- the rows and the images of a table -------------------------------------------------------------------------------


def _rows(text: TextTable, asked: AskedIds, id_column: str | None) -> tuple[str, np.ndarray]:
    """The column that holds the ids of the sample, and the row of each id: (N,) int64.

    Raises:
        DataError: No column holds all ids, or several do for different rows.
    """
    if id_column is not None and id_column not in text.names:
        raise DataError(f"{text.path}: --id-column: {unknown_name('column', id_column, text.names)}")
    found = {name: _row_of_each(text.column(name), asked.ids) for name in text.names}
    whole = {name: rows for name, rows in found.items() if (rows >= 0).all()}
    if not whole:
        best = max(found, key=lambda name: (int((found[name] >= 0).sum()), name == id_column, name == asked.column))
        lost = np.flatnonzero(found[best] < 0)
        first, cells = int(lost[0]), text.column(best)
        raise DataError(
            f"{asked.place(first)}: {asked.ids[first]!r} is not one row of {text.path} ({asked.counted(len(lost))})",
            hint=f"its column {best!r} begins with {cells[0]!r}" if cells else "the table has no rows",
        )
    if asked.column in whole:
        return asked.column, whole[asked.column]
    if len({tuple(rows.tolist()) for rows in whole.values()}) > 1:
        raise DataError(
            f"{text.path}: the rows of the sample could be named by {' or '.join(map(repr, whole))}, with different results",
            hint=f"rename the column that holds the sample's ids to {asked.column!r}, as in the sample",
        )
    return next(iter(whole.items()))


def _row_of_each(cells: Sequence[str], ids: Sequence[str]) -> np.ndarray:
    """The row of each id, by the cell or by the cell without folder and ending; −1 for none or several: (N,) int64."""
    exact, stems = _unique(cells), _unique([_stem(cell) for cell in cells])
    return np.array([exact.get(name, stems.get(_stem(name), -1)) for name in ids], dtype=np.int64)


def _unique(names: Sequence[str]) -> dict[str, int]:
    """Name → position, −1 for names that occur more than once."""
    found: dict[str, int] = {}
    for row, name in enumerate(names):
        found[name] = row if name not in found else -1
    return found


def _pictures(
    text: TextTable, rows: np.ndarray, row_column: str, asked: AskedIds, listing: Listing, id_column: str | None
) -> tuple[str, np.ndarray]:
    """The column whose cells are image files, and the file of each id: (N,) int64.

    Raises:
        DataError: No column names an image in every row, or several name different ones.
    """
    order = [id_column] if id_column else [row_column, *(name for name in text.names if name != row_column)]
    finder = FileFinder(listing)
    found: dict[str, np.ndarray] = {}
    for name in order:
        cells = text.column(name)
        keys = [cells[row] for row in rows.tolist()]
        if not len(keys) or (all(keys) and (finder.find(keys[:1], ["test"])[0] >= 0).all()):
            files, _ = finder.find(keys, ["test"] * len(keys))
            if (files >= 0).all():
                found[name] = files
    if not found:
        cells = text.column(order[0])
        return order[0], _files([cells[row] for row in rows.tolist()], asked, listing)  # raises, with the reason
    if len({tuple(files.tolist()) for files in found.values()}) > 1:
        raise DataError(
            f"{text.path}: the columns {' and '.join(map(repr, found))} name different images",
            hint=f"choose the one that names the images: --id-column {next(iter(found))}",
        )
    name = next(iter(found))
    cells = text.column(name)
    return name, _files([cells[row] for row in rows.tolist()], asked, listing)


# --- ids and files ----------------------------------------------------------------------------------------------------


def _files(keys: Sequence[str], asked: AskedIds, listing: Listing) -> np.ndarray:
    """The file of each key: (N,) int64, positions in the listing.

    Raises:
        DataError: A key fits no file, or several; two keys fit one file.
    """
    files, several = FileFinder(listing).find(keys, ["test"] * len(keys))
    lost = np.flatnonzero(files < 0)
    if len(lost):
        first = int(lost[0])
        ambiguous = files[first] == AMBIGUOUS
        said = f"fits {' and '.join(several[first][:3])}" if ambiguous else f"fits no image in {listing.where}"
        there = f"{int(listing.is_image.sum()):,} images are there"
        raise DataError(
            f"{asked.place(first)}: {keys[first]!r} {said} ({asked.counted(len(lost))}; {there})",
            hint=_several_hint(several[first]) if ambiguous else _near(keys[first], listing),
        )
    order = np.argsort(files, kind="stable")
    same = np.flatnonzero(np.diff(files[order]) == 0)
    if len(same):
        one, other = sorted(order[same[0] : same[0] + 2].tolist())
        ids, place = asked.ids, asked.place
        raise DataError(f"{place(other)}: {ids[other]!r} is the same image as {ids[one]!r} in {place(one)}")
    return files


def _several_hint(paths: Sequence[str]) -> str:
    folders = sorted({path.rpartition("/")[0] for path in paths} - {""})
    if len(folders) > 1:
        return f"give the folder of the test images alone, for example --images {folders[0]} below it"
    return "write the ids with their ending, or remove one of the files"


def _near(key: str, listing: Listing) -> str:
    """What is there instead of a file that was not found: a format that is not read, or nearly the same name."""
    for path, is_image in zip(listing.paths, listing.is_image.tolist(), strict=True):
        if not is_image and _stem(path).casefold() == _stem(key).casefold():
            return f"{path} is there, which is no image that can be read: convert it to .png"
    return remedy(NearNames(listing).of(key), "give the folder of the test images: --images DIR")


def _stem(name: str) -> str:
    """A name without folder and ending."""
    return name.replace("\\", "/").rpartition("/")[2].rpartition(".")[0] or name.replace("\\", "/").rpartition("/")[2]
