"""Who is trained on, who chooses, who judges: train, valid, test.

Parts that are given are kept. Parts that are missing are cut from train, in the proportion 70 : 10 : 20 of the parts that
are there afterwards: with a given test part, 1/8 of train becomes valid. Cutting is stratified by class, seeded, and never
separates what belongs together: rows of one `group`, and files that are byte for byte the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tellapart.data.identity import identify
from tellapart.errors import SplitError
from tellapart.progress import SILENT, Progress
from tellapart.types import SPLITS, ImageTable

SHARES = {"train": 0.7, "valid": 0.1, "test": 0.2}


@dataclass(frozen=True)
class DuplicateGroups:
    """Byte-identical images of a table.

    Attributes:
        cluster: (N,) int64: rows with equal numbers have equal bytes.
        images: How many rows have at least one twin.
        across_splits: Rows of valid or test with a twin in an earlier part (train before valid before test).
        across_classes: Rows whose twins bear another label.
        examples: A few pairs of ids, across splits or classes first.
    """

    cluster: np.ndarray
    images: int
    across_splits: int
    across_classes: int
    examples: tuple[tuple[str, str], ...]


def split(
    table: ImageTable, *, seed: int = 0, shares: dict[str, float] = SHARES, twins: DuplicateGroups | None = None
) -> ImageTable:
    """Assign every labeled row to a split. Unlabeled rows get "".

    Args:
        table: Labeled images; a `split` column is kept where it is filled, a `group` column is respected.
        seed: Same seed, same split.
        shares: Sizes of train, valid and test, relative to each other.
        twins: `find_duplicates(table)`, if it is known already.

    Raises:
        SplitError: A class is too small for the splits, a group is in two given splits, or there is nothing to train on.
    """
    given = table.frame["split"].to_numpy(dtype=object) if "split" in table.frame else np.full(len(table), "", dtype=object)
    labeled = table.labels >= 0
    parts = np.where(labeled, given, "").astype(object)
    present = [name for name in SPLITS if (parts == name).any()]
    if present and "train" not in present and not (labeled & (parts == "")).any():
        raise SplitError(
            f"there is a {' and a '.join(present)} split, but nothing to train on", hint="label some images as train"
        )
    open_rows = np.flatnonzero(labeled & ((parts == "") | (parts == "train")))
    missing = [name for name in ("valid", "test") if name not in present]
    units = _units(table, twins or find_duplicates(table))
    parts[open_rows] = "train"
    if missing:
        total = sum(shares[name] for name in ("train", *missing))
        wanted = {name: shares[name] / total for name in missing}
        parts[open_rows] = _cut(units[open_rows], table.labels[open_rows], wanted, seed)
    _check_classes(table, parts, units, ["train", *missing])
    table = table.with_split(parts.astype(str))
    _check_groups(table)
    return table


def folds(table: ImageTable, count: int, *, seed: int = 0, twins: DuplicateGroups | None = None) -> np.ndarray:
    """Deal the rows of train and valid out to folds of equal size, stratified by class, groups and identical files together.

    Args:
        table: Split; rows of test and unlabeled rows belong to no fold.
        count: How many folds, at least two.
        seed: Same seed, same folds.
        twins: `find_duplicates(table)`, if it is known already.

    Returns:
        (N,) int64: the fold of each row, −1 for none.

    Raises:
        SplitError: A class is too small to be in two folds.
    """
    parts = table.frame["split"].to_numpy(dtype=object)
    rows = np.flatnonzero((parts == "train") | (parts == "valid"))
    units = _units(table, twins or find_duplicates(table))[rows]
    found = np.full(len(table), -1, dtype=np.int64)
    found[rows] = _deal_folds(units, table.labels[rows], count, seed)
    for label, name in enumerate(table.classes):
        in_folds = len(np.unique(found[rows][table.labels[rows] == label]))
        if in_folds < 2:
            raise SplitError(
                f"the class {name!r} occurs in {in_folds} of {count} folds: every class must occur in at least two",
                hint="add images of it, or leave the class out",
            )
    return found


def carve_validation(table: ImageTable, *, share: float, seed: int = 0, twins: DuplicateGroups | None = None) -> ImageTable:
    """All rows in train but a validation part of about `share`, as `split` cuts one."""
    parts = _cut(_units(table, twins or find_duplicates(table)), table.labels, {"valid": share}, seed)
    return table.with_split(parts.astype(str))


def find_duplicates(table: ImageTable, progress: Progress = SILENT) -> DuplicateGroups:
    """Find byte-identical images, by their digests; none is decoded. Those that cannot be read have no duplicate: decoding
    names them."""
    digests = identify(table, progress).digests
    keys = np.where(digests == "", np.arange(len(table), dtype=object), digests)
    return summarize_duplicates(table, pd.factorize(keys)[0].astype(np.int64))


def summarize_duplicates(table: ImageTable, cluster: np.ndarray) -> DuplicateGroups:
    """Count byte-identical images across splits and classes. `cluster`: (N,) int64 from 0, equal for equal bytes."""
    ranks, labels, ids = _ranks(table), table.labels, table.ids
    many = np.bincount(cluster)[cluster] > 1
    first_part, _ = _extremes(cluster, ranks)
    lowest, highest = _extremes(cluster, labels)
    later = np.flatnonzero(many & (ranks > first_part[cluster]))
    mixed = np.flatnonzero(many & (labels >= 0) & (lowest != highest)[cluster])
    examples = []
    for row in [*later[:3], *mixed[:3], *np.flatnonzero(many)[:2]]:
        other = next(r for r in np.flatnonzero(cluster == cluster[row]) if r != row)
        examples.append((str(ids[other]), str(ids[row])))
    return DuplicateGroups(cluster, int(many.sum()), len(later), len(mixed), tuple(dict.fromkeys(examples)))


def _ranks(table: ImageTable) -> np.ndarray:
    """Parts as numbers, 0 train, 1 valid, 2 test, −1 none: (N,) int64."""
    if "split" not in table.frame:
        return np.full(len(table), -1)
    return pd.Index(SPLITS, dtype=object).get_indexer(pd.Index(table.frame["split"].to_numpy(dtype=object))).astype(np.int64)


def _extremes(number: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest of the values ≥ 0 that bear each number; number and values: (N,) int64."""
    size, known = int(number.max(initial=-1)) + 1, (values >= 0) & (number >= 0)
    low, high = np.full(size, np.iinfo(np.int64).max), np.full(size, -1)
    np.minimum.at(low, number[known], values[known])
    np.maximum.at(high, number[known], values[known])
    return low, high


