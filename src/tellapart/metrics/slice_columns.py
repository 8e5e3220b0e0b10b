"""Slices of images from the columns of a table: one slice per value, quartiles for numbers, "not given" for empty cells."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

#: Columns that come first, in this order; `format` is derived from `path`, all others are columns of that name.
COLUMNS = ("source", "format", "mode", "size", "width", "height", "pixels", "group")
NOT_GIVEN = "not given"
MOST_VALUES = 12  # values of a column; rarer values are merged
_BINS = 4  # bins of a numeric column: quartiles
_FEW = 6  # up to this many distinct numbers, each is a slice of its own
_INNER = frozenset({"id", "path", "label", "digest", "split"})  # internal columns that are no slices
_SPELLINGS = {"jpg": "jpeg", "jpe": "jpeg", "tif": "tiff"}


@dataclass(frozen=True, eq=False)
class ColumnSlices:
    """A column with its slices, each a pair of name and (N,) bool mask; each row is in exactly one slice."""

    column: str
    values: tuple[tuple[str, np.ndarray], ...]


def describe_columns(frame: pd.DataFrame, wanted: Sequence[str] | None) -> tuple[list[ColumnSlices], list[str]]:
    """Compute the slices of all columns, and notes on the columns without slices.

    Args:
        frame: Table with N rows.
        wanted: Columns; None: `COLUMNS`, then all others, with fewer notes.

    >>> parts, notes = describe_columns(pd.DataFrame({"source": ["web", "", "web"], "camera": ["a", "a", "a"]}), None)
    >>> [(name, mask.tolist()) for name, mask in parts[0].values], notes
    ([('web', [True, False, True]), ('not given', [False, True, False])], ['camera: all images have the value a'])
    """
    names = wanted or [*COLUMNS, *(c for c in map(str, frame) if c not in {*COLUMNS, *_INNER})]
    parts, notes = [], []
    for name in dict.fromkeys(names):
        cells = _cells(frame, name)
        if cells is None:
            continue
        values = list(_slices_of(name, cells))
        if name == "group" and len(values) > MOST_VALUES:
            values = list(_of_text(_prefixes(cells)))
        if len(values) == 1 and values[0][0] == NOT_GIVEN:
            notes += [f"{name}: no image has a value"] if wanted else []
        elif len(values) == 1:
            notes.append(f"{name}: all images have the value {values[0][0]}")
        elif not values or (len(values) > MOST_VALUES and not wanted and _mostly_unique(cells)):
            notes.append(f"{name}: nearly all values are unique")
        else:
            parts.append(ColumnSlices(name, tuple(_merge_rare(values))))
    return parts, notes


def _cells(frame: pd.DataFrame, name: str) -> Any:
    """Cells of a column, with None for missing values; None if there is no such column."""
    if name == "format" and "format" not in frame:
        return _formats(frame["path"]) if "path" in frame else None
    if name not in frame:
        return None
    cells: Any = frame[name]
    if name == "size":  # 0 if unknown, as in some containers
        cells = cells.where(cells > 0)
    if pd.api.types.is_bool_dtype(cells):
        return cells.astype(str)
    if pd.api.types.is_numeric_dtype(cells):
        return cells.astype(float)
    text: Any = cells.astype(object).where(cells.notna(), "").astype(str).str.strip()
    text = text.where(text != "", None)
    numbers: Any = pd.to_numeric(text, errors="coerce")
    return numbers.astype(float) if text.notna().any() and (numbers.notna() | text.isna()).all() else text


def _formats(paths: Any) -> Any:
    """File extension of each path in lower case; for images in an archive, that of the image."""
    endings = [re.search(r"\.([A-Za-z0-9]{1,5})\Z", str(path)) for path in paths]
    found = [None if end is None else end[1].lower() for end in endings]
    return pd.Series([None if end is None else _SPELLINGS.get(end, end) for end in found], dtype=object)


def _slices_of(name: str, cells: Any) -> Iterator[tuple[str, np.ndarray]]:
    if not pd.api.types.is_numeric_dtype(cells) or name == "group":
        yield from _of_text(cells)
        return
    values = cells.to_numpy(dtype=np.float64)
    given = np.isfinite(values)
    distinct = np.unique(values[given])
    if len(distinct) <= _FEW:
        yield from ((_number(name, v), values == v) for v in distinct)
    else:
        edges = np.unique(np.quantile(values[given], np.linspace(0, 1, _BINS + 1), method="higher"))
        for low, high in itertools.pairwise(edges):
            inside = given & (values <= high) & ((values >= low) if low == edges[0] else (values > low))
            yield _span(name, low, high), inside
    if not given.all():
        yield NOT_GIVEN, ~given


def _of_text(cells: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yield slices of text values: most frequent first, ties by name; empty cells last."""
    counts = cells.dropna().value_counts()
    order = sorted(counts.index, key=lambda value: (-counts[value], str(value)))
    yield from ((f"{v:g}" if isinstance(v, float) else str(v), (cells == v).to_numpy(dtype=bool)) for v in order)
    if cells.isna().any():
        yield NOT_GIVEN, cells.isna().to_numpy(dtype=bool)


def _merge_rare(values: list[tuple[str, np.ndarray]]) -> list[tuple[str, np.ndarray]]:
    """Limit the slices to `MOST_VALUES` by merging the rarest ones."""
    if len(values) <= MOST_VALUES:
        return values
    blank = [pair for pair in values if pair[0] == NOT_GIVEN]
    named = [pair for pair in values if pair[0] != NOT_GIVEN]
    keep = MOST_VALUES - 1 - len(blank)
    rest = np.logical_or.reduce([mask for _, mask in named[keep:]])
    return [*named[:keep], (f"{len(named) - keep} others", rest), *blank]


def _prefixes(cells: Any) -> Any:
    """Prefix of each group name before the first digit or separator: "cam" for "cam2-0017" and "cam2-0018"."""
    return cells.map(lambda name: None if name is None or name != name else re.split(r"[\d\W_]", str(name))[0] or str(name))


def _mostly_unique(cells: Any) -> bool:
    return cells.nunique() > max(MOST_VALUES, len(cells) // 10)


def _span(name: str, low: float, high: float) -> str:
    """Format the range (low, high] in the unit of its upper limit.

    >>> _span("size", 9780.0, 17_900.0), _span("size", 965.0, 1110.0), _span("age", 2.0, 7.5)
    ('9.78 to 17.9 kB', '0.965 to 1.11 kB', '2 to 7.5')
    """
    return f"{_number(name, low, high).partition(' ')[0]} to {_number(name, high)}"


def _number(name: str, value: float, like: float = 0.0) -> str:
    """Format a number with the unit of the column, if there is one; the unit suits the larger of `value` and `like`.

    >>> _number("size", 20_480.0), _number("width", 100.0), _number("pixels", 921600.0), _number("age", 3.25)
    ('20.5 kB', '100 px', '0.922 Mpx', '3.25')
    """
    largest = max(value, like)
    if name == "size":
        unit, of = ("MB", 1e6) if largest >= 1e6 else ("kB", 1e3) if largest >= 1000 else ("B", 1)
        return f"{value / of:.3g} {unit}"
    if name == "pixels":
        return f"{value / 1e6:.3g} Mpx" if largest >= 1e5 else f"{value:g} px"
    return f"{value:g} px" if name in ("width", "height") else f"{value:.4g}"
