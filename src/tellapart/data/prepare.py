"""From what a person points at to images that can be trained on: scanned, whole, split, decoded.

Strict by default: anything wrong with the data stops the work before any training, with every problem counted and the first
ones named. With `skip_bad` the rows in question are left out, and stay listed in `table.problems`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tellapart.data.cache import CorruptImages, PixelCache
from tellapart.data.split import Twins, describe_twins, find_twins, split
from tellapart.errors import DataError
from tellapart.progress import SILENT, Progress
from tellapart.recipe import Inputs
from tellapart.types import ImageTable, Problem

#: Problems that lose no labelled image: they are shown, and stop nothing.
HARMLESS = frozenset({"other file"})


@dataclass(frozen=True)
class Prepared:
    """A table with every labelled row in train, valid or test, and what was found about identical files."""

    table: ImageTable
    twins: Twins


def prepare(
    table: ImageTable, *, seed: int = 0, skip_bad: bool = False, split_from: Path | None = None, progress: Progress = SILENT
) -> Prepared:
    """Check and split a scanned table.

    Args:
        table: Of `scan`.
        seed: Of the split.
        skip_bad: Leave bad rows out instead of stopping.
        split_from: A run folder whose split is used again.
        progress: Where long work is reported.

    Raises:
        DataError: The data have problems and `skip_bad` is not set.
        SplitError: They cannot be split.
    """
    bad = [p for p in table.problems if p.kind not in HARMLESS]
    if bad and not skip_bad:
        raise DataError(problems_in_words(bad), hint="mend them, or leave these rows out, counted, with --skip-bad")
    twins = find_twins(table, progress)
    table = apply_split(table, split_from) if split_from else split(table, seed=seed, twins=twins)
    return Prepared(table, describe_twins(table, twins.cluster))


def decode_all(
    table: ImageTable, inputs: Sequence[Inputs], cache: PixelCache, *, skip_bad: bool = False
) -> ImageTable:
    """Decode a table for every distinct `inputs`, so that all classifiers see the same rows; gives the rows that remain.

    Raises:
        CorruptImages: Some cannot be decoded and `skip_bad` is not set.
    """
    for one in dict.fromkeys(inputs):
        try:
            cache.images(table, one)
        except CorruptImages as error:
            if not skip_bad:
                raise
            return decode_all(table.without(error.rows, error.problems), inputs, cache, skip_bad=True)
    return table


def apply_split(table: ImageTable, run: Path) -> ImageTable:
    """Give every labelled row the part that it has in a run folder, by id.

    Raises:
        DataError: An image was not in that run.
    """
    old = pd.read_parquet(run / "split.parquet").set_index("id")["split"]
    parts = pd.Series(table.ids).map(old)
    unknown = parts.isna().to_numpy() & (table.labels >= 0)
    if unknown.any():
        name = table.ids[np.flatnonzero(unknown)[0]]
        raise DataError(
            f"{int(unknown.sum()):,} images, {name!r} first, are not in the split of {run.name}",
            hint="leave --split-from out to draw a new split",
        )
    return table.with_split(parts.fillna("").to_numpy(dtype=str))


def problems_in_words(problems: Sequence[Problem], shown: int = 10) -> str:
    """Counts per kind, then the first few."""
    counts = Counter(p.kind for p in problems)
    total = ", ".join(f"{kind}: {n:,}" for kind, n in counts.items())
    lines = "".join(f"\n    {p}" for p in problems[:shown])
    more = f"\n    … and {len(problems) - shown:,} more" if len(problems) > shown else ""
    return f"the data have problems ({total}):{lines}{more}"
