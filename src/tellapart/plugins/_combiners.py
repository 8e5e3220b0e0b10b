"""What a combiner promises, tested on drawn answers."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from tellapart.combiners.base import Combiner
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
        """A new one, fitted on drawn answers."""
        voters, labels = _answers(seed, count, members, classes)
        return self.cls(self.options, 5).fit(voters, labels)


def check_combiner(cls: type[Combiner], options: Mapping[str, Any] | None = None, *, only: str | None = None) -> None:
    """Test a combiner.

    Args:
        cls: The class.
        options: As on the command line or in a recipe.
        only: Name of the one promise to test; left out: all of `promises("combiner")`.

    Raises:
        PluginError: A promise is broken: which, what was expected, what was found.
        RecipeError: The options are none of this class.
    """
    PROMISES.check(cls, _Tested(cls, check_options(cls.Options, options or {}, cls.__name__)), only)


@PROMISES.promise("rows sum to 1")
def _sums(tested: _Tested) -> None:
    """K voters' answers to N images, (K, N, C), give (N, C) float32; each row is finite and sums to 1."""
    for members in (1, 2, 5):
        for classes in (2, 4):
            found = tested.fitted(members=members, classes=classes)(_answers(1, 20, members, classes)[0])
            _check_rows(found, (20, classes), f"{members} voters, {classes} classes")


@PROMISES.promise("rows depend on their own image alone")
def _alone(tested: _Tested) -> None:
    """The answer to an image is the same alone, in a batch, and in any order of the images."""
    combiner, voters = tested.fitted(), _answers(1)[0]
    together = combiner(voters)
    alone = np.concatenate([combiner(voters[:, i : i + 1]) for i in range(voters.shape[1])])
    expect_close(alone, together, "the same answer alone and in a batch")
    order = np.random.default_rng(0).permutation(voters.shape[1])
    expect_close(combiner(voters[:, order]), together[order], "the same answers in another order")
    others = _answers(8)[0]
    others[:, 3] = voters[:, 3]
    expect_close(combiner(others)[3], together[3], "the same answer beside other images")


@PROMISES.promise("the same twice")
def _deterministic(tested: _Tested) -> None:
    """Fitted twice with the same seed it gives the same."""
    voters = _answers(1)[0]
    expect_equal(tested.fitted()(voters), tested.fitted()(voters), "the same answers after a second fit with the same seed")


@PROMISES.promise("fit forgets")
def _forgets(tested: _Tested) -> None:
    """A second fit leaves nothing of the first."""
    combiner = tested.fitted(7, 40, 4, 2)
    combiner.fit(*_answers())
    expect_equal(combiner(_answers(1)[0]), tested.fitted()(_answers(1)[0]), "the answers of a fresh fit")


@PROMISES.promise("answers are not changed")
def _untouched(tested: _Tested) -> None:
    """The answers and labels that are handed in stay as they are."""
    voters, labels = _answers()
    before = voters.copy(), labels.copy()
    tested.cls(tested.options, 5).fit(voters, labels)(voters)
    expect_equal(voters, before[0], "the voters' answers as they were")
    expect_equal(labels, before[1], "the labels as they were")


@PROMISES.promise("no validation images")
def _no_validation(tested: _Tested) -> None:
    """It can be fitted without images, or with labels that are all unknown, and answers then too."""
    empty = tested.fitted(count=0)
    _check_rows(empty(_answers(1)[0]), (60, 3), "a fit on no images")
    voters, labels = _answers()
    unknown = tested.cls(tested.options, 5).fit(voters, np.full_like(labels, -1))
    _check_rows(unknown(voters), (60, 3), "a fit on unknown labels")
    found = tested.fitted()(voters[:, :0])
    expect(found.shape == (0, 3), "no answers to no images, (0, 3)", found.shape)


@PROMISES.promise("a class may be missing")
def _missing_class(tested: _Tested) -> None:
    """The validation labels may lack classes, or be of one class alone."""
    voters, labels = _answers()
    for kept in (labels != 1, labels == 0):
        _check_rows(
            tested.cls(tested.options, 5).fit(voters[:, kept], labels[kept])(voters), (60, 3), "labels that lack a class"
        )


@PROMISES.promise("probabilities of exactly 0 and 1")
def _certain(tested: _Tested) -> None:
    """Voters may be certain, and certain of different classes."""
    labels = _answers()[1]
    sure = np.eye(3, dtype=np.float32)[np.stack([labels, np.roll(labels, 1), np.zeros_like(labels)])]
    _check_rows(tested.cls(tested.options, 5).fit(sure, labels)(sure), (60, 3), "voters that are certain")
    _check_rows(tested.fitted()(sure), (60, 3), "voters that are certain, after a fit on others")


@PROMISES.promise("arrays are all that was learnt")
def _saved(tested: _Tested) -> None:
    """Where there is no scikit-learn estimator, a new combiner with the saved `arrays` answers the same."""
    combiner, voters = tested.fitted(), _answers(1)[0]
    again = tested.cls(tested.options, 5)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "arrays.safetensors"
        save_file({name: np.ascontiguousarray(values) for name, values in combiner.arrays.items()}, path)
        again.arrays |= load_file(path)
    again.estimator = combiner.estimator  # skops saves it
    expect_equal(again(voters), combiner(voters), "the same answers after saving and loading")


def _answers(seed: int = 0, count: int = 60, members: int = 3, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Voters that are often right: (K, N, C) float32, and labels (N,) int64."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % classes
    scores = rng.gamma(1.0, size=(members, count, classes)) + 1.5 * np.eye(classes)[labels] + 0.01
    return (scores / scores.sum(axis=2, keepdims=True)).astype(np.float32), labels


def _check_rows(found: np.ndarray, shape: tuple[int, int], what: str) -> None:
    expect(found.shape == shape, f"shape {shape} of {what}", found.shape)
    expect(found.dtype == np.float32, f"float32 of {what}", found.dtype)
    expect(bool(np.isfinite(found).all()), f"finite answers of {what}", "values that are not")
    expect(bool((found >= 0).all()), f"probabilities of at least 0 of {what}", found.min())
    gap = float(np.abs(found.sum(axis=1) - 1).max(initial=0))
    expect(gap < 1e-5, f"rows that sum to 1 of {what}", f"a sum that is {gap:.3g} off")
