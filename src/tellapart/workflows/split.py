"""The command `split`: make train, validation and test splits that keep duplicates and groups together.

An image that cannot be decoded is in no split, since it cannot be compared with the others; it is named. The splitting is done
by `data.split`; this module finds the images that must stay together, and writes the result.
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
from tellapart.data.left_out import LeftOut, left_out
from tellapart.data.locator import parse_locator
from tellapart.data.split import SHARES, split, summarize_duplicates
from tellapart.errors import DataError, SplitError
from tellapart.progress import SILENT, Progress
from tellapart.types import ImageTable

#: Prefix of the group name of near-duplicates that belong to no named group.
DUPLICATES = "twins-"


@dataclass(frozen=True, eq=False)
class SplitResult:
    """A split table, and counts of the images that were kept together.

    Attributes:
        table: With the column `split`; with the column `group`, if any images were kept together. Images that cannot be
            decoded are left out, each named in `table.problems`.
        exact: Number of images with an exact duplicate.
        near: Number of pairs of near-duplicates; None if they were not searched for.
        groups: Number of groups of two or more images that were kept together.
        largest: Number of images in the largest group.
    """

    table: ImageTable
    exact: int
    near: int | None
    groups: int
    largest: int

    @property
    def left_out(self) -> LeftOut:
        """What is in no split: files that could not be used, and images that cannot be decoded."""
        return left_out(self.table)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        counts = {str(name): {str(k): int(v) for k, v in of.items()} for name, of in self.table.counts().iterrows()}
        return {
            "images": len(self.table), "counts": counts, "exact_duplicates": self.exact, "near_duplicate_pairs": self.near,
            "kept_together": self.groups, "largest": self.largest, "left_out": self.left_out.to_dict(),
            "problems": [dict(vars(problem)) for problem in self.table.problems],
        }  # fmt: skip


def split_dataset(
    table: ImageTable, *, near_duplicates: bool = True, embedding: str | None = None, runs: Path = Path("runs"),
    shares: dict[str, float] = SHARES, seed: int = 0, overwrite: bool = False, progress: Progress = SILENT,
) -> SplitResult:  # fmt: skip
    """Split a table and keep groups and duplicates together.

    Args:
        table: Labeled images; images with equal values in the column `group` stay together.
        near_duplicates: Whether to keep near-duplicates together; exact duplicates always stay together.
        embedding: A finished run whose embedding helps to find near-duplicates, as the option of the check; None: no run.
        runs: Folder of the runs.
        shares: Relative sizes of train, valid and test.
        seed: Random seed for the split.
        overwrite: Whether to ignore a split that the data have; otherwise it is kept, and only missing splits are made.
        progress: Progress display.

    Raises:
        RunError: There is no such run, or it has no embedding.
        DataError: The run cannot read the images.
        SplitError: A class is too small, or the given split separates images that belong together.
    """
    if overwrite and "split" in table.frame:
        table = replace(table, frame=table.frame.drop(columns="split"))
    view = DatasetView(table, seed, progress, traces=False, runs=runs)
    cluster, near = exact_duplicates(view), None
    exact = int((np.bincount(cluster)[cluster] > 1)[view.readable].sum())
    if near_duplicates:
        pairs, _ = find_near_duplicates(view, NearDuplicates.Options(embedding=embedding))
        cluster, near = connect_pairs(len(table), np.concatenate([star_pairs(cluster), pairs.rows])), len(pairs)
    bad = np.flatnonzero(~view.readable)
    cluster = cluster[view.readable]
    table = table.without(bad, table.with_classes(bad, [view.unreadable[row] for row in bad.tolist()]))
    if near_duplicates:
        _check_given_split(table, cluster)
    names = _group_names(table, cluster)
    if (names != "").any():
        table = replace(table, frame=table.frame.assign(group=names))
    sizes = pd.Series(names[names != ""]).value_counts()
    done = split(table, seed=seed, shares=shares, twins=summarize_duplicates(table, cluster))
    several = sizes[sizes > 1]
    return SplitResult(done, exact, near, len(several), int(several.max()) if len(several) else 1)


def write_split(result: SplitResult) -> pd.DataFrame:
    """The table in a form that every command reads as DATA: path, label (class name), group, split, and the user's columns.

    Raises:
        DataError: The images have no file names: they are rows of IDX or parquet files, or in memory.
    """
    table = result.table
    places = [parse_locator(str(path)) for path in table.paths]
    if any(place.row is not None for place in places):
        raise DataError(
            f"{table.name}: the images are rows of one file, which a CSV cannot reference",
            hint="unpack them to image files, or split in Python: tellapart.split(table)",
        )
    frame = table.frame
    columns: dict[str, Any] = {"path": [place.file for place in places]}
    columns["label"] = [table.classes[label] if label >= 0 else "" for label in table.labels.tolist()]
    kept = [name for name in frame if name not in ("id", "path", "label", "size", "digest", "group", "split")]
    columns |= {name: frame[name] for name in [*(["group"] if "group" in frame else []), "split", *kept]}
    return pd.DataFrame(columns)


def images_location(table: ImageTable) -> Path:
    """The value of `--images` for the CSV of a split: the folder or archive that contains the images."""
    archive = parse_locator(str(table.paths[0])).archive if len(table) else ""
    return Path(table.root) / archive


def _group_names(table: ImageTable, cluster: np.ndarray) -> np.ndarray:
    """Group names: the given name, or `twins-17` for duplicates without one; "" for an image without a group. (N,) object."""
    has_groups = "group" in table.frame
    given = table.frame["group"].astype(str).to_numpy(dtype=object) if has_groups else np.full(len(table), "", object)
    known = np.flatnonzero(given != "")
    by_group = known[star_pairs(pd.factorize(given[known])[0])] if len(known) else np.zeros((0, 2), np.int64)
    unit = connect_pairs(len(table), np.concatenate([star_pairs(cluster), by_group]))
    size = np.bincount(unit)[unit]
    names: dict[int, str] = {}
    for row in known.tolist():
        names.setdefault(int(unit[row]), str(given[row]))
    number = {u: n for n, u in enumerate(dict.fromkeys(unit[size > 1].tolist()))}
    return np.array([names.get(u) or (f"{DUPLICATES}{number[u]}" if u in number else "") for u in unit.tolist()], dtype=object)


def _check_given_split(table: ImageTable, cluster: np.ndarray) -> None:
    """Raise an error if the given split separates duplicates."""
    rows = star_pairs(cluster)
    across = pairs_across_splits(table, rows)[0] if len(rows) else np.zeros(0, bool)
    if across.any():
        one, other = (table.ids[row] for row in rows[across][0])
        raise SplitError(
            f"the given split separates duplicates: {int(across.sum()):,} images, for example {one!r} and {other!r}",
            hint="pass --overwrite to split all images again, or drop the duplicates: `tellapart check DATA --fix-list FILE`, "
            "then --reviewed FILE",
        )
