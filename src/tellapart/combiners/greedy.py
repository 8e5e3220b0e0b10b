"""Greedy ensemble selection with replacement on validation predictions.

Caruana, Niculescu-Mizil, Crew & Ksikes 2004, "Ensemble selection from libraries of models". The ensemble starts with the best
members (sorted initialization). Each round adds the member that improves the validation score of the mean most; a member may
be added repeatedly. The best ensemble of all rounds is kept, and the weight of a member is the number of times it was added.
With `bags`, the selection is repeated on random subsets of the members, and the weights are averaged, which reduces overfitting
to validation.

Speed: adding one member changes the margin of an image (the sum for its true class minus the largest other sum) by at most 1.
Therefore only images with a margin within ±1 are re-evaluated in a round: all of them in the first round, few later on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field

from tellapart.combiners.base import CLIP, Weighting, true_class_proba
from tellapart.recipe.schema import OptionsModel

_SLACK = 1e-4  # on the margin, for the rounding of float32 sums
Worth = tuple[float, float]


class Greedy(Weighting):
    """p = Σ w_k p_k, where w_k is proportional to the number of times member k was added."""

    uses_labels = True

    class Options(OptionsModel):
        """Options of `greedy`."""

        metric: Literal["accuracy", "log-loss"] = Field(
            default="log-loss", description="validation score to improve; accuracy: ties are resolved by log loss"
        )
        start: int = Field(default=5, ge=1, description="maximum number of members in the initial ensemble")
        rounds: int = Field(default=50, ge=0, description="number of additions")
        bags: int = Field(default=1, ge=1, description="number of selections, each from a random subset; 1: all members")
        share: float = Field(default=0.5, gt=0, le=1, description="of bags: share of the members in each subset")

    def _fit(self, members: np.ndarray, labels: np.ndarray) -> None:
        if not len(labels):
            return self._equal(members, "there are no validation images")
        ensemble = _Ensemble(members, labels, self.options.metric)
        bags = [self._select(ensemble, pool) for pool in self._pools(len(members))]
        self.arrays = {"weights": np.mean(bags, axis=0)}

    def _pools(self, count: int) -> Iterator[np.ndarray]:
        """Yield the members of each bag: (M,) int64, ascending."""
        generator = np.random.default_rng(self.seed)
        size = max(1, round(self.options.share * count))
        for _ in range(self.options.bags):
            yield np.sort(generator.choice(count, size, replace=False)) if self.options.bags > 1 else np.arange(count)

    def _select(self, ensemble: _Ensemble, pool: np.ndarray) -> np.ndarray:
        """Weights of one selection: (K,) float64 with sum 1."""
        ensemble.begin()
        singles = ensemble.if_added(pool)
        ranked = pool[sorted(range(len(pool)), key=lambda i: singles[i], reverse=True)]
        taken, path = [], []
        for member in ranked[: self.options.start]:
            path.append(ensemble.if_added(np.array([member]))[0])
            ensemble.add(member)
            taken.append(member)
        taken = taken[: _first_best(path)]
        ensemble.begin(taken)
        path = [path[len(taken) - 1]]
        for _ in range(self.options.rounds):
            worths = ensemble.if_added(pool)
            best = _first_best(worths) - 1
            ensemble.add(pool[best])
            taken.append(pool[best])
            path.append(worths[best])
        kept = len(taken) - self.options.rounds - 1 + _first_best(path)
        return np.bincount(taken[:kept], minlength=len(ensemble.members)) / kept


class _Ensemble:
    """A growing multiset of members, with the scores of all possible additions."""

    def __init__(self, members: np.ndarray, labels: np.ndarray, metric: str) -> None:
        self.members, self.labels, self.by_accuracy = members, labels, metric == "accuracy"
        self.given = true_class_proba(members, labels)

    def begin(self, taken: list[int] | tuple[int, ...] = ()) -> None:
        """Reset the ensemble to the given members."""
        self.count, self.total = 0, np.zeros(self.members.shape[1:], dtype=np.float32)
        self.total_given = np.zeros(len(self.labels))
        for member in taken:
            self.add(member)

    def add(self, member: int) -> None:
        """Add a member."""
        self.count += 1
        self.total += self.members[member]
        self.total_given += self.given[member]

    def if_added(self, pool: np.ndarray) -> list[Worth]:
        """Score the mean with each member of `pool` added; tuples, larger is better."""
        losses = [-np.log(np.maximum((self.total_given + self.given[k]) / (self.count + 1), CLIP)).mean() for k in pool]
        hits = self._hits(pool) if self.by_accuracy else [0] * len(pool)
        return [(float(hit), -float(loss)) for hit, loss in zip(hits, losses, strict=True)]

    def _hits(self, pool: np.ndarray) -> list[int]:
        """Number of correct predictions with each member of `pool` added."""
        rows = np.arange(len(self.labels))
        true = self.total[rows, self.labels]
        others = self.total.copy()
        others[rows, self.labels] = -np.inf
        margin = true - others.max(axis=1)
        open_rows = np.flatnonzero(np.abs(margin) <= 1 + _SLACK)
        settled, labels, total = int((margin > 1 + _SLACK).sum()), self.labels[open_rows], self.total[open_rows]
        if len(open_rows) == len(rows):
            open_rows = slice(None)  # a view: no copy of each member
        return [settled + int(((total + self.members[k, open_rows]).argmax(axis=1) == labels).sum()) for k in pool]


def _first_best(worths: list[Worth]) -> int:
    """Number of entries up to and including the first best one."""
    return worths.index(max(worths)) + 1
