"""A sample submission, parsed: which column holds the ids, which are to be filled, and with what.

Nothing is guessed where two readings are possible: the error names both and the option that decides.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tellapart.data.folder_walk import path_kind
from tellapart.data.layouts._aliases import normalize
from tellapart.data.layouts._csv import TextTable, read_text_table
from tellapart.errors import DataError, unknown_name
from tellapart.regular_files import read_bytes
from tellapart.spreadsheet import csv_text

Kind = Literal["label", "probability", "classes"]
KINDS: tuple[Kind, ...] = ("label", "probability", "classes")
_INDEX = re.compile(r"(?:unnamed: ?\d+|index|)\Z", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class SampleSubmission:
    """A parsed sample submission.

    Attributes:
        path: The file.
        text: Its cells.
        id_column: The column of the ids.
        answers: The columns to fill.
        notes: What was passed over.
        mark: The byte order mark, or "".
        header: The lines up to the names of the columns, verbatim.
        delimiter, line_end: As in the file.
    """

    path: Path
    text: TextTable
    id_column: str
    answers: tuple[str, ...]
    notes: tuple[str, ...]
    mark: str
    header: str
    delimiter: str
    line_end: str

    @property
    def ids(self) -> list[str]:
        """One a row."""
        return self.text.column(self.id_column)

    def place(self, row: int) -> str:
        """The place of a row, for messages."""
        return f"{self.path}:{self.text.lines[row]}"

    def filled(self, cells: Mapping[str, list[str]]) -> str:
        """The sample with these values, one list per answer column; cells are as in the sample, whatever they begin with."""
        columns = [cells[name] if name in cells else self.text.column(name) for name in self.text.names]
        rows = csv_text(zip(*columns, strict=True), guarded=False, delimiter=self.delimiter, line_end=self.line_end)
        return f"{self.mark}{self.header}{self.line_end}{rows}"


def read_sample(path: Path, id_column: str | None, answers: Sequence[str], names: Sequence[str]) -> SampleSubmission:
    """Read a sample.

    Args:
        path: CSV or TSV with a header.
        id_column: The column of the ids; None: the first that is not a running number.
        answers: The columns to fill; empty: all others.
        names: What the classes are called there.

    Raises:
        DataError: It cannot be read, has no rows or no column to fill; an id is missing or occurs twice.
    """
    if (kind := path_kind(path)) != "file":
        why = "is a folder; expected a CSV or TSV file" if kind == "folder" else "not found"
        raise DataError(f"--sample {path}: {why}", hint="pass the sample submission of the competition")
    content = read_bytes(path)
    text = read_text_table(content, str(path), literal=True)
    if not len(text.frame):
        raise DataError(f"{path}: the sample has a header but no rows")
    if len(text.names) < 2:
        raise DataError(f"{path}: expected an id and an answer column, found {text.names[0]!r} alone")
    for flag, name in (("--sample-id-column", id_column), *(("--answer-column", name) for name in answers)):
        if name is not None and name not in text.names:
            raise DataError(f"{path}: {flag}: {unknown_name('column', name, text.names)}")
    passed = None if text.names[0] in (id_column, *answers) else _index_column(text, names, id_column)
    id_column = id_column or text.names[0 if passed is None else 1]
    if id_column in answers:
        raise DataError(f"{path}: {id_column!r} cannot be both the id and an answer column")
    columns = tuple(name for name in text.names if (name in answers if answers else name not in (id_column, passed)))
    if not columns:
        raise DataError(
            f"{path}: no column to fill besides {id_column!r}", hint="name the id column: --sample-id-column COLUMN"
        )
    kept = [repr(name) for name in text.names if name not in (id_column, *columns)]
    notes = [f"{path.name}: the ids are the column {id_column!r}; copied as given: {', '.join(kept)}"] if kept else []
    raw = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8")
    mark = "\ufeff" if raw.startswith("\ufeff") else ""
    head = "".join(io.StringIO(raw.removeprefix(mark), newline="").readlines()[: text.skipped + 1])
    header = head.rstrip("\r\n")
    line_end = head[len(header) :] or "\n"
    sample = SampleSubmission(path, text, id_column, columns, tuple(notes), mark, header, text.delimiter, line_end)
    _refuse_repeats(sample)
    return sample


def _index_column(text: TextTable, names: Sequence[str], id_column: str | None) -> str | None:
    """The first column, if it has the name of an index, counts from 0 or 1, and another column holds the ids."""
    if len(text.names) < 3 or not _INDEX.match(text.names[0]):
        return None
    first, second = text.column(text.names[0]), text.column(text.names[1])
    if first not in ([str(n) for n in range(len(first))], [str(n + 1) for n in range(len(first))]):
        return None
    has_ids = id_column is not None or (len(set(second)) == len(second) and match_name(text.names[1], names) is None)
    return text.names[0] if has_ids else None


def _refuse_repeats(sample: SampleSubmission) -> None:
    seen: dict[str, int] = {}
    for row, name in enumerate(sample.ids):
        if not name.strip():
            raise DataError(f"{sample.place(row)}: no id")
        if name in seen:
            message = f"duplicate id {name!r} in the column {sample.id_column!r}, first in {sample.place(seen[name])}"
            hint = "if another column holds the ids, name it: --sample-id-column COLUMN"
            raise DataError(f"{sample.place(row)}: {message}", hint=hint)
        seen[name] = row


# --- names of classes in a sample -------------------------------------------------------------------------------------


def match_name(text: str, names: Sequence[str]) -> str | None:
    """The one of `names` that a header or a cell is: exactly, or but for case, accents, spaces, hyphens and underscores.

    >>> match_name("Real", ["real", "fake"]), match_name("REAL", ["real", "Real"]), match_name("label", ["real", "fake"])
    ('real', None, None)
    """
    if text in names:
        return text
    found = {name for name in names if _key(name) == _key(text)}
    return found.pop() if len(found) == 1 else None


def _key(text: str) -> str:
    return re.sub(r"[\s_\-]+", "", normalize(text))


def match_columns(sample: SampleSubmission, names: Sequence[str]) -> dict[str, str]:
    """Answer column → what the class is called, for a sample with a column for each class.

    Raises:
        DataError: A column without a class, a class without a column, or two columns of one class.
    """
    found = {column: match_name(column, names) for column in sample.answers}
    foreign = [column for column, name in found.items() if name is None]
    missing = [name for name in dict.fromkeys(names) if name not in found.values()]
    if foreign or missing:
        said = [f"the column {foreign[0]!r} is no class of the run"] if foreign else []
        said += [f"there is no column for {missing[0]!r}"] if missing else []
        hint = f"map the class names to columns: --map {missing[0] if missing else names[0]}=COLUMN"
        hint += "; or name the columns to fill: --answer-column COLUMN" if foreign else ""
        raise DataError(f"{sample.path}: {' and '.join(said)}; the classes are {', '.join(names)}", hint=hint)
    columns: dict[str, str] = {}
    for column, name in found.items():
        other = next((one for one, of in columns.items() if of == name), None)
        if other is not None:
            hint = f"name the columns to fill, with a column for each class: --answer-column {column}"
            raise DataError(f"{sample.path}: the columns {other!r} and {column!r} are both the class {name!r}", hint=hint)
        columns[column] = str(name)
    return columns


def match_cells(cells: Sequence[str], names: Sequence[str]) -> dict[str, str] | None:
    """What the classes are called in a column of class names: name → text; None where some cell is no class.

    Another spelling than that of the run is used only where the cells show it for every class.
    """
    if set(cells) <= set(names):
        return {name: name for name in names}
    found = {cell: match_name(cell, names) for cell in sorted(set(cells))}
    if None in found.values() or len(set(found.values())) < max(len(found), len(set(names))):
        return None
    return {str(name): cell for cell, name in found.items()}


def is_share(cell: str) -> bool:
    """Whether a cell is a number in [0, 1]."""
    try:
        return 0 <= float(cell) <= 1
    except ValueError:
        return False
