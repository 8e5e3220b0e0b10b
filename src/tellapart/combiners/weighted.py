"""Weighted mean with weights fitted on validation predictions.

minimize: the weights with the lowest log loss on the simplex w ≥ 0, Σ w = 1. With p_ki the probability that member k gives to
    the true class of image i, the loss −(1/N) Σ_i ln Σ_k w_k p_ki is convex, and the EM step w_k ← w_k (1/N) Σ_i p_ki / Σ_j w_j
    p_ji (Dempster, Laird & Rubin 1977, mixing proportions) never increases it. With g_k the factor of w_k in that step, the
    loss is at most max g_k − 1 above the minimum, which gives an exact stopping criterion.
inverse: w_k ∝ 1 / log loss of member k.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from tellapart.combiners.base import CLIP, Weighting, true_class_proba
from tellapart.recipe.schema import OptionsModel

_NEAR = 1e-6  # nats: tolerance on the loss
_STEPS = 5_000


class Weighted(Weighting):
    """p = Σ w_k p_k."""

    uses_labels = True

    class Options(OptionsModel):
        """Options of `weighted`."""

        by: Literal["minimize", "inverse"] = Field(
            default="minimize", description="weights with the lowest validation log loss, or 1 / log loss of each member"
        )

    def _fit(self, members: np.ndarray, labels: np.ndarray) -> None:
        if not len(labels):
            return self._equal(members, "there are no validation images")
        given = np.maximum(true_class_proba(members, labels), CLIP)
        self.arrays = {"weights": least_loss(given) if self.options.by == "minimize" else inverse_loss(given)}


def least_loss(given: np.ndarray) -> np.ndarray:
    """Weights with the lowest log loss: (K,) float64 ≥ 0 with sum 1. `given`: (K, N) float64 in (0, 1], for the true class.

    >>> least_loss(np.array([[0.9, 0.9, 0.1], [0.1, 0.1, 0.9]])).round(3).tolist()
    [0.708, 0.292]
    """
    weights = np.full(len(given), 1 / len(given))
    for _ in range(_STEPS):
        gain = given @ (1 / (weights @ given)) / given.shape[1]
        if gain.max() - 1 <= _NEAR:
            break
        weights *= gain
    weights[weights < 1e-4 / len(given)] = 0  # converging to 0: members without weight need not predict
    return weights / weights.sum()


def inverse_loss(given: np.ndarray) -> np.ndarray:
    """Weights w_k ∝ 1 / log loss: (K,) float64 with sum 1. `given`: (K, N) float64 in (0, 1], for the true class.

    >>> inverse_loss(np.exp(-np.array([[1.0, 1.0], [3.0, 3.0]]))).round(6).tolist()
    [0.75, 0.25]
    """
    worth = 1 / np.maximum(-np.log(given).mean(axis=1), CLIP)
    return worth / worth.sum()
