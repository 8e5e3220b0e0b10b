"""The promises of a combiner, tested on random predictions."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from tellapart.combiners.base import Combiner
from tellapart.io import write_arrays
from tellapart.plugins._promises import Promises, expect, expect_close, expect_equal
from tellapart.recipe.load import check_options
from tellapart.recipe.schema import OptionsModel

PROMISES = Promises("combiner", options=True)


@dataclass(frozen=True)
class _Tested:
    """A combiner class and its options."""

    cls: type[Combiner]
    options: OptionsModel

    def fitted(self, seed: int = 0, count: int = 60, members: int = 3, classes: int = 3) -> Combiner:
        """Fit a new combiner on random predictions."""
        stacked, labels = _sample(seed, count, members, classes)
        return self.cls(self.options, 5).fit(stacked, labels)


def check_combiner(cls: type[Combiner], options: Mapping[str, Any] | None = None, *, only: str | None = None) -> None:
    """Test a combiner.

    Args:
        cls: The class.
        options: Options, as on the command line or in a recipe.
        only: Name of the promise to test; None: all of `promises("combiner")`.

    Raises:
        PluginError: A promise is broken; the message names it, the expected and the actual result.
        RecipeError: The options are not valid for this class.
    """
    PROMISES.check(cls, _Tested(cls, check_options(cls.Options, options or {}, cls.__name__)), only)


@PROMISES.promise("rows sum to 1")
def _sums(tested: _Tested) -> None:
    """Predictions of K members for N images, (K, N, C), give (N, C) float32; each row is finite and sums to 1."""
    for members in (1, 2, 5):
        for classes in (2, 4):
            found = tested.fitted(members=members, classes=classes)(_sample(1, 20, members, classes)[0])
            _check_rows(found, (20, classes), f"{members} members, {classes} classes")


@PROMISES.promise("rows depend on their own image alone")
def _alone(tested: _Tested) -> None:
    """The prediction for an image is the same alone, in a batch, and for any order of the images."""
    combiner, stacked = tested.fitted(), _sample(1)[0]
    together = combiner(stacked)
    alone = np.concatenate([combiner(stacked[:, i : i + 1]) for i in range(stacked.shape[1])])
    expect_close(alone, together, "the same prediction alone and in a batch")
    order = np.random.default_rng(0).permutation(stacked.shape[1])
    expect_close(combiner(stacked[:, order]), together[order], "the same predictions in another order")
    others = _sample(8)[0]
    others[:, 3] = stacked[:, 3]
    expect_close(combiner(others)[3], together[3], "the same prediction in another batch")


@PROMISES.promise("deterministic")
def _deterministic(tested: _Tested) -> None:
    """Two fits with the same seed give the same predictions."""
    stacked = _sample(1)[0]
    expect_equal(
        tested.fitted()(stacked), tested.fitted()(stacked), "the same predictions after a second fit with the same seed"
    )


@PROMISES.promise("fits are independent")
def _forgets(tested: _Tested) -> None:
    """A second fit does not depend on the first."""
    combiner = tested.fitted(7, 40, 4, 2)
    combiner.fit(*_sample())
    expect_equal(combiner(_sample(1)[0]), tested.fitted()(_sample(1)[0]), "the predictions of a new combiner")


@PROMISES.promise("inputs are not modified")
def _untouched(tested: _Tested) -> None:
    """The predictions and labels that are passed in are not modified."""
    stacked, labels = _sample()
    before = stacked.copy(), labels.copy()
    tested.cls(tested.options, 5).fit(stacked, labels)(stacked)
    expect_equal(stacked, before[0], "unmodified predictions of the members")
    expect_equal(labels, before[1], "unmodified labels")


@PROMISES.promise("no validation images")
def _no_validation(tested: _Tested) -> None:
    """A combiner can be fitted without images or without known labels, and predicts afterwards."""
    empty = tested.fitted(count=0)
    _check_rows(empty(_sample(1)[0]), (60, 3), "a fit on no images")
    stacked, labels = _sample()
    unknown = tested.cls(tested.options, 5).fit(stacked, np.full_like(labels, -1))
    _check_rows(unknown(stacked), (60, 3), "a fit on unknown labels")
    found = tested.fitted()(stacked[:, :0])
    expect(found.shape == (0, 3), "an empty prediction of shape (0, 3)", found.shape)


@PROMISES.promise("a class may be missing")
def _missing_class(tested: _Tested) -> None:
    """Classes may be missing in the validation labels; all labels may be of one class."""
    stacked, labels = _sample()
    for kept in (labels != 1, labels == 0):
        _check_rows(
            tested.cls(tested.options, 5).fit(stacked[:, kept], labels[kept])(stacked), (60, 3), "labels that lack a class"
        )


@PROMISES.promise("probabilities of exactly 0 and 1")
def _certain(tested: _Tested) -> None:
    """Members may predict probabilities of exactly 0 and 1, and contradict each other."""
    labels = _sample()[1]
    sure = np.eye(3, dtype=np.float32)[np.stack([labels, np.roll(labels, 1), np.zeros_like(labels)])]
    _check_rows(tested.cls(tested.options, 5).fit(sure, labels)(sure), (60, 3), "members that are certain")
    _check_rows(tested.fitted()(sure), (60, 3), "members that are certain, after a fit on others")


@PROMISES.promise("arrays hold all parameters")
def _saved(tested: _Tested) -> None:
    """Without a scikit-learn estimator, a new combiner with the saved `arrays` gives the same predictions."""
    combiner, stacked = tested.fitted(), _sample(1)[0]
    again = tested.cls(tested.options, 5)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "arrays.safetensors"
        write_arrays(path, combiner.arrays)
        again.arrays |= load_file(path)
    again.estimator = combiner.estimator  # skops saves it
    expect_equal(again(stacked), combiner(stacked), "the same predictions after saving and loading")


def _sample(seed: int = 0, count: int = 60, members: int = 3, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Random predictions that are often correct: (K, N, C) float32, and labels (N,) int64."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % classes
    scores = rng.gamma(1.0, size=(members, count, classes)) + 1.5 * np.eye(classes)[labels] + 0.01
    return (scores / scores.sum(axis=2, keepdims=True)).astype(np.float32), labels


def _check_rows(found: np.ndarray, shape: tuple[int, int], what: str) -> None:
    expect(found.shape == shape, f"shape {shape} of {what}", found.shape)
    expect(found.dtype == np.float32, f"float32 of {what}", found.dtype)
    expect(bool(np.isfinite(found).all()), f"finite probabilities of {what}", "values that are not finite")
    expect(bool((found >= 0).all()), f"probabilities of at least 0 of {what}", found.min())
    gap = float(np.abs(found.sum(axis=1) - 1).max(initial=0))
    expect(gap < 1e-5, f"rows that sum to 1 of {what}", f"a sum that is {gap:.3g} off")
