"""Who is trained on, who chooses, who judges: train, valid, test.

Parts that are given are kept. Parts that are missing are cut from train, in the proportion 70 : 10 : 20 of the parts that
are there afterwards: with a given test part, 1/8 of train becomes valid. Cutting is stratified by class, seeded, and never
separates what belongs together: rows of one `group`, and files that are byte for byte the same.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tellapart.data.archives import ImageReader
from tellapart.errors import ImageError, SplitError
from tellapart.progress import SILENT, Progress
from tellapart.types import SPLITS, ImageTable

SHARES = {"train": 0.7, "valid": 0.1, "test": 0.2}


@dataclass(frozen=True)
class Twins:
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


def split(table: ImageTable, *, seed: int = 0, shares: dict[str, float] = SHARES, twins: Twins | None = None) -> ImageTable:
    """Give every labelled row a part. Unlabelled rows get "".

    Args:
        table: Labelled images; a `split` column is kept where it is filled, a `group` column is respected.
        seed: Same seed, same split.
        shares: Sizes of train, valid and test, relative to each other.
        twins: `find_twins(table)`, if it is known already.

    Raises:
        SplitError: A class is too small for the parts, a group stands in two given parts, or there is nothing to train on.
    """
    given = table.frame["split"].to_numpy(dtype=object) if "split" in table.frame else np.full(len(table), "", dtype=object)
    labelled = table.labels >= 0
    parts = np.where(labelled, given, "").astype(object)
    present = [name for name in SPLITS if (parts == name).any()]
    if present and "train" not in present and not (labelled & (parts == "")).any():
        raise SplitError(
            f"there is a {' and a '.join(present)} part, but nothing to train on", hint="label some images as train"
        )
    open_rows = np.flatnonzero(labelled & ((parts == "") | (parts == "train")))
    missing = [name for name in ("valid", "test") if name not in present]
    units = _units(table, twins or find_twins(table))
    parts[open_rows] = "train"
    if missing:
        total = sum(shares[name] for name in ("train", *missing))
        wanted = {name: shares[name] / total for name in missing}
        parts[open_rows] = _cut(units[open_rows], table.labels[open_rows], wanted, seed)
    _check_classes(table, parts, units, ["train", *missing])
    _check_groups(table, parts)
    return table.with_split(parts.astype(str))


def find_twins(table: ImageTable, progress: Progress = SILENT) -> Twins:
    """Find byte-identical images; only images of equal size are read, none is decoded. Those that cannot be read have no
    twin: decoding names them."""
    sizes = table.frame["size"].to_numpy()
    _, inverse, counts = np.unique(sizes, return_inverse=True, return_counts=True)
    suspects = np.flatnonzero(counts[inverse] > 1)
    keys = np.arange(len(table), dtype=object)
    with ImageReader(table) as reader, progress.task("looking for byte-identical images", len(suspects), "img") as task:
        paths = table.paths
        for row in suspects:
            with contextlib.suppress(ImageError):
                content = reader.get(paths[row])
                raw = content if isinstance(content, bytes) else content.tobytes()
                keys[row] = hashlib.blake2b(raw, digest_size=16).digest()
            task.advance()
    cluster = pd.factorize(keys)[0].astype(np.int64)
    return describe_twins(table, cluster)


def describe_twins(table: ImageTable, cluster: np.ndarray) -> Twins:
    """Count byte-identical images across splits and classes. `cluster`: (N,) int64, equal for equal bytes."""
    order = {name: rank for rank, name in enumerate(SPLITS)}
    parts = table.frame["split"].map(order).fillna(-1).to_numpy(dtype=int) if "split" in table.frame else -1
    frame = pd.DataFrame({"cluster": cluster, "label": table.labels, "part": parts})
    frame = frame[frame["cluster"].map(frame["cluster"].value_counts()) > 1]
    grouped = frame.groupby("cluster")
    known = frame["part"] >= 0
    first = frame["part"].where(known).groupby(frame["cluster"]).transform("min")
    across_splits = frame.index[known & (frame["part"] > first)]
    across_classes = frame.index[grouped["label"].transform("nunique") > 1]
    ids = table.ids
    examples = []
    for row in [*across_splits[:3], *across_classes[:3], *frame.index[:2]]:
        other = next(r for r in grouped.groups[cluster[row]] if r != row)
        examples.append((str(ids[other]), str(ids[row])))
    return Twins(cluster, len(frame), len(across_splits), len(across_classes), tuple(dict.fromkeys(examples)))


def _units(table: ImageTable, twins: Twins) -> np.ndarray:
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

    A unit belongs to the class that most of its rows have, the first of equals. Every part gets its share of every class, rounded, and at least
    one unit where the class has enough of them. Large units go first, so that small ones can even out the sizes.
    """
    frame = pd.DataFrame({"unit": units, "label": labels})
    counts = frame.value_counts().reset_index().sort_values(["count", "label"], ascending=[False, True])
    label_of = counts.drop_duplicates("unit").set_index("unit")["label"].sort_index()
    size_of = frame.groupby("unit").size()
    generator = np.random.default_rng(seed)
    place = {}
    for label in sorted(label_of.unique()):
        members = label_of.index[label_of == label].to_numpy()
        members = generator.permutation(members)
        members = members[np.argsort(-size_of[members].to_numpy(), kind="stable")]
        place |= _deal(members, size_of, wanted)
    return np.array([place[unit] for unit in units], dtype=object)


