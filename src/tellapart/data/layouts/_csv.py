"""CSV and TSV as text: bytes in, columns of strings and line numbers out, nothing guessed about types.

pandas splits the cells (quotes, doubled quotes, a million rows a second) with all rules on types and missing values
switched off.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tellapart.data.layouts._aliases import normalize
from tellapart.data.layouts.base import ColumnOptions
from tellapart.errors import DataError

_DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True, eq=False)
class TextTable:
    """N rows of strings.

    Attributes:
        path: Where it was read.
        names: Column names as written, less outer spaces.
        frame: The cells; columns are numbered.
        lines: (N,) int64, line of each row in the file (exact unless a quoted cell holds a line break).
    """

    path: str
    names: list[str]
    frame: pd.DataFrame
    lines: np.ndarray

    def column(self, name: str) -> list[str]:
        """The cells of one column, N."""
        return self.frame[self.names.index(name)].tolist()


def read_text_table(content: bytes, path: str, header_only: bool = False) -> TextTable:
    """Parse a table with a header.

    Raises:
        DataError: Not UTF-8, no header, a column name twice, a row of the wrong length.
    """
    text = _decode(content, path)
    skipped = len(text) - len(text.lstrip("\n"))  # blank lines before the header
    text = text[skipped:]
    header = text.partition("\n")[0]
    if not header.strip():
        raise DataError(f"{path}: the table is empty", hint="its first line must name the columns")
    frame = _parse(text, delimiter_of(header, path), path, skipped, header_only)
    names = [str(cell).strip() for cell in frame.iloc[0]]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise DataError(f"{path}:{skipped + 1}: duplicate column {twice[0]!r}", hint="rename one of the two")
    frame = frame.iloc[1:]
    filled = (frame != "").any(axis=1).to_numpy(dtype=bool) if len(frame) else np.zeros(0, dtype=bool)
    return TextTable(path, names, frame[filled], np.flatnonzero(filled) + 2 + skipped)


def _decode(content: bytes, path: str) -> str:
    """UTF-8 with or without a byte order mark, or UTF-16 with one (Excel's "Unicode text")."""
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8 text", hint="save the table as CSV UTF-8") from error
    if "\0" in text:
        raise DataError(f"{path}: not a text table (it holds zero bytes)", hint="save the table as CSV UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def delimiter_of(header: str, path: str) -> str:
    """The separator used most in the header; a comma (a tab in .tsv) when there is only one column."""
    usual = "\t" if path.lower().endswith(".tsv") else ","
    best = max((usual, *_DELIMITERS), key=header.count)
    return best if header.count(best) else usual


def _parse(text: str, delimiter: str, path: str, skipped: int, header_only: bool) -> pd.DataFrame:
    """All lines, header and blank lines included, as strings."""
    options: dict[str, Any] = {"sep": delimiter, "header": None, "dtype": str, "na_filter": False, "engine": "c"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            first = pd.read_csv(io.StringIO(text), nrows=1, **options)
            if header_only:
                return first
            # Named columns, so that a row that is too long is an error and its first cell no index.
            options |= {"names": range(first.shape[1]), "index_col": False, "skip_blank_lines": False}
            return pd.read_csv(io.StringIO(text), **options).fillna("")
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise DataError(_reason(str(error), path, skipped), hint="is a quote or a separator missing?") from error


def _reason(message: str, path: str, skipped: int) -> str:
    """The message of pandas about a row, with the line in the file.

    >>> _reason("Error tokenizing data. C error: Expected 2 fields in line 3, saw 4", "t.csv", 0)
    't.csv:3: expected 2 cells, found 4'
    """
    if match := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", message):
        return f"{path}:{int(match[2]) + skipped}: expected {match[1]} cells, found {match[3]}"
    if match := re.search(r"EOF inside string starting at row (\d+)", message):
        return f"{path}:{int(match[1]) + 1 + skipped}: a quote that opens here is never closed"
    return f"{path}: not a table ({message.strip()})"


# --- which column of a table names the image, which its class, which its group, source and split ----------------------


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
            hint=f"choose one: {flag} {candidates[0]}",
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
        hint=f"name it: {flag} COLUMN (the first line of the table must name the columns)",
    )


TABLE_ENDINGS = (".csv", ".tsv")


def further_columns(text: TextTable, columns: Columns) -> dict[str, np.ndarray]:
    """The columns that have no meaning of their own, the first fifty: (N,) object (str), "" where not given."""
    return {name: _given(text, name, "") for name in [n for n in text.names if n and n not in columns.used][:MOST_MORE]}


MOST_MORE = 50  # further columns that are kept, the first in the table


def _given(text: TextTable, column: str, missing: str | None) -> np.ndarray:
    """Cells without outer spaces, `missing` where they are empty: (N,) object."""
    cells = text.column(column)
    meaning = {cell: (missing if cell.strip() in NOT_GIVEN else cell.strip()) for cell in set(cells)}
    return np.array([meaning[cell] for cell in cells], dtype=object)


#: What an empty cell of the label, group, source or split column may look like.
NOT_GIVEN = frozenset({"", "nan", "NaN", "NA", "N/A", "<NA>", "null", "NULL"})
