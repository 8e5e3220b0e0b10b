"""Greedy selection with replacement: from many voters a weighted few, found on validation.

Caruana, Niculescu-Mizil, Crew & Ksikes 2004, "Ensemble selection from libraries of models". The ensemble starts with the best
few voters (sorted initialization); in each round the voter whose addition to the mean scores best on validation is added,
whether it is in already or not; the best ensemble on the way is kept. How often a voter was taken is its weight. With `bags`
this is done several times, each with a random share of the voters, and the weights are averaged, which guards against luck on
validation.

Speed: adding one voter moves the margin of an image, the sum for its true class less the largest other sum, by at most 1. So
only images within 1 of a tie are counted anew in a round: all of them in the first, few later on.
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
    """p = Σ w_k p_k, where w_k is how often voter k was taken."""

    uses_labels = True

    class Options(OptionsModel):
        """Options of `greedy`."""

        metric: Literal["accuracy", "log-loss"] = Field(
            default="log-loss", description="what an addition must improve on validation; accuracy: ties by log loss"
        )
        start: int = Field(default=5, ge=1, description="the ensemble starts with the best voters, at most so many")
        rounds: int = Field(default=50, ge=0, description="additions tried")
        bags: int = Field(default=1, ge=1, description="selections, each among a random share of the voters; 1: one, among all")
        share: float = Field(default=0.5, gt=0, le=1, description="of bags: the share of the voters in each")

    def _fit(self, voters: np.ndarray, labels: np.ndarray) -> None:
        if not len(labels):
            return self._equal(voters, "there is no validation image to select by")
        judge = _Ensemble(voters, labels, self.options.metric)
        bags = [self._select(judge, pool) for pool in self._pools(len(voters))]
        self.arrays = {"weights": np.mean(bags, axis=0)}

    def _pools(self, count: int) -> Iterator[np.ndarray]:
        """The voters of each bag: (M,) int64, ascending."""
        generator = np.random.default_rng(self.seed)
        size = max(1, round(self.options.share * count))
        for _ in range(self.options.bags):
            yield np.sort(generator.choice(count, size, replace=False)) if self.options.bags > 1 else np.arange(count)

    def _select(self, judge: _Ensemble, pool: np.ndarray) -> np.ndarray:
        """The weights that one selection finds: (K,) float64, sum 1."""
        judge.begin()
        singles = judge.if_added(pool)
        ranked = pool[sorted(range(len(pool)), key=lambda i: singles[i], reverse=True)]
        taken, path = [], []
        for voter in ranked[: self.options.start]:
            path.append(judge.if_added(np.array([voter]))[0])
            judge.add(voter)
            taken.append(voter)
        taken = taken[: _first_best(path)]
        judge.begin(taken)
        path = [path[len(taken) - 1]]
        for _ in range(self.options.rounds):
            worths = judge.if_added(pool)
            best = _first_best(worths) - 1
            judge.add(pool[best])
            taken.append(pool[best])
            path.append(worths[best])
        kept = len(taken) - self.options.rounds - 1 + _first_best(path)
        return np.bincount(taken[:kept], minlength=len(judge.voters)) / kept


class _Ensemble:
    """A growing multiset of voters, and what each addition would make of it."""

    def __init__(self, voters: np.ndarray, labels: np.ndarray, metric: str) -> None:
        self.voters, self.labels, self.by_accuracy = voters, labels, metric == "accuracy"
        self.given = true_class_proba(voters, labels)

    def begin(self, taken: list[int] | tuple[int, ...] = ()) -> None:
        """Start anew with some voters."""
        self.count, self.total = 0, np.zeros(self.voters.shape[1:], dtype=np.float32)
        self.total_given = np.zeros(len(self.labels))
        for voter in taken:
            self.add(voter)

    def add(self, voter: int) -> None:
        """Take one more."""
        self.count += 1
        self.total += self.voters[voter]
        self.total_given += self.given[voter]

    def if_added(self, pool: np.ndarray) -> list[Worth]:
        """What the mean is worth with each of `pool` added; larger is better, compared as a tuple."""
        losses = [-np.log(np.maximum((self.total_given + self.given[k]) / (self.count + 1), CLIP)).mean() for k in pool]
        hits = self._hits(pool) if self.by_accuracy else [0] * len(pool)
        return [(float(hit), -float(loss)) for hit, loss in zip(hits, losses, strict=True)]

    def _hits(self, pool: np.ndarray) -> list[int]:
        """Right answers with each of `pool` added."""
        rows = np.arange(len(self.labels))
        true = self.total[rows, self.labels]
        others = self.total.copy()
        others[rows, self.labels] = -np.inf
        margin = true - others.max(axis=1)
        open_rows = np.flatnonzero(np.abs(margin) <= 1 + _SLACK)
        settled, labels, total = int((margin > 1 + _SLACK).sum()), self.labels[open_rows], self.total[open_rows]
        if len(open_rows) == len(rows):
            open_rows = slice(None)  # a view: no copy of each voter
        return [settled + int(((total + self.voters[k, open_rows]).argmax(axis=1) == labels).sum()) for k in pool]


def _first_best(worths: list[Worth]) -> int:
    """How many entries there are up to the first best one."""
    return worths.index(max(worths)) + 1
