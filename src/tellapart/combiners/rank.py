"""Mean of the ranks of the probabilities within each member.

Each probability is replaced by its rank among the validation probabilities of the same member and class (a fraction in [0, 1],
midranks for ties, linear interpolation). Ranks are averaged over the members, and the mean rank is converted back into a
probability by the mean of the members' quantile functions. For two classes the AUROC is exactly that of the mean rank. Members
with probabilities on different scales become comparable: one with a range of 0.51 to 0.53 has the same influence as one with a
range of 0.01 to 0.99. Labels are not used. Ranks are computed among validation images, so that a prediction does not depend on
the other images in the request.
"""

from __future__ import annotations

import numpy as np

from tellapart.combiners.base import Combiner

_KEPT = 1_000  # validation probabilities kept per member and class: all, or quantiles evenly spaced in rank


class Rank(Combiner):
    """Mean rank, converted to a probability."""

    def _fit(self, members: np.ndarray, labels: np.ndarray) -> None:
        del labels
        if not members.shape[1]:
            self.notes.append("there are no validation images to compute ranks from: the mean is used instead")
            return
        kept = np.linspace(0, members.shape[1] - 1, min(_KEPT, members.shape[1])).round().astype(np.int64)
        self.arrays = {"sorted": np.stack([np.sort(member, axis=0)[kept] for member in members])}  # (K, Q, C)

    def _proba(self, members: np.ndarray) -> np.ndarray:
        if not self.arrays:
            return members.mean(axis=0, dtype=np.float64)
        proba = np.empty(members.shape[1:])
        for c in range(members.shape[2]):
            scales = [quantile_function(known[:, c]) for known in self.arrays["sorted"]]
            rank = np.mean([np.interp(v[:, c], *scale) for v, scale in zip(members, scales, strict=True)], axis=0)
            proba[:, c] = np.mean([np.interp(rank, ranks, values) for values, ranks in scales], axis=0)
        return proba + np.finfo(np.float32).tiny  # a row of zeros cannot be normalized


def quantile_function(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct values, extended to 0 and 1, and their ranks in [0, 1], both ascending. `ordered`: (Q,) float32.

    >>> values, ranks = quantile_function(np.array([0.25, 0.5, 0.5, 0.75], dtype=np.float32))
    >>> values.tolist(), ranks.tolist()
    ([0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 0.125, 0.5, 0.875, 1.0])
    """
    values, counts = np.unique(ordered.astype(np.float64), return_counts=True)
    ranks = (np.cumsum(counts) - counts / 2) / len(ordered)
    below, above = int(values[0] > 0), int(values[-1] < 1)
    values = np.concatenate([[0.0] * below, values, [1.0] * above])
    return values, np.concatenate([[0.0] * below, ranks, [1.0] * above])