def _units(table: ImageTable, twins: DuplicateGroups) -> np.ndarray:
    """What must stay together, as numbers: connected components over groups and twins. (N,) int64."""
    groups = _groups(table)
    if groups is None:
        return twins.cluster
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    groups = np.where(groups < 0, groups.max() + 1 + np.arange(len(groups)), groups)  # no group: a group of its own
    offset = groups.max() + 1
    size = offset + twins.cluster.max() + 1
    edges = coo_array((np.ones(len(table)), (groups, offset + twins.cluster)), shape=(size, size))
    return connected_components(edges, directed=False)[1][groups].astype(np.int64)


def _groups(table: ImageTable) -> np.ndarray | None:
    """Numbers of groups, −1 where the cell is empty: (N,) int64; None without a column."""
    if "group" not in table.frame:
        return None
    names = table.frame["group"].astype(object)
    return pd.factorize(names.where(names != ""))[0]


def _cut(units: np.ndarray, labels: np.ndarray, wanted: dict[str, float], seed: int) -> np.ndarray:
    """Deal whole units out to train and the wanted parts, class by class. (N,) object.

    A unit belongs to the class that most of its rows have, the first of equals. Every part gets its share of every class,
    rounded, and at least one unit where the class has enough of them. Large units go first, so that small ones can even out
    the sizes.
    """
    names, unit = np.unique(units, return_inverse=True)
    size = np.bincount(unit)
    label_of = _majority(unit, labels)
    generator = np.random.default_rng(seed)
    place = np.empty(len(names), dtype=object)
    for label in np.unique(label_of):
        members = generator.permutation(np.flatnonzero(label_of == label))
        members = members[np.argsort(-size[members], kind="stable")]
        place[members] = _deal(size[members], wanted)
    return place[unit]


