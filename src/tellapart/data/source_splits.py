"""Tables split by the source of the images, and reduced training splits: what a run trains on, and what it is evaluated on.

The rows are those of train and valid; the test part is not among them. A run learns from training rows of some sources, of
which a tenth chooses; it is judged on everything else (`HELD`): all rows of the sources it never saw, and the validation rows
of those it saw. Images that are the same file as, or of one group with, one it learns from are left out of that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tellapart.data.folds import HELD_OUT
from tellapart.data.layouts._aliases import parse_real_fake
from tellapart.data.prepare import Prepared
from tellapart.data.split import carve_validation, find_duplicates, summarize_duplicates
from tellapart.errors import DataError, SplitError, unknown_name
from tellapart.types import ImageTable

_INNER = 0.1  # share of the training images that become the validation split
_COMMON = ""  # the source of rows that every run is trained on


@dataclass(frozen=True, eq=False)
class SourceTable:
    """The rows of the training and validation splits, each with its source.

    Attributes:
        table: N rows. With `by="class"` its labels are the real class and the others.
        cluster: (N,) int64, equal for identical files.
        source: (N,) object (str); "" for rows that are common to all sources.
        sources: Names of the sources, in order.
        one_sided: Sources whose images are all of one class.
    """

    table: ImageTable
    cluster: np.ndarray
    source: np.ndarray
    sources: tuple[str, ...]
    one_sided: frozenset[str]

    @property
    def common(self) -> int:
        """Number of rows that are common to all sources."""
        return int((self.source == _COMMON).sum())

    def trained_on(self, sources: Collection[str], seed: int = 0) -> Prepared:
        """Put some sources and the common rows into the training and validation splits, and hold out the rest.

        Args:
            sources: The sources to train on.
            seed: Random seed of the validation split.

        Raises:
            SplitError: A class has no image to train on.
        """
        parts = self.table.frame["split"].to_numpy(dtype=object)
        learn = (parts == "train") & np.isin(self.source, [*sources, _COMMON])
        lacking = np.bincount(self.table.labels[learn], minlength=len(self.table.classes)) == 0
        if lacking.any():
            name = self.table.classes[int(np.argmax(lacking))]
            raise SplitError(f"no image of the class {name!r} to learn from in {', '.join(sources) or 'what is left'}")
        keep = learn | ~_touches(self.table, self.cluster, learn)
        rows, inside = np.flatnonzero(keep), np.flatnonzero(learn)
        new = np.full(len(self.table), HELD_OUT, dtype=object)
        mine = self.table.take(inside)
        inner = carve_validation(mine, share=_INNER, seed=seed, twins=summarize_duplicates(mine, self.cluster[inside]))
        new[inside] = inner.frame["split"].to_numpy(dtype=object)
        table = self.table.take(rows).with_split(new[rows].astype(str))
        return Prepared(table, summarize_duplicates(table, self.cluster[rows]))

    def rows_of(self, ids: np.ndarray, source: str | None) -> np.ndarray:
        """Which of some images are of a source, or common (None): (M,) bool. `ids`: (M,) object."""
        place = pd.Index(self.table.ids).get_indexer(pd.Index(ids))
        return self.source[place] == (_COMMON if source is None else source)


def by_source(prepared: Prepared) -> SourceTable:
    """By the column `source`. Rows without one are common; with two classes so are sources that hold only negatives.

    Raises:
        DataError: No such column, or fewer than two sources.
    """
    table, cluster = _inner(prepared)
    if "source" not in table.frame:
        hint = "add a column `source` to the table, or folders beside the classes; --by class takes classes for sources"
        raise DataError(f"{table.name}: the images have no source", hint=hint)
    source = table.frame["source"].fillna(_COMMON).astype(str).to_numpy(dtype=object)
    names = list(dict.fromkeys(name for name in sorted(source) if name))
    kinds = {name: set(table.labels[source == name].tolist()) for name in names}
    if len(table.classes) == 2:
        negative = 1 - (table.classes.index(table.positive) if table.positive else 1)
        commons = [name for name in names if kinds[name] == {negative}]
        if len(commons) < len(names):
            source = np.where(np.isin(source, commons), _COMMON, source)
            names = [name for name in names if name not in commons]
    return _sourced(table, cluster, source, names)


def by_class(prepared: Prepared, real: str | None = None) -> SourceTable:
    """Every class but the real one is a source; labels become `real` and not.

    Args:
        prepared: Split, three classes or more.
        real: The class of real images; None: the one that has such a name.

    Raises:
        DataError: Fewer than three classes, an unknown class, or none that is real by its name.
    """
    table, cluster = _inner(prepared)
    if len(table.classes) < 3:
        raise DataError(f"{table.name}: two classes leave one source; at least two are needed", hint="use --by source")
    if real is not None and real not in table.classes:
        raise DataError(unknown_name("class", real, table.classes))
    named = [name for name in table.classes if parse_real_fake(name) == "real"]
    if real is None and len(named) != 1:
        hint = f"name the real class: --real {table.classes[0]}"
        raise DataError(f"which of {', '.join(table.classes)} is real is not clear from the names", hint=hint)
    real = real or named[0]
    other = "fake" if real != "fake" and parse_real_fake(real) == "real" else f"not {real}"
    names = np.array(table.classes, dtype=object)[table.labels]
    source = np.where(names == real, _COMMON, names)
    frame = table.frame.assign(label=(names != real).astype(np.int64), source=source.astype(str))
    table = replace(table, frame=frame, classes=(real, other), positive=other)
    return _sourced(table, cluster, source, [name for name in dict.fromkeys(sorted(names)) if name != real])


def nested_subsets(prepared: Prepared, sizes: Sequence[float], seed: int) -> list[Prepared]:
    """The training part cut down, each size within the next, beside all of validation.

    Classes keep their shares; groups and identical files stay together; every class keeps one unit at least.

    Args:
        prepared: Split.
        sizes: Shares in (0, 1], or numbers of images above 1.
        seed: Same seed, same images.

    Raises:
        SplitError: A size that is not in the training part.
    """
    table, cluster = _inner(prepared)
    train = np.flatnonzero(table.frame["split"].to_numpy(dtype=object) == "train")
    valid = np.setdiff1d(np.arange(len(table)), train)
    units = _units(table, cluster)[train]
    found = []
    for size in sizes:
        share = size if size <= 1 else size / len(train)
        if not 0 < share <= 1:
            raise SplitError(f"size {size:g}: expected a share in 0 … 1, or a number of images up to {len(train):,}")
        rows = np.sort(np.concatenate([train[_some(units, table.labels[train], share, seed)], valid]))
        part = table.take(rows)
        found.append(Prepared(part, summarize_duplicates(part, cluster[rows])))
    return found


def _some(units: np.ndarray, labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Whole units of each class in a random order, until its share is reached: (M,) int64 positions."""
    generator, chosen = np.random.default_rng(seed), []
    first_of = dict(zip(*np.unique(units, return_index=True), strict=True))
    of_unit = np.array([labels[first_of[unit]] for unit in units])  # a unit counts for the class of its first row
    for label in np.unique(of_unit):
        rows = np.flatnonzero(of_unit == label)
        order = generator.permutation(np.unique(units[rows]))
        sizes = np.array([(units[rows] == unit).sum() for unit in order]) if len(order) < len(rows) else np.ones(len(order))
        count = max(1, int(np.searchsorted(np.cumsum(sizes), share * len(rows) - 1e-9)) + 1)
        chosen.append(rows[np.isin(units[rows], order[:count])])
    return np.concatenate(chosen)


