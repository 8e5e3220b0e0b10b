"""Estimate the quality setting of a JPEG from its luma table: the quality whose standard table is equal, else the nearest.

Source: ITU-T T.81 (1992), Annex K (the example table), scaled as the Independent JPEG Group's software does.
"""

from __future__ import annotations

from functools import cache

import numpy as np

_ANNEX_K = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80,
    62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98,
    112, 100, 103, 99,
)  # fmt: skip


def estimate_quality(luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quality 1 … 100 of each table, and whether the table is exactly the standard one.

    Args:
        luma: (N, 64) float64, in any order of the coefficients; NaN where there is none.

    Returns:
        (N,) float64, NaN where there is no table; (N,) bool.

    >>> quality, exact = estimate_quality(np.array([_ANNEX_K, np.full(64, 7)], dtype=float))
    >>> quality.tolist(), exact.tolist()
    ([50.0, 96.0], [True, False])
    """
    standard = _standard_tables()
    ordered = np.nan_to_num(np.sort(luma, axis=1), nan=-1)
    _, first, back = np.unique(table_keys(ordered), return_index=True, return_inverse=True)
    tables = ordered[first]
    quality, exact = np.full(len(tables), np.nan), np.zeros(len(tables), bool)
    for i, table in enumerate(tables):
        if table[0] > 0:
            nearest = int(np.abs(standard - table).sum(axis=1).argmin())
            quality[i], exact[i] = nearest + 1, bool((standard[nearest] == table).all())
    return quality[back.ravel()], exact[back.ravel()]


def table_keys(tables: np.ndarray) -> np.ndarray:
    """A number for each table, equal for equal tables: (N,) float64 in 0 … N−1. `tables`: (N, D) float64, whole numbers.

    Sums of whole numbers are exact, whatever the order in which they are added; those of floats are not.
    """
    factors = np.random.default_rng(0).integers(1, 2**62, tables.shape[1])
    return np.unique(tables.astype(np.int64) @ factors, return_inverse=True)[1].astype(np.float64)


@cache
def _standard_tables() -> np.ndarray:
    """Sorted luma tables of qualities 1 … 100: (100, 64) float64."""
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.sort(np.clip((np.array(_ANNEX_K) * scale[:, None] + 50) // 100, 1, 255), axis=1).astype(np.float64)
