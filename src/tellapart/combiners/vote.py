"""Majority vote: the class that most voters answer. Ties go to the higher mean probability, then to the class order.

As probabilities: (votes + m / 2) / (K + 1/2), where m is the mean probability of the K voters. Half a vote can decide between
equal counts and never between different ones, and no class gets 0 that a voter thinks possible.
"""

from __future__ import annotations

import numpy as np

from tellapart.combiners.base import Combiner


class Vote(Combiner):
    """One voter, one vote."""

    def _proba(self, voters: np.ndarray) -> np.ndarray:
        votes, rows = voters.mean(axis=0, dtype=np.float64) / 2, np.arange(voters.shape[1])
        for voter in voters:
            votes[rows, voter.argmax(axis=1)] += 1
        return votes
