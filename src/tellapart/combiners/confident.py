"""Mean of the confident members if enough of them are confident of the same class, else the mean of all members.

Source: the frame averaging of the winner of the DFDC challenge (Seferbekov 2020, `confident_strategy`): if more than 1 in 2.5
predictions are above 0.8, only these are averaged. Generalized here to any number of classes: for each image, the class of
which most members are confident.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tellapart.combiners.base import Combiner
from tellapart.recipe.schema import OptionsModel


class Confident(Combiner):
    """Average the confident members only."""

    class Options(OptionsModel):
        """Options of `confident`."""

        sure: float = Field(default=0.8, gt=0.5, lt=1, description="probability from which a member is confident")
        share: float = Field(default=0.4, gt=0, le=1, description="share of members that must be confident of the same class")

    def _proba(self, members: np.ndarray) -> np.ndarray:
        sure, rows = members >= self.options.sure, np.arange(members.shape[1])
        counts = sure.sum(axis=0)  # (N, C)
        most = counts.max(axis=1, initial=0)
        enough = (most >= self.options.share * len(members)) & ((counts == most[:, None]).sum(axis=1) == 1)
        them = sure[:, rows, counts.argmax(axis=1)]  # (K, N): a member can be confident of one class only
        theirs = np.einsum("kn,knc->nc", them, members, dtype=np.float64) / np.maximum(most, 1)[:, None]
        return np.where(enough[:, None], theirs, members.mean(axis=0, dtype=np.float64))
