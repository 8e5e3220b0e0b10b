"""Which column of a table says the split, and what its cells mean: one rule for CSV and parquet.

A column is used when its name and all its cells are clear: words for train, valid and test in a column called `split`,
`subset`, …, or yes and no in a column called `is_test`. A column that could be a split and is not used is named in a note,
with the option that uses it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from tellapart.data.layouts._aliases import parse_split
from tellapart.data.layouts._columns import Cells, column_key, given_cells, no_such_column
from tellapart.errors import DataError

SPLIT_COLUMNS = ("split", "set", "subset", "usage", "partition", "fold", "phase")
FLAG_COLUMNS = {"is_test": "test", "is_valid": "valid", "is_validation": "valid", "is_val": "valid", "is_train": "train",
                "is_training": "train"}  # fmt: skip
#: The value of `--split-column` that ignores every such column.
IGNORE = "none"
_FLAGS = {column_key(name): split for name, split in FLAG_COLUMNS.items()}
_ORDER = {column_key(name): place for place, name in enumerate(SPLIT_COLUMNS)}
#: Competitions divide the test images: the public ones may choose a classifier, the private ones judge it.
_COMPETITION = {"public": "valid", "publictest": "valid", "private": "test", "privatetest": "test"}
_YES, _NO = frozenset({"1", "1.0", "true", "yes", "t", "y"}), frozenset({"0", "0.0", "false", "no", "f", "n"})
_NUMBERED = {2: ("train", "test"), 3: ("train", "valid", "test")}  # 0, 1 and 0, 1, 2 (as CelebA's `partition`)
_MOST_VALUES = 20  # a column with more values is no split


class SplitCells(NamedTuple):
    """What a table says about splits.

    Attributes:
        split: (N,) object: "train", "valid", "test", or the default of the table where it says nothing.
        columns: The columns that say it.
        sentence: Where the splits are from, and how cells were read that are spelled otherwise; "" where there are none.
        notes: Columns that could be a split and were not used, each with the option that uses it.
        ignored: Whether the user wants none of them.
    """

    split: np.ndarray
    columns: tuple[str, ...] = ()
    sentence: str = ""
    notes: tuple[str, ...] = ()
    ignored: bool = False

    def described(self) -> str:
        """How the splits were read, to end a sentence with; "" where that goes without saying."""
        return f", splits from {self.sentence}" if self.sentence else ""


def read_splits(cells: Cells, chosen: str | None, count: int, taken: Collection[str | None], default: str) -> SplitCells:
    """Find the split of each row.

    Args:
        cells: The table.
        chosen: `--split-column`: a column, `COLUMN=VALUE` for the rows that are test, or "none"; None: find it by its name.
        count: N, the number of rows.
        taken: Columns that mean something else.
        default: The split of rows that say nothing.

    Raises:
        DataError: A column that holds splits holds another word too; the chosen one does not exist or is not clear.
    """
    nothing = np.full(count, default, dtype=object)
    if chosen == IGNORE and IGNORE not in cells.names:
        return SplitCells(nothing, ignored=True)
    if chosen:
        return _read_chosen(cells, chosen, default)
    words = [name for name in cells.names if column_key(name) in _ORDER and name not in taken]
    words.sort(key=lambda name: _ORDER[column_key(name)])
    flags = [name for name in cells.names if column_key(name) in _FLAGS and name not in taken]
    found = [read for name in words if (read := _read_words(cells, name, default)) is not None]
    if flags and (read := _read_flags(cells, flags, default)) is not None:
        found.append(read)
    if not found:
        return SplitCells(nothing, notes=tuple(filter(None, (_note(cells, name) for name in [*words, *flags]))))
    used = found[0]
    others = [read for read in found[1:] if (read.split != used.split).any()]
    notes = [_other_split(cells, used, read) for read in others]
    clear = {name for read in found for name in read.columns}
    return used._replace(notes=(*notes, *filter(None, (_note(cells, name) for name in words if name not in clear))))


def _read_words(cells: Cells, column: str, default: str) -> SplitCells | None:
    """A column of words; None where none of them is a split."""
    texts = _texts(cells, column)
    distinct = sorted(set(texts) - {""})
    if not distinct:
        return None
    meaning = {text: parse_split(text) for text in distinct}
    if "train" in meaning.values():
        meaning |= {text: split for text in distinct if (split := _COMPETITION.get(column_key(text)))}
    if "train" not in meaning.values() and not all(meaning.values()):
        return None  # "test" and "control" are no splits
    return SplitCells(_mapped(cells, column, texts, meaning, default), (column,), f"the column {column}{_spelled(meaning)}")


def _read_flags(cells: Cells, columns: Sequence[str], default: str) -> SplitCells | None:
    """Columns of yes and no; None where one holds something else."""
    texts = {column: [text.lower() for text in _texts(cells, column)] for column in columns}
    if any(not set(of) <= _YES | _NO | {""} or not set(of) - {""} for of in texts.values()):
        return None
    kinds = [_FLAGS[column_key(column)] for column in columns]
    rest = "test" if set(kinds) == {"train"} else "train"
    split = []
    for row, answers in enumerate(zip(*texts.values(), strict=True)):
        said = {kind for kind, answer in zip(kinds, answers, strict=True) if answer in _YES}
        if len(said) > 1:
            raise DataError(
                f"{cells.place(row)}: {' and '.join(columns)} put the row into {' and '.join(sorted(said))}",
                hint=f"correct the cells, or ignore the columns with --split-column {IGNORE}",
            )
        split.append(said.pop() if said else rest if any(answers) else default)
    return SplitCells(
        np.array(split, dtype=object), tuple(columns), f"the column{'s' if len(columns) > 1 else ''} {' and '.join(columns)}"
    )


def _read_chosen(cells: Cells, chosen: str, default: str) -> SplitCells:
    """The column that the user named, or `COLUMN=VALUE`."""
    if chosen in cells.names:
        if column_key(chosen) in _FLAGS and (read := _read_flags(cells, [chosen], default)) is not None:
            return read
        texts = _texts(cells, chosen)
        distinct = sorted(set(texts) - {""})
        words = {text: parse_split(text) or _COMPETITION.get(column_key(text), "") for text in distinct}
        meaning = _numbered(distinct) or words
        return SplitCells(_mapped(cells, chosen, texts, meaning, default), (chosen,), f"the column {chosen}{_spelled(meaning)}")
    column, equals, value = chosen.rpartition("=")
    if not equals or column not in cells.names:
        raise no_such_column(cells, "--split-column", column if equals else chosen)
    texts = _texts(cells, column)
    if value not in texts:
        raise DataError(f"{cells.path}: --split-column {chosen}: no row has this value; there are {_listed(set(texts) - {''})}")
    split = np.array([default if not text else "test" if text == value else "train" for text in texts], dtype=object)
    return SplitCells(split, (column,), f"the column {column} ({value}: test, all others: train)")


def _numbered(distinct: Sequence[str]) -> dict[str, str]:
    """What 0, 1 and 2 mean, or 0 and 1; empty for other values.

    >>> _numbered(["0", "1", "2"]), _numbered(["1", "2"])
    ({'0': 'train', '1': 'valid', '2': 'test'}, {})
    """
    numbers = [re.sub(r"\.0*\Z", "", text) for text in distinct]
    if len(distinct) not in _NUMBERED or numbers != [str(number) for number in range(len(distinct))]:
        return {}
    return dict(zip(distinct, _NUMBERED[len(distinct)], strict=True))


def _mapped(cells: Cells, column: str, texts: list[str], meaning: dict[str, str], default: str) -> np.ndarray:
    """The split of each cell: (N,) object.

    Raises:
        DataError: One of them means none.
    """
    unknown = next((row for row, text in enumerate(texts) if text and not meaning[text]), None)
    if unknown is not None:
        raise DataError(
            f"{cells.place(unknown)}: {texts[unknown]!r} in the column {column!r} is no split; expected train, valid or test",
            hint=_remedy(column, texts[unknown]),
        )
    return np.array([meaning[text] if text else default for text in texts], dtype=object)


def _remedy(column: str, text: str) -> str:
    ignore = f"ignore the column with --split-column {IGNORE}"
    if close := difflib.get_close_matches(text.lower(), ("train", "valid", "validation", "test"), n=1, cutoff=0.75):
        return f"did you mean {close[0]!r}? Correct the cell, or {ignore}"
    return f"correct the cell; make its rows the test split with --split-column {column}={text}; or {ignore}"


def _texts(cells: Cells, column: str) -> list[str]:
    given = given_cells(cells, column)
    return [] if given is None else given.tolist()


def _spelled(meaning: dict[str, str]) -> str:
    """How words were read that are not the usual ones: " (PrivateTest: test, PublicTest: valid)"."""
    plain = all(text.lower() in (split, f"{split}ing", f"{split}ation") for text, split in meaning.items())
    return "" if plain else f" ({', '.join(f'{text}: {split}' for text, split in meaning.items())})"


def _note(cells: Cells, column: str) -> str:
    """A column that could be a split and is not used; "" when it has too many values, or one, to be one."""
    values = set(_texts(cells, column)) - {""}
    if not 2 <= len(values) <= _MOST_VALUES:
        return ""
    if read := _numbered(sorted(values)):
        said = ", ".join(f"{text} as {split}" for text, split in read.items())
        return f"{cells.path}: the column {column!r} is not used as a split; --split-column {_quoted(column)} reads {said}."
    last = max(values, key=lambda text: (len(text), text) if text.isdigit() else (0, text))
    option = f"--split-column {_quoted(f'{column}={last}')} makes the rows of {last} the test split"
    return f"{cells.path}: the column {column!r} ({_listed(values)}) is not used as a split; {option}."


def _other_split(cells: Cells, used: SplitCells, other: SplitCells) -> str:
    name = " and ".join(map(repr, other.columns))
    return (
        f"{cells.path}: {name} gives other splits than {' and '.join(map(repr, used.columns))}, which is used; "
        f"--split-column {_quoted(other.columns[0])} uses it."
    )


def _quoted(text: str) -> str:
    return f'"{text}"' if re.search(r"[^\w=.,:-]", text) else text


def _listed(values: Collection[str]) -> str:
    ordered = sorted(values, key=lambda text: (len(text), text) if text.isdigit() else (0, text))
    return ", ".join(ordered[:10]) + (f", … ({len(ordered)} in all)" if len(ordered) > 10 else "")
