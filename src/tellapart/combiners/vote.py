"""Majority vote: the class that most members predict. Ties are resolved by the mean probability, then by class order.

As probabilities: (votes + m / 2) / (K + 1/2), where m is the mean probability of the K members. Half a vote decides between
equal counts but never between different counts, and no class has probability 0 unless all members give it 0.
"""

from __future__ import annotations

import numpy as np

from tellapart.combiners.base import Combiner


class Vote(Combiner):
    """One vote per member."""

    def _proba(self, members: np.ndarray) -> np.ndarray:
        votes, rows = members.mean(axis=0, dtype=np.float64) / 2, np.arange(members.shape[1])
        for member in members:
            votes[rows, member.argmax(axis=1)] += 1
        return votes