def _deal_folds(units: np.ndarray, labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The fold of each row: whole units, class by class, the largest first, to the fold that has fewest of the class."""
    names, unit = np.unique(units, return_inverse=True)
    size, label_of = np.bincount(unit), _majority(unit, labels)
    generator = np.random.default_rng(seed)
    place, total = np.empty(len(names), dtype=np.int64), np.zeros(count, dtype=np.int64)
    for label in np.unique(label_of):
        members = generator.permutation(np.flatnonzero(label_of == label))
        here = np.zeros(count, dtype=np.int64)
        for one in members[np.argsort(-size[members], kind="stable")]:
            fold = np.lexsort((total, here))[0]
            place[one] = fold
            here[fold] += size[one]
            total[fold] += size[one]
    return place[unit]


def _majority(unit: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The label that most rows of each unit bear. unit, labels: (N,) int64; gives (units,) int64."""
    span = int(labels.max()) + 1
    pairs, count = np.unique(unit * span + labels, return_counts=True)
    owner, label = np.divmod(pairs, span)
    order = np.lexsort((label, -count, owner))
    return label[order[np.unique(owner[order], return_index=True)[1]]]


def _deal(sizes: np.ndarray, wanted: dict[str, float]) -> list[str]:
    """The part of each unit of one class, the largest first: the part that lacks most of its share among those into which
    the unit fits, or else the one that lacks most images. The last units go to parts that have none yet."""
    total = int(sizes.sum())
    cut = {name: max(round(share * total), 1) for name, share in wanted.items()}
    lack = {"train": max(total - sum(cut.values()), 1), **cut}  # of equals the first: a lone unit is there to learn from
    shares, empty, parts = dict(lack), set(lack), []
    for left, size in zip(range(len(sizes), 0, -1), sizes.tolist(), strict=True):
        allowed = [name for name in lack if left > len(empty) or name in empty]
        fitting = [name for name in allowed if lack[name] >= size]
        part = max(fitting, key=lambda name: lack[name] / shares[name]) if fitting else max(allowed, key=lack.__getitem__)
        lack[part] -= size
        empty.discard(part)
        parts.append(part)
    return parts


def _check_classes(table: ImageTable, parts: np.ndarray, units: np.ndarray, ours: list[str]) -> None:
    """Check that every class occurs in train and in the splits made here; a given split may lack one."""
    labels = table.labels
    counts = {part: np.bincount(labels[parts == part], minlength=len(table.classes)) for part in SPLITS}
    lacking = np.flatnonzero(np.min([counts[part] for part in ours], axis=0) == 0)
    if not len(lacking):
        return
    first = lacking[0]
    mine = units[labels == first]
    found = f"{len(mine):,} image{'s' if len(mine) != 1 else ''}"
    if (together := len(np.unique(mine))) < len(mine):
        found += f" in {together:,} group{'s' if together > 1 else ''} that must stay together"
    there = ", ".join(f"{part} {counts[part][first]:,}" for part in SPLITS)
    raise SplitError(
        f"the class {table.classes[first]!r} is too small to be split: {found} ({there}), but it needs at least one in "
        f"{', '.join(ours)}",
        hint="add images of it, leave the class out, or give a split of your own (a `split` column)",
    )


def _check_groups(table: ImageTable) -> None:
    """Check that no group is in two splits; only a given split can divide one."""
    groups = _groups(table)
    if groups is None:
        return
    first, last = _extremes(groups, _ranks(table))
    torn = np.flatnonzero(first < last)
    if len(torn):
        name = table.frame["group"].iloc[np.flatnonzero(groups == torn[0])[0]]
        sides = f"{SPLITS[first[torn[0]]]} and {SPLITS[last[torn[0]]]}"
        count = f"{len(torn):,} groups are" if len(torn) > 1 else "1 group is"
        raise SplitError(
            f"the group {name!r} is in {sides}: {count} divided by the given split",
            hint="fix the split column, or remove the group column",
        )
