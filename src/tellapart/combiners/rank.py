"""The mean of the ranks: what counts is where a probability stands among those of the same voter, not how large it is.

A probability is replaced by its rank among the same voter's validation probabilities of that class (a share in [0, 1], ties
by their middle, linear in between), ranks are averaged over the voters, and the mean rank is turned back into a probability
by the mean of the voters' quantiles. For two classes AUROC is exactly that of the plain rank mean. It makes voters comparable
whose probabilities are not: one that says 0.51 to 0.53 counts like one that says 0.01 to 0.99. No label is looked at. Ranks
among validation images rather than among those asked: an answer must not depend on the company an image is asked in.
"""

from __future__ import annotations

import numpy as np

from tellapart.combiners.base import Combiner

_KEPT = 1_000  # validation probabilities kept of each voter and class, evenly spaced in rank: all, or quantiles


class Rank(Combiner):
    """Mean rank, as a probability."""

    def _fit(self, voters: np.ndarray, labels: np.ndarray) -> None:
        del labels
        if not voters.shape[1]:
            self.notes.append("there is no validation image to rank among: this is the plain mean")
            return
        kept = np.linspace(0, voters.shape[1] - 1, min(_KEPT, voters.shape[1])).round().astype(np.int64)
        self.arrays = {"sorted": np.stack([np.sort(voter, axis=0)[kept] for voter in voters])}  # (K, Q, C)

    def _proba(self, voters: np.ndarray) -> np.ndarray:
        if not self.arrays:
            return voters.mean(axis=0, dtype=np.float64)
        proba = np.empty(voters.shape[1:])
        for c in range(voters.shape[2]):
            scales = [quantile_function(known[:, c]) for known in self.arrays["sorted"]]
            rank = np.mean([np.interp(v[:, c], *scale) for v, scale in zip(voters, scales, strict=True)], axis=0)
            proba[:, c] = np.mean([np.interp(rank, ranks, values) for values, ranks in scales], axis=0)
        return proba + np.finfo(np.float32).tiny  # a row that all voters put at 0 for every class cannot be scaled


def quantile_function(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values from 0 to 1 and their ranks in [0, 1], both ascending. `ordered`: (Q,) float32.

    >>> values, ranks = rank_scale(np.array([0.25, 0.5, 0.5, 0.75], dtype=np.float32))
    >>> values.tolist(), ranks.tolist()
    ([0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 0.125, 0.5, 0.875, 1.0])
    """
    values, counts = np.unique(ordered.astype(np.float64), return_counts=True)
    ranks = (np.cumsum(counts) - counts / 2) / len(ordered)
    below, above = int(values[0] > 0), int(values[-1] < 1)
    values = np.concatenate([[0.0] * below, values, [1.0] * above])
    return values, np.concatenate([[0.0] * below, ranks, [1.0] * above])
