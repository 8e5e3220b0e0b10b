"""Folds as splits: for each fold one table in which it is held out, and the other images learn and choose.

The rows are those of train and valid; the test part is not among them. Dealing is stratified by class and seeded, and groups
and identical files stay together, within the fold and within what is cut from the others to validate on.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from tellapart.data.prepare import Prepared
from tellapart.data.split import carve_validation, find_duplicates, folds, summarize_duplicates
from tellapart.errors import SplitError
from tellapart.types import ImageTable

#: The part of a table that a fold run is judged on, and never learns from; other runs have none.
HELD_OUT = "held"


def kfold_tables(prepared: Prepared, count: int, *, share: float, seed: int = 0) -> list[Prepared]:
    """The rows of train and valid, once for each fold: the fold is `HELD`, about `share` of the others valid, the rest train.

    Args:
        prepared: Split.
        count: How many folds.
        share: Of the images outside a fold: those that may choose but are not learnt from.
        seed: Same seed, same folds.

    Returns:
        (count) tables of the same rows in the same order.

    Raises:
        SplitError: Fewer than two folds, or some fold would have no image of a class to learn from or to be judged on.
    """
    if count < 2:
        raise SplitError(f"{count} folds: at least 2 are needed", hint="5 or 10 are common")
    table, twins = prepared.table, prepared.twins
    if len(twins.cluster) != len(table):  # bad rows were left out since
        twins = find_duplicates(table)
    dealt = folds(table, count, seed=seed, twins=twins)
    rows = np.flatnonzero(dealt >= 0)
    table, cluster, dealt = table.take(rows), twins.cluster[rows], dealt[rows]
    return [_hold_out(table, dealt == fold, cluster, share, seed, fold, count) for fold in range(count)]


def _hold_out(
    table: ImageTable, held: np.ndarray, cluster: np.ndarray, share: float, seed: int, fold: int, count: int
) -> Prepared:
    """One fold held out. `held`: (N,) bool; `cluster`: (N,) int64, equal for identical files."""
    rows, parts = np.flatnonzero(~held), np.full(len(table), HELD_OUT, dtype=object)
    others = table.take(rows)
    inner = carve_validation(others, share=share, seed=seed, twins=summarize_duplicates(others, cluster[rows]))
    parts[rows] = inner.frame["split"].to_numpy(dtype=object)
    for part, purpose in ((HELD_OUT, "be judged on"), ("train", "learn from")):
        found = np.bincount(table.labels[parts == part], minlength=len(table.classes))
        if (lacking := np.flatnonzero(found == 0)).size:
            raise _too_small(table, cluster, int(lacking[0]), f"fold {fold + 1} has none to {purpose}", count)
    if not (parts == "valid").any():
        raise SplitError(f"fold {fold + 1} leaves no image to validate on", hint="add images, or use other folds")
    table = table.with_split(parts.astype(str))
    return Prepared(table, summarize_duplicates(table, cluster))


def _too_small(table: ImageTable, cluster: np.ndarray, label: int, why: str, count: int) -> SplitError:
    mine = table.labels == label
    groups = pd.Series(cluster).astype(str)
    if "group" in table.frame:
        named = table.frame["group"].astype(object)
        groups = groups.where((named.isna() | (named == "")).to_numpy(), "group " + named.astype(str).to_numpy())
    found, together = int(mine.sum()), len(set(groups[mine]))
    said = f"{found:,} image{'s' if found != 1 else ''} in training and validation"
    said += f", in {together:,} groups that must stay together" if together < found else ""
    hint = (
        f"use at most {together} folds, or add images of it" if 2 <= together < count else "add images of it, or leave it out"
    )
    return SplitError(f"the class {table.classes[label]!r} is too small for {count} folds: {said}; {why}", hint=hint)
