"""From the cells of a label column to class names: one rule for CSV and parquet.

Every word is a class, "NA", "None" and "null" too. An empty cell is no label. Where all other labels are numbers, such a word
is how programs write a missing number, and no label either. `--unlabeled TEXT` names a text that means "no label".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection

import numpy as np

from tellapart.data.layouts._aliases import class_texts
from tellapart.data.layouts._columns import Cells, named_columns
from tellapart.errors import DataError

_MISSING_WORDS = frozenset({"na", "n/a", "<na>", "nan", "null", "none"})
_UNKNOWN = "-1"  # what many data sets write for the labels of a test split
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\Z", re.IGNORECASE)
_LITERAL = re.compile(r"""\[\s*['"].*\]\Z|\{\s*['"].*\}\Z|b(['"]).*\1\Z""", re.DOTALL)


def label_cells(cells: Cells, column: str) -> np.ndarray:
    """The cells of a label column without outer spaces, "" where empty: (N,) object.

    Raises:
        DataError: A cell holds a list, a mapping or bytes.
    """
    texts = cells.column(column)
    plain = {text: text.strip() for text in set(texts)}
    if wrong := {text for text in plain if _LITERAL.match(plain[text])}:
        row = next(row for row, text in enumerate(texts) if text in wrong)
        raise no_single_label(cells.place(row), column, texts[row])
    return np.array([plain[text] for text in texts], dtype=object)


def no_single_label(place: str, column: str, found: str) -> DataError:
    """The error for a label cell that holds more than one word or number."""
    shown = found if len(found) <= 40 else f"{found[:40]}…"
    return DataError(
        f"{place}: the column {column!r} holds {shown}; expected one word or number, the class of the image",
        hint="write one class per row, or choose another column with --label-column COLUMN",
    )


def read_labels(cells: np.ndarray, splits: np.ndarray, column: str, unlabeled: str | None) -> tuple[np.ndarray, list[str]]:
    """The class name of each row, over all tables of a data set.

    Args:
        cells: (N,) object (str), of `label_cells`; None is "no label" already.
        splits: (N,) object: "train", "valid", "test" or "".
        column: Name of the column, for messages.
        unlabeled: The text that means "no label", besides the empty one.

    Returns:
        (N,) object, None for a row without a label; and notes on words that could mean "no label" and are read as classes.

    Raises:
        DataError: No cell holds the text `unlabeled`.
    """
    counts = Counter(cells.tolist())
    known = [text for text in counts if text]
    nothing: set[str | None] = {None, ""}
    if unlabeled is not None:
        if unlabeled not in counts:
            raise DataError(
                f"--unlabeled {unlabeled}: no cell of the column {column!r} holds it; there are {named_columns(sorted(known))}"
            )
        nothing.add(unlabeled)
    doubtful = [text for text in known if text not in nothing and _may_be_missing(text)]
    others = [text for text in known if text not in nothing and text not in doubtful]
    if all(map(_NUMBER.match, others)):
        nothing |= {text for text in doubtful if text.lower() in _MISSING_WORDS}
    nothing |= _placeholders(cells, splits, doubtful)
    texts: dict[str | None, str | None] = dict.fromkeys(nothing)
    texts |= class_texts(text for text in known if text not in nothing)
    found = np.array([texts[text] for text in cells.tolist()], dtype=object)
    names = {texts[text] for text in known}
    kept = [text for text in doubtful if texts[text] is not None and not (_is_unknown(text) and names <= {"-1", "1", None})]
    return found, [_note(text, column, counts[text]) for text in kept]


def _may_be_missing(text: str) -> bool:
    return text.lower() in _MISSING_WORDS or _is_unknown(text)


def _is_unknown(text: str) -> bool:
    return re.sub(r"\.0*\Z", "", text) == _UNKNOWN


def _placeholders(cells: np.ndarray, splits: np.ndarray, doubtful: Collection[str]) -> set[str]:
    """Doubtful words that fill the validation or the test split, and do not occur elsewhere: those splits have no labels."""
    found: set[str] = set()
    outside = set(cells[~np.isin(splits, ("valid", "test"))].tolist())
    for split in ("valid", "test"):
        here = set(cells[splits == split].tolist()) - {"", None}
        if len(here) == 1 and here <= set(doubtful) - outside:
            found |= here
    return found


def _note(text: str, column: str, count: int) -> str:
    rows = f"{count:,} row{'s' if count != 1 else ''}"
    return f"{text!r} in the column {column!r} ({rows}) is read as a class; --unlabeled {text} reads it as no label."
