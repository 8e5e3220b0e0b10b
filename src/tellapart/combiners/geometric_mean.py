"""The mean of the log-odds: p ∝ exp((1/K) Σ ln p_k), the normalized geometric mean.

Of two classes it is exactly the mean of the voters' log-odds. One voter that is sure counts for more than in the plain mean: a
probability near 0 is a veto. Source: the logarithmic opinion pool, Genest & Zidek 1986, "Combining probability distributions".
"""

from __future__ import annotations

import numpy as np

from tellapart.combiners.base import CLIP, Combiner


class GeometricMean(Combiner):
    """Softmax of the mean log-probabilities; probabilities are clipped at the resolution of float32."""

    def _proba(self, voters: np.ndarray) -> np.ndarray:
        total = np.zeros(voters.shape[1:])
        for voter in voters:
            total += np.log(np.clip(voter, CLIP, 1, dtype=np.float64))
        total /= len(voters)
        return np.exp(total - total.max(axis=1, keepdims=True, initial=-np.inf))