def _inner(prepared: Prepared) -> tuple[ImageTable, np.ndarray]:
    """The rows of train and valid, with their clusters."""
    table, twins = prepared.table, prepared.twins
    if len(twins.cluster) != len(table):  # bad rows were left out since
        twins = find_duplicates(table)
    rows = np.flatnonzero(np.isin(table.frame["split"].to_numpy(dtype=object), ("train", "valid")))
    return table.take(rows), twins.cluster[rows]


def _sourced(table: ImageTable, cluster: np.ndarray, source: np.ndarray, names: Sequence[str]) -> SourceTable:
    if len(names) < 2:
        found = f"only one, {names[0]!r}" if names else "none"
        raise DataError(f"{table.name}: at least two sources are needed to leave one out; there is {found}")
    one_sided = frozenset(name for name in names if len(np.unique(table.labels[source == name])) == 1)
    return SourceTable(table, cluster, source, tuple(names), one_sided)


def _groups(table: ImageTable) -> np.ndarray | None:
    """(N,) object, None where a row has none."""
    if "group" not in table.frame:
        return None
    groups = table.frame["group"].astype(object)
    return groups.where(groups.notna() & (groups != ""), None).to_numpy(dtype=object)


def _touches(table: ImageTable, cluster: np.ndarray, learn: np.ndarray) -> np.ndarray:
    """Rows that are the same file as, or of one group with, a row of `learn`: (N,) bool."""
    found, groups = np.isin(cluster, cluster[learn]), _groups(table)
    if groups is not None:
        found |= np.isin(groups.astype(str), [g for g in groups[learn] if g is not None]) & (groups != None)  # noqa: E711
    return found


def _units(table: ImageTable, cluster: np.ndarray) -> np.ndarray:
    """What stays together: groups where there are any, else identical files. (N,) int64."""
    groups = _groups(table)
    if groups is None:
        return cluster
    names = [f"file {c}" if g is None else f"group {g}" for g, c in zip(groups, cluster, strict=True)]
    return pd.factorize(np.array(names, dtype=object))[0].astype(np.int64)