def _deal(members: np.ndarray, size_of: pd.Series, wanted: dict[str, float]) -> dict[int, str]:
    """Units of one class, largest first, each to the part that lacks most of its share among those it fits into, or else
    to the part that lacks most images. The last units go to parts that have none yet."""
    sizes = size_of[members].to_numpy()
    total = int(sizes.sum())
    cut = {name: max(round(share * total), 1) for name, share in wanted.items()}
    lack = {"train": max(total - sum(cut.values()), 1), **cut}  # the first of equals: with one unit, there is something to learn
    shares = dict(lack)
    empty = set(lack)
    place = {}
    for left, unit, size in zip(range(len(members), 0, -1), members, sizes, strict=True):
        open_parts = lack if left > len(empty) else [part for part in lack if part in empty]
        fitting = [part for part in open_parts if lack[part] >= size]
        if fitting:
            name = max(fitting, key=lambda part: lack[part] / shares[part])
        else:
            name = max(open_parts or lack, key=lack.__getitem__)
        lack[name] -= size
        empty.discard(name)
        place[unit] = name
    return place


def _check_classes(table: ImageTable, parts: np.ndarray, units: np.ndarray, ours: list[str]) -> None:
    """Every class stands in train and in the parts that we cut; a given part may lack one."""
    counts = pd.crosstab(table.labels, parts).reindex(index=range(len(table.classes)), columns=SPLITS, fill_value=0)
    lacking = np.flatnonzero((counts[ours] == 0).any(axis=1).to_numpy())
    if not len(lacking):
        return
    name, mine = table.classes[lacking[0]], table.labels == lacking[0]
    found = f"{mine.sum():,} image{'s' if mine.sum() != 1 else ''}"
    if (together := len(np.unique(units[mine]))) < mine.sum():
        found += f" in {together:,} group{'s' if together > 1 else ''} of what must stay together"
    there = ", ".join(f"{part} {counts.loc[lacking[0], part]:,}" for part in SPLITS)
    raise SplitError(
        f"the class {name!r} is too small to be split: {found} ({there}), but it needs at least one in {', '.join(ours)}",
        hint="add images of it, leave the class out, or give a split of your own (a `split` column)",
    )


def _check_groups(table: ImageTable, parts: np.ndarray) -> None:
    """No group stands in two parts: where one does, the given split tore it."""
    numbers = _groups(table)
    if numbers is None:
        return
    frame = pd.DataFrame({"group": numbers, "part": parts})[(numbers >= 0) & (parts != "")].drop_duplicates()
    torn = frame["group"].value_counts()
    torn = torn.index[torn > 1]
    if len(torn):
        first = int(torn.min())
        name = table.frame["group"].iloc[np.flatnonzero(numbers == first)[0]]
        where = " and ".join(part for part in SPLITS if part in set(frame.loc[frame["group"] == first, "part"]))
        count = f"{len(torn):,} groups are" if len(torn) > 1 else "1 group is"
        raise SplitError(
            f"the group {name!r} stands in {where}: {count} torn by the given split",
            hint="mend the split column, or leave the group column out",
        )
