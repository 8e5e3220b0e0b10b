"""The mean of the voters that are sure, where enough of them are sure of the same class; else the mean of all.

Source: the frame averaging of the winner of the DFDC challenge (Seferbekov 2020, `confident_strategy`): where more than 1 in
2.5 answers are above 0.8, they alone are averaged. Here for any number of classes: per image, of the class that most voters
are sure of.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tellapart.combiners.base import Combiner
from tellapart.recipe.schema import OptionsModel


class Confident(Combiner):
    """Whoever is not sure is not asked."""

    class Options(OptionsModel):
        """Options of `confident`."""

        sure: float = Field(default=0.8, gt=0.5, lt=1, description="from this probability on a voter is sure")
        share: float = Field(default=0.4, gt=0, le=1, description="share of the voters that must be sure of the same class")

    def _proba(self, voters: np.ndarray) -> np.ndarray:
        sure, rows = voters >= self.options.sure, np.arange(voters.shape[1])
        counts = sure.sum(axis=0)  # (N, C)
        most = counts.max(axis=1, initial=0)
        enough = (most >= self.options.share * len(voters)) & ((counts == most[:, None]).sum(axis=1) == 1)
        them = sure[:, rows, counts.argmax(axis=1)]  # (K, N): a voter can be sure of one class only
        theirs = np.einsum("kn,knc->nc", them, voters, dtype=np.float64) / np.maximum(most, 1)[:, None]
        return np.where(enough[:, None], theirs, voters.mean(axis=0, dtype=np.float64))
