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
from tellapart.spreadsheet import unguard

TABLE_ENDINGS = (".csv", ".tsv")
_DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True, eq=False)
class TextTable:
    """N rows of strings.

    Attributes:
        path: Where it was read.
        names: Column names as written, less outer spaces.
        frame: The cells; columns are numbered.
        lines: (N,) int64, line of each row in the file (exact unless a quoted cell holds a line break).
        delimiter: What separates the cells.
        skipped: How many lines come before the header: blank ones, and Excel's `sep=;`.
    """

    path: str
    names: list[str]
    frame: pd.DataFrame
    lines: np.ndarray
    delimiter: str = ","
    skipped: int = 0

    def column(self, name: str) -> list[str]:
        """The cells of one column, N."""
        return self.frame[self.names.index(name)].tolist()

    def place(self, row: int) -> str:
        """The place of a row, for messages."""
        return f"{self.path}:{self.lines[row]}"


def read_text_table(content: bytes, path: str, header_only: bool = False, literal: bool = False) -> TextTable:
    """Parse a table with a header.

    Args:
        content: The file.
        path: Where it was read, for messages.
        header_only: Whether to read the header alone.
        literal: Whether cells are kept as they are written. If not, the single quote that keeps a spreadsheet from running a
            cell, as in our own tables, is removed (`spreadsheet.unguard`).

    Raises:
        DataError: Not UTF-8, no header, a column name twice, a row of the wrong length.
    """
    text, skipped, delimiter = _without_preamble(_decode(content, path))
    header = text.partition("\n")[0]
    if not header.strip():
        raise DataError(f"{path}: the table is empty", hint="its first line must name the columns")
    delimiter = delimiter or delimiter_of(header, path)
    frame = _parse(text, delimiter, path, skipped, header_only)
    if not literal and "'" in text:
        frame = frame.apply(lambda cells: cells.map(unguard) if cells.str.startswith("'").any() else cells)
    names = [str(cell).strip() for cell in frame.iloc[0]]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise DataError(f"{path}:{skipped + 1}: duplicate column {twice[0]!r}", hint="rename one of the two")
    frame = frame.iloc[1:]
    filled = (frame != "").any(axis=1).to_numpy(dtype=bool) if len(frame) else np.zeros(0, dtype=bool)
    return TextTable(path, names, frame[filled], np.flatnonzero(filled) + 2 + skipped, delimiter, skipped)


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


def _without_preamble(text: str) -> tuple[str, int, str]:
    """The text from its header on, how many lines were skipped, and the separator that Excel's line `sep=;` names, else "".

    >>> _without_preamble("\\nsep=;\\na;b\\n"), _without_preamble("a,b\\n")
    (('a;b\\n', 2, ';'), ('a,b\\n', 0, ''))
    """
    blank = len(text) - len(text.lstrip("\n"))
    named = separator_line(text[blank:].partition("\n")[0])
    if not named:
        return text[blank:], blank, ""
    rest = text[blank:].partition("\n")[2]
    again = len(rest) - len(rest.lstrip("\n"))
    return rest[again:], blank + 1 + again, named


def separator_line(line: str) -> str:
    """The separator that a line like Excel's `sep=;` names; "" for any other line.

    >>> separator_line('"sep=;"'), separator_line("sep=\\t"), separator_line("sep,label")
    (';', '\\t', '')
    """
    match = re.fullmatch(r'"?sep=(?P<separator>[^\w\s"]|\t)"?\s*', line, re.IGNORECASE)
    return match["separator"] if match else ""


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
