"""Which images are independent of each other: those of one group, and those with the same content, are not."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tellapart.types import ImageTable


def independent_groups(table: ImageTable, content: np.ndarray) -> np.ndarray:
    """Numbers of units, equal for images that belong together: (N,) int64 in 0 … U−1.

    Args:
        table: With a `group` column or not; an empty cell is a unit of its own.
        content: (N,) or (N, D), equal rows for images with the same content.
    """
    frame = pd.DataFrame(content)
    keys: np.ndarray = frame.groupby(list(frame.columns), sort=False).ngroup().to_numpy()
    if "group" not in table.frame:
        return keys.astype(np.int64)
    names = table.frame["group"].astype(object)
    codes = pd.factorize(names.where(names != ""))[0]
    return _joined(keys, np.where(codes < 0, codes.max(initial=-1) + 1 + np.arange(len(codes)), codes))


def _joined(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """What hangs together by either numbering. a, b: (N,) int64, from 0."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    offset = int(a.max(initial=-1)) + 1
    size = offset + int(b.max(initial=-1)) + 1
    edges = coo_array((np.ones(len(a)), (a, offset + b)), shape=(size, size))
    return connected_components(edges, directed=False)[1][a].astype(np.int64)
