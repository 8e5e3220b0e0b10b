"""What a combiner promises: the answers of K voters to N images in, one answer to each image out.

Legend: K voters, N images, C classes. A combiner answers each image from the voters' answers to that image alone, so the answer
is the same in any order and any company. What it learns, it learns on validation answers; `learns` says whether from labels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self, final

import numpy as np

from tellapart.errors import DataError
from tellapart.recipe.schema import OptionsModel
from tellapart.types import UNLABELED, Predictions

#: Probabilities are kept this far from 0 before a logarithm, as `evaluate.metrics` keeps them: the resolution of float32.
CLIP = float(np.finfo(np.float32).eps)


class Combiner(ABC):
    """Answers of several voters made one. One file each; the file name is the name for `--how`.

    Attributes:
        arrays: What was learnt, by name; empty before `fit`.
        estimator: A fitted scikit-learn estimator, where one is part of it.
        notes: What was done otherwise than asked.
    """

    #: Whether it learns from labels: its answers to the images that it learnt from then flatter it.
    uses_labels: ClassVar[bool] = False

    class Options(OptionsModel):
        """Options of the combiner."""

    def __init__(self, options: OptionsModel, seed: int = 0) -> None:
        self.options: Any = options
        self.seed = seed
        self.arrays: dict[str, np.ndarray] = {}
        self.estimator: Any = None
        self.notes: list[str] = []

    @final
    def fit(self, voters: np.ndarray, labels: np.ndarray) -> Self:
        """Learn from validation answers; forgets earlier fits.

        Args:
            voters: (K, N, C) float32, rows sum to 1; N may be 0.
            labels: (N,) int64; −1, unknown, is left out.
        """
        self.arrays, self.estimator, self.notes = {}, None, []
        known = labels != UNLABELED
        self._fit(voters if known.all() else voters[:, known], labels[known])
        return self

    @final
    def __call__(self, voters: np.ndarray) -> np.ndarray:
        """(K, N, C) float32 → (N, C) float32, rows sum to 1."""
        proba = self._proba(voters).astype(np.float64)
        return (proba / proba.sum(axis=1, keepdims=True)).astype(np.float32)

    @property
    def weights(self) -> np.ndarray | None:
        """(K,) float64, the share of each voter, where the answer is a weighted mean; a voter of weight 0 need not be asked."""
        return None

    @property
    def parameters(self) -> int:
        """Numbers that were learnt."""
        return sum(values.size for values in self.arrays.values())

    def _fit(self, voters: np.ndarray, labels: np.ndarray) -> None:
        """Nothing, where nothing is learnt."""
        del voters, labels

    @abstractmethod
    def _proba(self, voters: np.ndarray) -> np.ndarray:
        """(N, C) non-negative, finite, no row all zero; rows are scaled to sum to 1 by the caller."""


class Weighting(Combiner):
    """Base of the weighted means: p = Σ w_k p_k. One that learns sets `arrays["weights"]`, (K,) float64 ≥ 0, sum 1."""

    @property
    def weights(self) -> np.ndarray | None:
        """See `Combiner`."""
        return self.arrays.get("weights")

    def _proba(self, voters: np.ndarray) -> np.ndarray:
        weights = self.weights if self.weights is not None else np.full(len(voters), 1 / len(voters))
        total = np.zeros(voters.shape[1:])
        for weight, voter in zip(weights, voters, strict=True):  # one at a time: no second (K, N, C)
            if weight:
                total += weight * voter
        return total

    @abstractmethod
    def _fit(self, voters: np.ndarray, labels: np.ndarray) -> None: ...

    def _equal(self, voters: np.ndarray, why: str) -> None:
        """All voters alike, since there is nothing to learn from."""
        self.notes.append(f"{why}: all voters weigh the same")
        self.arrays = {"weights": np.full(len(voters), 1 / len(voters))}


def combine(combiner: Combiner, predictions: Sequence[Predictions], run_id: str = "") -> Predictions:
    """The answers of several runs as one; ids, labels and groups are those of the first.

    Args:
        combiner: Fitted, where it learns.
        answers: Of the same images, in any order.
        run_id: Who answers now.

    Raises:
        DataError: Other classes, ids or labels; names both runs.

    >>> from tellapart.combiners.mean import Mean
    >>> ids, labels, classes = np.array(["a", "b"], dtype=object), np.array([0, 1]), ("real", "fake")
    >>> one = Predictions(ids, np.array([[.9, .1], [.2, .8]], dtype=np.float32), labels, classes, "one")
    >>> two = Predictions(ids[::-1], np.array([[.6, .4], [.5, .5]], dtype=np.float32), labels[::-1], classes, "two")
    >>> combine(Mean(Mean.Options()), [one, two]).proba.round(3).tolist()
    [[0.699999988079071, 0.30000001192092896], [0.4000000059604645, 0.6000000238418579]]
    """
    first = predictions[0]
    return Predictions(first.ids, combiner(stack_members(predictions)), first.labels, first.classes, run_id, first.groups)


def stack_members(predictions: Sequence[Predictions]) -> np.ndarray:
    """(K, N, C) float32, in the image order of the first.

    Raises:
        DataError: Other classes, ids or labels; names both runs.
    """
    return np.stack([predictions[0].proba, *(reorder(predictions[0], other).proba for other in predictions[1:])])


def reorder(first: Predictions, other: Predictions) -> Predictions:
    """`other` with the images of `first`, in its order.

    Raises:
        DataError: It has other classes, ids or labels.
    """
    names = f"{first.run_id or 'the first'} and {other.run_id or 'another'}"
    if first.classes != other.classes:
        raise DataError(f"{names} know different classes: {', '.join(first.classes)} and {', '.join(other.classes)}")
    place = {name: row for row, name in enumerate(other.ids)}
    missing = [name for name in first.ids if name not in place]
    if missing or len(place) != len(first):
        example = f": {missing[0]!r} was not answered by {other.run_id or 'the other'}" if missing else ""
        hint = "combine runs of the same data and split; `--split-from RUN` uses a split again"
        raise DataError(f"{names} did not answer the same images ({len(first)} and {len(other)}){example}", hint=hint)
    rows = np.array([place[name] for name in first.ids], dtype=np.int64)
    if (first.labels != other.labels[rows]).any():
        wrong = first.ids[first.labels != other.labels[rows]][0]
        raise DataError(f"{names} disagree on what {wrong!r} is", hint="the labels were changed between the runs")
    return Predictions(first.ids, other.proba[rows], first.labels, first.classes, other.run_id, first.groups)


def true_class_proba(voters: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What each voter gives the true class: (K, N) float64. `voters`: (K, N, C); `labels`: (N,) int64 ≥ 0."""
    return voters[:, np.arange(len(labels)), labels].astype(np.float64)
