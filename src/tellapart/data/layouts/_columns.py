"""Which column of a table names the image, which its class, which its group and source: one rule for CSV and parquet."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tellapart.data.layouts._aliases import normalize
from tellapart.data.layouts.base import ColumnOptions
from tellapart.errors import DataError

ID_COLUMNS = ("id", "image", "image_id", "name", "filename", "path", "file", "image_name", "image_path", "filepath")
LABEL_COLUMNS = ("label", "target", "class", "category")
MOST_MORE = 50  # further columns that are kept, the first in the table
#: What an empty cell of the group, source or split column may look like.
NOT_GIVEN = frozenset({"", "nan", "NaN", "NA", "N/A", "<NA>", "null", "NULL"})
_LISTED = 10  # columns that an error names


class Cells(Protocol):
    """N rows of named columns as text: a CSV, or a parquet file without its images."""

    @property
    def path(self) -> str:
        """The file, for messages."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """The names of the columns."""
        ...

    def column(self, name: str) -> list[str]:
        """The cells of one column, N; "" where empty."""
        ...

    def place(self, row: int) -> str:
        """The place of a row, for messages."""
        ...


@dataclass(frozen=True)
class Columns:
    """The columns of one table that are used; None where there is none."""

    id: str
    label: str | None
    group: str | None
    source: str | None

    @property
    def used(self) -> list[str]:
        """Their names."""
        return [name for name in (self.id, self.label, self.group, self.source) if name]


def detect_columns(cells: Cells, choices: ColumnOptions, needs_label: bool) -> Columns:
    """Find the columns of a table of image names by name, or take those that the user named.

    Raises:
        DataError: A column is missing or two could be it; names them and the flag that settles it.
    """
    id_column = choose_column(cells, ID_COLUMNS, choices.id_column, "id", "--id-column")
    if id_column is None:
        raise missing_column(cells, "id", ID_COLUMNS, "--id-column")
    label = label_column(cells, choices.label_column, LABEL_COLUMNS, needs_label)
    return Columns(id_column, label, group_column(cells, choices.group, needs_label, (id_column, label)),
                   optional_column(cells, "source", (id_column, label)))  # fmt: skip


def has_columns(names: Iterable[str], choices: ColumnOptions) -> bool:
    """Whether a table has both an id and a label column, be it more than one of each."""
    names = list(names)
    has_id = choices.id_column in names if choices.id_column else bool(_candidates(names, ID_COLUMNS))
    has_label = choices.label_column in names if choices.label_column else bool(_candidates(names, LABEL_COLUMNS))
    return has_id and has_label


def label_column(cells: Cells, chosen: str | None, known: Sequence[str], needed: bool) -> str | None:
    """The column that holds the classes; None where there is none and none is needed.

    Raises:
        DataError: It is missing, or two could be it.
    """
    found = choose_column(cells, known, chosen, "label", "--label-column")
    if found is None and needed and chosen:
        raise no_such_column(cells, "--label-column", chosen)
    if found is None and needed:
        raise missing_column(cells, "label", known, "--label-column")
    return found


def group_column(cells: Cells, chosen: str | None, needed: bool, taken: Collection[str | None] = ()) -> str | None:
    """The column of groups: the chosen one, else the one called so, else None.

    Raises:
        DataError: The chosen column is needed and does not exist.
    """
    if chosen and chosen not in cells.names and needed:
        raise no_such_column(cells, "--group", chosen)
    return chosen if chosen in cells.names else optional_column(cells, "group", taken)


def choose_column(cells: Cells, known: Sequence[str], chosen: str | None, what: str, flag: str) -> str | None:
    """The column for `what`: the one the user named, else the only one with a known name, else None.

    Raises:
        DataError: There are two, or the user named an id column that does not exist.
    """
    if chosen is not None:
        if chosen not in cells.names and what == "id":
            raise no_such_column(cells, flag, chosen)
        return chosen if chosen in cells.names else None
    candidates = _candidates(cells.names, known)
    if len(candidates) > 1:
        raise DataError(
            f"{cells.path}: the {what} column could be {' or '.join(map(repr, candidates))}",
            hint="choose one: " + " or ".join(f"{flag} {name}" for name in candidates),
        )
    return candidates[0] if candidates else None


def optional_column(cells: Cells, name: str, taken: Collection[str | None] = ()) -> str | None:
    """The first column of that name that has no other meaning."""
    return next((column for column in cells.names if column_key(column) == name and column not in taken), None)


def column_key(name: str) -> str:
    """Column names are compared without case, accents, spaces, hyphens and underscores."""
    return normalize(name).replace("_", "").replace(" ", "").replace("-", "")


def given_cells(cells: Cells, column: str | None) -> np.ndarray | None:
    """The cells of an optional column without outer spaces, "" where not given: (N,) object; None without a column."""
    if column is None:
        return None
    texts = cells.column(column)
    meaning = {text: "" if text.strip() in NOT_GIVEN else text.strip() for text in set(texts)}
    return np.array([meaning[text] for text in texts], dtype=object)


def further_columns(cells: Cells, used: Collection[str]) -> dict[str, np.ndarray]:
    """The columns that have no meaning of their own, the first fifty: (N,) object (str), "" where not given."""
    names = [name for name in cells.names if name and name not in used][:MOST_MORE]
    return {name: of for name in names if (of := given_cells(cells, name)) is not None}


def named_columns(names: Iterable[str]) -> str:
    """The names of columns for a message, the first ten and the number of all.

    >>> named_columns(f"pixel{i}" for i in range(784))[-38:]
    'pixel7, pixel8, pixel9, … (784 in all)'
    """
    names = [str(name) for name in names]
    return ", ".join(names[:_LISTED]) + (f", … ({len(names):,} in all)" if len(names) > _LISTED else "")


def no_such_column(cells: Cells, flag: str, name: str) -> DataError:
    """The error for a column that the user named and that does not exist."""
    return DataError(f"{cells.path}: {flag} {name}: no such column; there are {named_columns(cells.names)}")


def missing_column(cells: Cells, what: str, known: Sequence[str], flag: str) -> DataError:
    """The error for a column that is needed and not found by its name."""
    hint = f"name it: {flag} COLUMN (the first line of the table must name the columns)"
    if sum(name.lower().startswith("pixel") for name in cells.names) > _LISTED:
        hint = "a table of pixels is not read: make arrays of it, and a table with tellapart.from_arrays"
    return DataError(
        f"{cells.path}: no {what} column; expected one of {', '.join(known)}; found {named_columns(cells.names)}", hint=hint
    )


def _candidates(names: Iterable[str], known: Sequence[str]) -> list[str]:
    keys = {column_key(name) for name in known}
    return [name for name in names if column_key(name) in keys]
