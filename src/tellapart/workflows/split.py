"""The verb `split`: train, valid and test so that what shows the same picture, or belongs to one group, stays on one side.

The cutting is that of `data.split`; here is only found what must stay together, and written down what came of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tellapart.checks._dataset_view import DatasetView
from tellapart.checks._pairs import connect_pairs, pairs_across_splits
from tellapart.checks.duplicates import exact_duplicates, star_pairs
from tellapart.checks.near_duplicates import NearDuplicates, find_near_duplicates
from tellapart.data.reader import parse_locator
from tellapart.data.split import SHARES, split, summarize_duplicates
from tellapart.errors import DataError, SplitError
from tellapart.progress import SILENT, Progress
from tellapart.types import ImageTable

#: The name of what hangs together by twins and belongs to no named group.
TWINS = "twins-"


@dataclass(frozen=True, eq=False)
class SplitResult:
    """A split, and what it kept together.

    Attributes:
        table: With `split`; with `group`, where anything was kept together.
        exact: Images with an exact copy.
        near: Pairs of near-duplicates; None where they were not looked for.
        groups: Sets of two or more images that were kept together.
        largest: Images of the largest such set.
    """

    table: ImageTable
    exact: int
    near: int | None
    groups: int
    largest: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        counts = {str(name): {str(k): int(v) for k, v in of.items()} for name, of in self.table.counts().iterrows()}
        return {
            "images": len(self.table), "counts": counts, "exact_copies": self.exact, "near_duplicate_pairs": self.near,
            "kept_together": self.groups, "largest": self.largest,
        }  # fmt: skip


def split_dataset(
    table: ImageTable, *, by_twins: bool = True, embedding: str | None = None, runs: Path = Path("runs"),
    shares: dict[str, float] = SHARES, seed: int = 0, anew: bool = False, progress: Progress = SILENT,
) -> SplitResult:  # fmt: skip
    """Split a table.

    Args:
        table: Labeled images; equal values of a `group` column stay together.
        by_twins: Near-duplicates stay together, too; exact copies always do.
        embedding: A finished run that helps to find near-duplicates, as the option of the check; None: none.
        runs: Folder of the runs.
        shares: Sizes of train, valid and test, relative to each other.
        seed: Same seed, same split.
        anew: Forget a split that the data come with; else its parts are kept, and only missing ones are cut.
        progress: Where long work is reported.

    Raises:
        RunError: There is no such run, or it has no vectors of its own.
        DataError: The run cannot read the images.
        SplitError: A class is too small, or the given split tears what belongs together.
    """
    if anew and "split" in table.frame:
        table = replace(table, frame=table.frame.drop(columns="split"))
    view = DatasetView(table, seed, progress, traces=False, runs=runs)
    cluster, near = exact_duplicates(view), None
    exact = int((np.bincount(cluster)[cluster] > 1).sum())
    if by_twins:
        pairs, _ = find_near_duplicates(view, NearDuplicates.Options(embedding=embedding))
        cluster, near = connect_pairs(len(table), np.concatenate([star_pairs(cluster), pairs.rows])), len(pairs)
        _check_given_split(table, cluster)
    names = _group_names(table, cluster)
    if (names != "").any():
        table = replace(table, frame=table.frame.assign(group=names))
    sizes = pd.Series(names[names != ""]).value_counts()
    done = split(table, seed=seed, shares=shares, twins=summarize_duplicates(table, cluster))
    several = sizes[sizes > 1]
    return SplitResult(done, exact, near, len(several), int(several.max()) if len(several) else 1)


def write_split(cut: SplitResult) -> pd.DataFrame:
    """The table as a CSV that every command reads as DATA: path, label (the class), group, split, and the data's own columns.

    Raises:
        DataError: The images have no file names: rows of IDX or parquet files, or in memory.
    """
    table = cut.table
    places = [parse_locator(str(path)) for path in table.paths]
    if any(place.row is not None for place in places):
        raise DataError(
            f"{table.name}: its images are rows of a file, and a CSV cannot name them",
            hint="unpack them to image files, or split in Python: tellapart.split(table)",
        )
    frame = table.frame
    columns: dict[str, Any] = {"path": [place.file for place in places]}
    columns["label"] = [table.classes[label] if label >= 0 else "" for label in table.labels.tolist()]
    kept = [name for name in frame if name not in ("id", "path", "label", "size", "stamp", "group", "split")]
    columns |= {name: frame[name] for name in [*(["group"] if "group" in frame else []), "split", *kept]}
    return pd.DataFrame(columns)


def images_location(table: ImageTable) -> Path:
    """What `--images` must name for such a CSV: the folder or archive that holds the images."""
    archive = parse_locator(str(table.paths[0])).archive if len(table) else ""
    return Path(table.root) / archive


def _group_names(table: ImageTable, cluster: np.ndarray) -> np.ndarray:
    """Of what must stay together: the name of its group, else `twins-17`; "" for an image alone. (N,) object."""
    there = "group" in table.frame
    given = table.frame["group"].astype(str).to_numpy(dtype=object) if there else np.full(len(table), "", object)
    known = np.flatnonzero(given != "")
    by_group = known[star_pairs(pd.factorize(given[known])[0])] if len(known) else np.zeros((0, 2), np.int64)
    unit = connect_pairs(len(table), np.concatenate([star_pairs(cluster), by_group]))
    size = np.bincount(unit)[unit]
    names: dict[int, str] = {}
    for row in known.tolist():
        names.setdefault(int(unit[row]), str(given[row]))
    number = {u: n for n, u in enumerate(dict.fromkeys(unit[size > 1].tolist()))}
    return np.array([names.get(u) or (f"{TWINS}{number[u]}" if u in number else "") for u in unit.tolist()], dtype=object)


def _check_given_split(table: ImageTable, cluster: np.ndarray) -> None:
    """Twins on both sides of the given split cannot be kept together."""
    rows = star_pairs(cluster)
    across = pairs_across_splits(table, rows)[0] if len(rows) else np.zeros(0, bool)
    if across.any():
        one, other = (table.ids[row] for row in rows[across][0])
        raise SplitError(
            f"the given split puts the same picture on two sides: {int(across.sum()):,} images, for example "
            f"{one!r} and {other!r}",
            hint="--anew cuts again from all images; or drop them: `tellapart check DATA --fix-list FILE`, --reviewed FILE",
        )
