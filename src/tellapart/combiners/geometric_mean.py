"""Normalized geometric mean of the probabilities: p ∝ exp((1/K) Σ ln p_k).

For two classes it is exactly the mean of the members' log-odds. A confident member has more influence than in the arithmetic
mean: a probability close to 0 is a veto. Source: the logarithmic opinion pool, Genest & Zidek 1986, "Combining probability
distributions".
"""

from __future__ import annotations

import numpy as np

from tellapart.combiners.base import CLIP, Combiner


class GeometricMean(Combiner):
    """Softmax of the mean log-probabilities; probabilities are clipped at the resolution of float32."""

    def _proba(self, members: np.ndarray) -> np.ndarray:
        total = np.zeros(members.shape[1:])
        for member in members:
            total += np.log(np.clip(member, CLIP, 1, dtype=np.float64))
        total /= len(members)
        return np.exp(total - total.max(axis=1, keepdims=True, initial=-np.inf))
