"""The plan of a synthetic data set: which images are forged and how, drawn at random before any image is decoded.

The plan is written to provenance.csv. An image is real or fake, never both. Within a split and, as far as possible, within a
group every second image is forged, and the kinds of forgery alternate. A donor is another image of the same split, so that no
split contains pixels of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tellapart.data.split import DuplicateGroups, find_duplicates, split
from tellapart.errors import DataError
from tellapart.progress import SILENT, Progress
from tellapart.types import ImageTable

#: Fewer images cannot be divided into three splits with both classes in each.
LEAST = 20
REAL = "none"


@dataclass(frozen=True)
class PlannedImage:
    """One image to write; one row of provenance.csv.

    Attributes:
        name: File name without extension.
        row: Row in the table of real images.
        part: The split: train, valid or test.
        kind: The forgery, or "none".
        donor: Row of the donor image; −1 if none is needed.
        group: Group that must stay in one split; "" for none.
    """

    name: str
    row: int
    part: str
    kind: str
    donor: int
    group: str


def plan_forgeries(
    reals: ImageTable, kinds: Sequence[str], donors: frozenset[str], seed: int, progress: Progress = SILENT
) -> list[PlannedImage]:
    """Plan the images of a synthetic data set.

    Args:
        reals: Real images; a given split is kept, groups and identical files stay together.
        kinds: Names of forgeries, at least one.
        donors: Names of those that need a donor.
        seed: Random seed of the plan.
        progress: Progress display.

    Raises:
        DataError: Too few images.
        SplitError: The images cannot be split.
    """
    if len(reals) < LEAST:
        hint = "half of them stay real, in each of three splits"
        raise DataError(f"expected at least {LEAST} real images, found {len(reals)}", hint=hint)
    rng, twins = np.random.default_rng([seed, 1]), find_duplicates(reals, progress)
    table = split(reals, seed=seed, twins=twins)
    parts, groups = table.frame["split"].to_numpy(dtype=object), _groups(table, twins)
    width = len(str(len(table) - 1))
    found: list[PlannedImage] = []
    for part in dict.fromkeys(parts):
        rows = rng.permutation(np.flatnonzero(parts == part))
        rows = rows[np.argsort(groups[rows], kind="stable")]
        forged = (np.arange(len(rows)) + rng.integers(2)) % 2 == 1
        turns = _turns(kinds, int(forged.sum()), rng)
        for row, is_forged in zip(rows.tolist(), forged, strict=True):
            kind = turns.pop() if is_forged else REAL
            donor = _donor(row, rows, groups, rng) if kind in donors else -1
            found.append(PlannedImage(f"{row:0{width}}", row, str(part), kind, donor, str(groups[row])))
    return sorted(found, key=lambda one: one.row)


def _groups(table: ImageTable, twins: DuplicateGroups) -> np.ndarray:
    """Group names: the given group, or one for byte-identical images; "" for images without a group. (N,) object."""
    if "group" in table.frame:
        return table.frame["group"].fillna("").astype(str).to_numpy(dtype=object)
    many = pd.Series(twins.cluster).duplicated(keep=False).to_numpy()
    return np.where(many, "same-" + twins.cluster.astype(str).astype(object), "")


def _turns(kinds: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """`count` names in random order, each kind equally often up to the remainder."""
    rounds = [kind for _ in range(-(-count // len(kinds))) for kind in rng.permutation(kinds)]
    return [str(kind) for kind in rng.permutation(rounds[:count])]


def _donor(row: int, rows: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> int:
    """Draw another image of the split, from another group if possible."""
    others = rows[rows != row]
    elsewhere = others[groups[others] != groups[row]] if groups[row] else others
    return int(rng.choice(elsewhere if len(elsewhere) else others))
