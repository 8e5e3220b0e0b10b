"""Arithmetic mean of the probabilities. It has no parameters and is hard to beat if all members are about equally good."""

from __future__ import annotations

import numpy as np

from tellapart.combiners.base import Combiner


class Mean(Combiner):
    """p = (1/K) Σ p_k."""

    def _proba(self, members: np.ndarray) -> np.ndarray:
        return members.mean(axis=0, dtype=np.float64)
