"""CSV and TSV as text: bytes in, columns of strings and line numbers out, nothing guessed about types.

pandas splits the cells (quotes, doubled quotes, a million rows a second) with all rules on types and missing values
switched off.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

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
        raise DataError(f"{path}:{skipped + 1}: the column {twice[0]!r} stands twice", hint="rename one of the two")
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


def _reason(said: str, path: str, skipped: int) -> str:
    """What pandas says of a row, with the line in the file.

    >>> _reason("Error tokenizing data. C error: Expected 2 fields in line 3, saw 4", "t.csv", 0)
    't.csv:3: expected 2 cells, found 4'
    """
    if match := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", said):
        return f"{path}:{int(match[2]) + skipped}: expected {match[1]} cells, found {match[3]}"
    if match := re.search(r"EOF inside string starting at row (\d+)", said):
        return f"{path}:{int(match[1]) + 1 + skipped}: a quote that opens here is never closed"
    return f"{path}: not a table ({said.strip()})"
