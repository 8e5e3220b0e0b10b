"""Which column of a table names the image, which its class, which its group, source and split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tellapart.data.layouts._aliases import normalize
from tellapart.data.layouts._csv import TextTable
from tellapart.data.layouts.base import ColumnOptions
from tellapart.errors import DataError

_ID_COLUMNS = ("id", "image", "image_id", "name", "filename", "path", "file", "image_name", "image_path", "filepath")
_LABEL_COLUMNS = ("label", "target", "class", "category")


@dataclass(frozen=True)
class Columns:
    """The columns of one table that are used; None where there is none."""

    id: str
    label: str | None
    group: str | None
    source: str | None
    split: str | None

    @property
    def used(self) -> list[str]:
        """Their names."""
        return [name for name in (self.id, self.label, self.group, self.source, self.split) if name]


def detect_columns(text: TextTable, choices: ColumnOptions, needs_label: bool) -> Columns:
    """Find the columns by name, or take those that the user named.

    Raises:
        DataError: A column is missing or two could be it; names them and the flag that settles it.
    """
    id_column = _choose(text, _ID_COLUMNS, choices.id_column, "id", "--id-column")
    if id_column is None:
        raise _missing(text, "id", _ID_COLUMNS, "--id-column")
    label = _choose(text, _LABEL_COLUMNS, choices.label_column, "label", "--label-column")
    if label is None and needs_label and choices.label_column:
        raise _no_such(text, "--label-column", choices.label_column)
    if label is None and needs_label:
        raise _missing(text, "label", _LABEL_COLUMNS, "--label-column")
    if choices.group and choices.group not in text.names and needs_label:
        raise _no_such(text, "--group", choices.group)
    group = choices.group if choices.group in text.names else _optional(text, "group", (id_column, label))
    rest = (id_column, label)
    return Columns(id_column, label, group, _optional(text, "source", rest), _optional(text, "split", rest))


def has_columns(names: Iterable[str], choices: ColumnOptions) -> bool:
    """Whether a table has both an id and a label column, be it more than one of each."""
    names = list(names)
    has_id = choices.id_column in names if choices.id_column else bool(_candidates(names, _ID_COLUMNS))
    has_label = choices.label_column in names if choices.label_column else bool(_candidates(names, _LABEL_COLUMNS))
    return has_id and has_label


def _choose(text: TextTable, known: tuple[str, ...], chosen: str | None, what: str, flag: str) -> str | None:
    """The column for `what`: the one the user named, else the only one with a known name, else None."""
    if chosen is not None:
        if chosen not in text.names and what == "id":
            raise _no_such(text, flag, chosen)
        return chosen if chosen in text.names else None
    candidates = _candidates(text.names, known)
    if len(candidates) > 1:
        raise DataError(
            f"{text.path}: the {what} column could be {' or '.join(map(repr, candidates))}",
            hint=f"say which: {flag} {candidates[0]}",
        )
    return candidates[0] if candidates else None


def _candidates(names: Iterable[str], known: tuple[str, ...]) -> list[str]:
    keys = {_key(name) for name in known}
    return [name for name in names if _key(name) in keys]


def _optional(text: TextTable, name: str, taken: tuple[str | None, ...]) -> str | None:
    return next((column for column in text.names if _key(column) == name and column not in taken), None)


def _key(name: str) -> str:
    """Column names are compared without case, accents, spaces, hyphens and underscores."""
    return normalize(name).replace("_", "").replace(" ", "").replace("-", "")


def _no_such(text: TextTable, flag: str, name: str) -> DataError:
    return DataError(f"{text.path}: {flag} {name}: no such column; there are {', '.join(text.names)}")


def _missing(text: TextTable, what: str, known: tuple[str, ...], flag: str) -> DataError:
    return DataError(
        f"{text.path}: no {what} column; expected one of {', '.join(known)}; found {', '.join(text.names)}",
        hint=f"say which it is: {flag} COLUMN (the first line of the table must name the columns)",
    )
