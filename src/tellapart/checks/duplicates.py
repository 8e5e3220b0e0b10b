"""Exact duplicates: files with the same bytes, and files with the same pixels at the same size, whatever the format."""

from __future__ import annotations

from typing import final

import numpy as np

from tellapart.checks._dataset_view import DatasetView
from tellapart.checks._pairs import Pairs, chain_pairs, connect_pairs, pairs_result
from tellapart.checks.base import CheckResult, HealthCheck


@final
class Duplicates(HealthCheck):
    """The same image more than once, byte for byte or pixel for pixel."""

    def _run(self, view: DatasetView) -> CheckResult:
        table = view.table
        bytewise = view.duplicates.cluster
        rows = chain_pairs(exact_duplicates(view), table)
        pairs = Pairs(rows, np.ones(len(rows), np.float32), np.zeros(len(rows), bool))
        same_bytes = int((bytewise[rows[:, 0]] == bytewise[rows[:, 1]]).sum())
        return pairs_result(
            view, pairs, "an exact duplicate", True, {"same_bytes": same_bytes, "same_pixels": len(rows) - same_bytes}
        )


def exact_duplicates(view: DatasetView) -> np.ndarray:
    """Cluster numbers of N images, equal for exact duplicates by bytes or by pixels: (N,) int64."""
    pixels = np.unique(view.pixel_stats.digests, axis=0, return_inverse=True)[1].ravel()
    alone = int(pixels.max(initial=-1)) + 1 + np.arange(len(pixels))
    pixels = np.where(view.readable, pixels, alone)  # an image that cannot be decoded has no pixels to compare
    groups = [star_pairs(number) for number in (view.duplicates.cluster, pixels)]
    return connect_pairs(len(pixels), np.concatenate(groups))


def star_pairs(cluster: np.ndarray) -> np.ndarray:
    """Pairs of each row with the first row of its cluster: (P, 2) int64."""
    _, first, inverse = np.unique(cluster, return_index=True, return_inverse=True)
    rows = np.stack([first[inverse.ravel()], np.arange(len(cluster))], axis=1)
    return rows[rows[:, 0] != rows[:, 1]]
