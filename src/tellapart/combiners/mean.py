"""The plain mean of the probabilities: nothing is learnt, and hard to beat where the voters are about equally good."""

from __future__ import annotations

import numpy as np

from tellapart.combiners.base import Combiner


class Mean(Combiner):
    """p = (1/K) Σ p_k."""

    def _proba(self, voters: np.ndarray) -> np.ndarray:
        return voters.mean(axis=0, dtype=np.float64)
