"""Base class of the combiners, which combine the predictions of the members of an ensemble.

Notation: K members, N images, C classes. The combined prediction for an image depends only on the members' predictions for that
image, so it is independent of the order and of the other images. Combiners are fitted on validation predictions; `uses_labels`
states whether the labels are used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self, final

import numpy as np

from tellapart.errors import DataError
from tellapart.recipe.schema import OptionsModel
from tellapart.types import UNLABELED, Predictions

#: Probabilities are clipped to at least CLIP before a logarithm, as in `metrics.probabilistic`: the resolution of float32.
CLIP = float(np.finfo(np.float32).eps)


class Combiner(ABC):
    """Combine the predictions of several members. One file per combiner; the file name is the value of `--how`.

    Attributes:
        arrays: Fitted arrays, by name; empty before `fit`.
        estimator: Fitted scikit-learn estimator, if the combiner has one.
        notes: Deviations from the requested options.
    """

    #: Whether the labels are used for fitting; scores on the same images are then too optimistic.
    uses_labels: ClassVar[bool] = False

    class Options(OptionsModel):
        """Options of the combiner; none by default."""

    def __init__(self, options: OptionsModel, seed: int = 0) -> None:
        self.options: Any = options
        self.seed = seed
        self.arrays: dict[str, np.ndarray] = {}
        self.estimator: Any = None
        self.notes: list[str] = []

    @final
    def fit(self, members: np.ndarray, labels: np.ndarray) -> Self:
        """Fit to validation predictions. Previous fits are discarded.

        Args:
            members: (K, N, C) float32 in [0, 1], rows sum to 1; N may be 0.
            labels: (N,) int64; images with label −1 (unknown) are excluded.
        """
        self.arrays, self.estimator, self.notes = {}, None, []
        known = labels != UNLABELED
        self._fit(members if known.all() else members[:, known], labels[known])
        return self

    @final
    def __call__(self, members: np.ndarray) -> np.ndarray:
        """Combine probabilities: (K, N, C) float32 → (N, C) float32, rows sum to 1."""
        proba = self._proba(members).astype(np.float64)
        return (proba / proba.sum(axis=1, keepdims=True)).astype(np.float32)

    @property
    def weights(self) -> np.ndarray | None:
        """Weight of each member, (K,) float64, if the combiner is a weighted mean. Members of weight 0 need not predict."""
        return None

    @property
    def parameters(self) -> int:
        """Number of fitted parameters."""
        return sum(values.size for values in self.arrays.values())

    def _fit(self, members: np.ndarray, labels: np.ndarray) -> None:
        """Fit the combiner; by default there is nothing to fit."""
        del members, labels

    @abstractmethod
    def _proba(self, members: np.ndarray) -> np.ndarray:
        """Combine probabilities: (N, C), non-negative, finite, no row all zero; the caller normalizes the rows."""


class Weighting(Combiner):
    """Base class of weighted means, p = Σ w_k p_k. Subclasses set `arrays["weights"]`, (K,) float64 ≥ 0 with sum 1."""

    @property
    def weights(self) -> np.ndarray | None:
        """See `Combiner`."""
        return self.arrays.get("weights")

    def _proba(self, members: np.ndarray) -> np.ndarray:
        weights = self.weights if self.weights is not None else np.full(len(members), 1 / len(members))
        total = np.zeros(members.shape[1:])
        for weight, member in zip(weights, members, strict=True):  # one at a time: no second (K, N, C)
            if weight:
                total += weight * member
        return total

    @abstractmethod
    def _fit(self, members: np.ndarray, labels: np.ndarray) -> None: ...

    def _equal(self, members: np.ndarray, why: str) -> None:
        """Use equal weights, since there are no data to fit."""
        self.notes.append(f"{why}: all members have equal weights")
        self.arrays = {"weights": np.full(len(members), 1 / len(members))}


def combine(combiner: Combiner, predictions: Sequence[Predictions], run_id: str = "") -> Predictions:
    """Combine the predictions of several runs; ids, labels and groups are those of the first.

    Args:
        combiner: The combiner, fitted if it needs fitting.
        predictions: Predictions for the same images, in any order.
        run_id: Run id of the combined predictions.

    Raises:
        DataError: Classes, ids or labels differ; the message names both runs.

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
    """Stack probabilities in the image order of the first: (K, N, C) float32.

    Raises:
        DataError: Classes, ids or labels differ; the message names both runs.
    """
    return np.stack([predictions[0].proba, *(reorder(predictions[0], other).proba for other in predictions[1:])])


def reorder(first: Predictions, other: Predictions) -> Predictions:
    """Select the images of `first` from `other`, in the order of `first`.

    Raises:
        DataError: Classes, ids or labels differ.
    """
    names = f"{first.run_id or 'the first'} and {other.run_id or 'another'}"
    if first.classes != other.classes:
        raise DataError(f"{names} have different classes: {', '.join(first.classes)} and {', '.join(other.classes)}")
    row_of = {name: row for row, name in enumerate(other.ids)}
    missing = [name for name in first.ids if name not in row_of]
    if missing or len(row_of) != len(first):
        example = f": {other.run_id or 'the other'} has no prediction for {missing[0]!r}" if missing else ""
        hint = "combine runs of the same data and split; `--split-from RUN` reuses a split"
        raise DataError(f"{names} have predictions for different images ({len(first)} and {len(other)}){example}", hint=hint)
    rows = np.array([row_of[name] for name in first.ids], dtype=np.int64)
    if (first.labels != other.labels[rows]).any():
        wrong = first.ids[first.labels != other.labels[rows]][0]
        raise DataError(f"{names} have different labels for {wrong!r}", hint="the labels were changed between the runs")
    return Predictions(first.ids, other.proba[rows], first.labels, first.classes, other.run_id, first.groups)


def true_class_proba(members: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Probability of the true class by member: (K, N) float64. `members`: (K, N, C) float32; `labels`: (N,) int64 ≥ 0."""
    return members[:, np.arange(len(labels)), labels].astype(np.float64)
