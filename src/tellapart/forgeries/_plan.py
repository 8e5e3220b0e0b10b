"""What becomes of which picture, decided by lot before any is decoded, and put down in provenance.csv.

A picture is real or fake, never both. Within a part and, as far as it goes, within a group every second picture is forged, and
the kinds of forgery take turns. A donor is another picture of the same part, so that no part sees another one's pixels.
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

#: Fewer pictures cannot be divided into three parts with both classes in each.
LEAST = 20
REAL = "none"


@dataclass(frozen=True)
class PlannedImage:
    """One picture to be written; one row of provenance.csv.

    Attributes:
        name: Of the file, without its ending.
        row: Of the table of real pictures.
        part: train, valid or test.
        kind: The forgery, or "none".
        donor: Row of the picture that a region may come from; −1: none is needed.
        group: What must stay in one part; "" for none.
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
    """Decide.

    Args:
        reals: Real pictures; a split that is given is kept, groups and identical files stay together.
        kinds: Names of forgeries, at least one.
        donors: Those of them that need one.
        seed: Same seed, same plan.
        progress: Where long work is reported.

    Raises:
        DataError: Too few pictures.
        SplitError: They cannot be divided.
    """
    if len(reals) < LEAST:
        hint = "half of them stay real, in each of three parts"
        raise DataError(f"{len(reals)} pictures: at least {LEAST} real ones are needed", hint=hint)
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
    """(N,) object: the group that a table names, else one of byte-identical pictures; "" for one that stands alone."""
    if "group" in table.frame:
        return table.frame["group"].fillna("").astype(str).to_numpy(dtype=object)
    many = pd.Series(twins.cluster).duplicated(keep=False).to_numpy()
    return np.where(many, "same-" + twins.cluster.astype(str).astype(object), "")


def _turns(kinds: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """`count` names, each kind equally often but for the rest, in random order."""
    rounds = [kind for _ in range(-(-count // len(kinds))) for kind in rng.permutation(kinds)]
    return [str(kind) for kind in rng.permutation(rounds[:count])]


def _donor(row: int, rows: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> int:
    """Another picture of the part, of another group where there is one."""
    others = rows[rows != row]
    elsewhere = others[groups[others] != groups[row]] if groups[row] else others
    return int(rng.choice(elsewhere if len(elsewhere) else others))
