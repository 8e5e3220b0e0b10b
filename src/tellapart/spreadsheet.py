r"""CSV files that a spreadsheet can open: no cell is run as a formula, and every cell can be read back.

A spreadsheet runs a cell that begins with = + - @ as a formula, also one that was a file name or the name of a class. Following
OWASP ("CSV injection"), such a cell is written with a single quote in front; numbers are written as they are. `unguard` removes
exactly what `guard` added: `unguard(guard(text)) == text` for every text. Cells that hold a semicolon or a tab are quoted,
since spreadsheets of some languages separate cells there.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_BEGINNINGS = "=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"  # the last four are the wide forms of the first four
_FORMULA = re.compile(f"[{_BEGINNINGS}]")
_GUARDED = re.compile(f"'+[{_BEGINNINGS}]")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+|inf)(?:e[+-]?\d+)?", re.IGNORECASE)


def guard(text: str) -> str:
    """Put a single quote before a text that a spreadsheet would run.

    >>> guard("=1+1"), guard("-0.5"), guard("-cat.png"), guard("'=1"), guard("a=b")
    ("'=1+1", '-0.5', "'-cat.png", "''=1", 'a=b')
    """
    return f"'{text}" if runs(text) or _GUARDED.match(text) else text


def runs(text: str) -> bool:
    """Whether a spreadsheet may run a text as a formula.

    >>> [runs(text) for text in ("=1+1", "-cat.png", "-0.5", "'=1", "cat.png")]
    [True, True, False, False, False]
    """
    return _FORMULA.match(text) is not None and _NUMBER.fullmatch(text) is None


def unguard(text: str) -> str:
    """Remove the single quote that `guard` put in front, if it did.

    >>> unguard("'=1+1"), unguard("''=1"), unguard("-0.5"), unguard("'quoted'")
    ('=1+1', "'=1", '-0.5', "'quoted'")
    """
    return text[1:] if _GUARDED.match(text) else text


def csv_text(rows: Iterable[Sequence[str]], *, guarded: bool = True, delimiter: str = ",", line_end: str = "\n") -> str:
    """Rows of cells as CSV. Every CSV file is written here.

    Args:
        rows: The header, if there is one, and the other rows.
        guarded: Whether to write cells so that a spreadsheet does not run them; if not, they are written as they are.
        delimiter: What separates the cells.
        line_end: The end of each row.
    """
    special = re.compile("[" + re.escape('"\r\n' + delimiter + (";\t" if guarded else "")) + "]")

    def cell(text: str) -> str:
        text = guard(text) if guarded else text
        return f'"{text.replace(chr(34), chr(34) * 2)}"' if special.search(text) else text

    lines = (delimiter.join(map(cell, row)) if len(row) != 1 or row[0] else '""' for row in rows)
    return "".join(f"{line}{line_end}" for line in lines)


def frame_csv(frame: pd.DataFrame, *, guarded: bool = True, header: bool = True, float_format: str | None = None) -> str:
    """A data frame as CSV, without its index; numbers as pandas writes them. `guarded`: see `csv_text`."""
    # With this line end pandas quotes cells that hold a carriage return, which it does not do otherwise.
    text = frame.to_csv(index=False, header=header, lineterminator="\r\n", float_format=float_format)
    return csv_text(csv.reader(io.StringIO(text, newline="")), guarded=guarded)
