"""Promises of a classifier, tested on tiny tables of encoded images."""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tellapart import registry
from tellapart.classifiers.base import Classifier, Context
from tellapart.errors import RecipeError, RunError, TellapartError
from tellapart.plugins._promises import (
    Promises,
    expect,
    expect_close,
    expect_described,
    expect_equal,
    expect_table_untouched,
)
from tellapart.plugins._samples import table
from tellapart.recipe import load as recipes
from tellapart.recipe.load import Recipe, check_options
from tellapart.recipe.schema import Features, Train
from tellapart.types import ImageTable

PROMISES = Promises("classifier")
_SAVED = (".safetensors", ".json", ".skops", ".yaml")
#: Fitted classifiers, by class and recipe; promises that only predict share them.
_FITTED: dict[tuple[type, str], tuple[Classifier, Context]] = {}


@dataclass(frozen=True)
class _Tested:
    """A classifier class, the recipe as given, and the resolved recipe."""

    cls: type[Classifier]
    content: Mapping[str, Any]
    recipe: Recipe

    def fitted(self, train: ImageTable | None = None, valid: ImageTable | None = None) -> tuple[Classifier, Context]:
        """Return a new classifier and its context, fitted on 60 images of three classes by default."""
        context, train = Context(), table() if train is None else train
        valid = table(24, len(train.classes), 1, "valid") if valid is None else valid
        return self.cls(self.recipe).fit(train, valid, context), context

    def ready(self) -> tuple[Classifier, Context]:
        """Return the shared fitted classifier, for promises that only predict."""
        key = self.cls, self.recipe.dump()
        if key not in _FITTED:
            _FITTED[key] = self.fitted()
        return _FITTED[key]

    def proba(self, asked: ImageTable) -> np.ndarray:
        """Predictions of `ready()`: (N, C) float32."""
        classifier, context = self.ready()
        return classifier.predict(asked, context).proba


def check_classifier(cls: type[Classifier], recipe: Mapping[str, Any], *, only: str | None = None) -> None:
    """Test a classifier.

    Args:
        cls: The class.
        recipe: A recipe as in a file, with `classifier: {family: NAME, …}`. Make it small: it is fitted about ten times, on 60
            images.
        only: Name of the promise to test; None: all of `promises("classifier")`.

    Raises:
        PluginError: A promise is broken; the message names it, the expected and the actual result.
        RecipeError: The recipe is not valid for this class.
    """
    content = {"inputs": {"size": 12, "mode": "rgb"}, **recipe}
    PROMISES.check(cls, _Tested(cls, content, _resolved(cls, content)), only)


@PROMISES.promise("options are described")
def _described(tested: _Tested) -> None:
    """Every option has a description, and unknown options are refused by name."""
    options = {name: value for name, value in tested.content["classifier"].items() if name != "family"}
    model = tested.cls.options_model(options)
    expect_described(model)
    try:
        check_options(model, {**options, "no_such_option": 1}, "classifier")
    except RecipeError as error:
        expect("no_such_option" in error.message, "an error that names the unknown option", error.message)
    else:
        expect(False, "an error about an unknown option", "none")


@PROMISES.promise("init only stores")
def _init(tested: _Tested) -> None:
    """A new classifier has the attributes `recipe` and `classes` only."""
    found = set(vars(tested.cls(tested.recipe)))
    expect(found == {"recipe", "classes"}, "the attributes recipe and classes", sorted(found))


@PROMISES.promise("predict before fit is an error")
def _unfitted(tested: _Tested) -> None:
    """A classifier that is not fitted raises a RunError in `predict`."""
    try:
        tested.cls(tested.recipe).predict(table(3), Context())
    except RunError:
        return
    expect(False, "a RunError", "predictions")


@PROMISES.promise("rows sum to 1")
def _sums(tested: _Tested) -> None:
    """N images give (N, C) float32 in the order of the classes; each row is finite and sums to 1."""
    asked = table(30, seed=2, split="test")
    classifier, context = tested.ready()
    found = classifier.predict(asked, context)
    expect(found.classes == asked.classes, f"the classes {asked.classes}", found.classes)
    expect(list(found.ids) == list(asked.ids), "the ids in the order of the table", "other ids")
    _check_rows(found.proba, (30, 3), "30 images")


@PROMISES.promise("rows depend on their own image alone")
def _alone(tested: _Tested) -> None:
    """The prediction for an image is the same alone, in a batch, and for any order of the images."""
    asked, order = table(20, seed=2, split="test"), np.random.default_rng(3).permutation(20)
    straight = tested.proba(asked)
    expect_close(tested.proba(asked.take(order)), straight[order], "the same predictions in another order")
    alone = np.concatenate([tested.proba(asked.take(np.array([i]))) for i in range(20)])
    expect_close(alone, straight, "the same predictions one by one")


@PROMISES.promise("predict ignores labels")
def _labels(tested: _Tested) -> None:
    """Predictions do not depend on the labels in the table."""
    asked = table(30, seed=2, split="test")
    hidden = replace(asked, frame=asked.frame.assign(label=-1))
    expect_equal(tested.proba(hidden), tested.proba(asked), "the same predictions without labels")


@PROMISES.promise("no images, no predictions")
def _empty(tested: _Tested) -> None:
    """An empty table gives predictions of shape (0, C)."""
    found = tested.proba(table(3).take(np.array([], dtype=int)))
    expect(found.shape == (0, 3), "(0, 3)", found.shape)


@PROMISES.promise("saved and loaded are equal")
def _saved(tested: _Tested) -> None:
    """A saved and loaded classifier gives the same predictions; only safetensors, JSON, skops and YAML files are written."""
    classifier, context = tested.ready()
    asked = table(30, seed=2, split="test")
    with tempfile.TemporaryDirectory() as folder:
        classifier.save(Path(folder))
        again = type(classifier).load(Path(folder), tested.recipe)
        wrong = [p.name for p in Path(folder).rglob("*") if p.is_file() and p.suffix not in _SAVED]
        expect(not wrong, f"files that end in {', '.join(_SAVED)}", ", ".join(wrong))
        found = again.predict(asked, context).proba
    expect_equal(found, classifier.predict(asked, context).proba, "the same predictions after saving and loading")
    expect(again.parameters == classifier.parameters, f"{classifier.parameters} parameters", again.parameters)


@PROMISES.promise("files follow the umask")
def _permissions(tested: _Tested) -> None:
    """Saved files have the permissions of any new file, so that whoever may read the run may load it: see `write_arrays`."""
    with tempfile.TemporaryDirectory() as folder:
        tested.ready()[0].save(Path(folder))
        saved = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
        new = Path(folder, "new")
        new.touch()
        for path in saved:
            found, expected = (stat.S_IMODE(one.stat().st_mode) for one in (path, new))
            expect(found == expected, f"the permissions {expected:o} of a new file for {path.name}", f"{found:o}")


@PROMISES.promise("deterministic")
def _deterministic(tested: _Tested) -> None:
    """Two fits on the same images with the same seed give the same predictions."""
    asked = table(30, seed=2, split="test")
    classifier, context = tested.fitted()
    expect_equal(classifier.predict(asked, context).proba, tested.proba(asked), "the same predictions after a second fit")


@PROMISES.promise("fits are independent")
def _forgets(tested: _Tested) -> None:
    """A second fit does not depend on the first, not even on its number of classes."""
    asked = table(30, seed=2, split="test")
    classifier, context = tested.fitted(table(40, 2, 5))
    classifier.fit(table(), table(24, 3, 1, "valid"), context)
    expect_equal(classifier.predict(asked, context).proba, tested.proba(asked), "the predictions of a new classifier")


@PROMISES.promise("validation may lack classes")
def _valid(tested: _Tested) -> None:
    """The validation split may lack a class, or be empty."""
    valid = table(24, 3, 1, "valid")
    for what, kept in (("lacks a class", valid.labels != 2), ("is empty", np.zeros(24, bool))):
        classifier, context = tested.fitted(valid=valid.take(np.flatnonzero(kept)))
        _check_rows(classifier.predict(table(6, seed=2), context).proba, (6, 3), f"a fit whose validation split {what}")


@PROMISES.promise("training may lack classes")
def _train(tested: _Tested) -> None:
    """The training split may lack a class."""
    train = table()
    classifier, context = tested.fitted(train.take(np.flatnonzero(train.labels != 1)))
    _check_rows(classifier.predict(table(6, seed=2), context).proba, (6, 3), "a fit without one class")


@PROMISES.promise("two classes and many")
def _classes(tested: _Tested) -> None:
    """A classifier can be fitted on 2 and on 25 classes."""
    for classes in (2, 25):
        classifier, context = tested.fitted(table(4 * classes, classes))
        found = classifier.predict(table(2 * classes, classes, 2), context).proba
        _check_rows(found, (2 * classes, classes), f"{classes} classes")


@PROMISES.promise("two images are enough")
def _two(tested: _Tested) -> None:
    """A classifier can be fitted on one image of each of two classes."""
    classifier, context = tested.fitted(table(2, 2))
    _check_rows(classifier.predict(table(4, 2, 2), context).proba, (4, 2), "a fit on two images")


@PROMISES.promise("tables are not modified")
def _untouched(tested: _Tested) -> None:
    """The tables that are passed in are not modified."""
    train, valid = table(), table(24, 3, 1, "valid")
    before = train.frame.copy(), valid.frame.copy()
    classifier, context = tested.fitted(train, valid)
    classifier.predict(valid, context)
    expect_table_untouched(before[0], train.frame)
    expect_table_untouched(before[1], valid.frame)


@PROMISES.promise("a corrupt file is named")
def _corrupt(tested: _Tested) -> None:
    """A file that is not an image raises a TellapartError that names the file, or has no effect."""
    from tellapart.data.memory import from_bytes

    whole = table(12)
    blobs = [*whole.memory[:5], b"this is not an image", *whole.memory[6:]]  # type: ignore[index]
    try:
        tested.fitted(from_bytes(blobs, whole.labels, whole.classes))
    except TellapartError as error:
        expect("#5" in str(error), "an error that names memory#5", error)


def _resolved(cls: type[Classifier], content: Mapping[str, Any]) -> Recipe:
    """The recipe with all defaults; the class need not be registered."""
    name = content["classifier"]["family"]
    if name in registry.names("classifiers") and registry.find("classifiers", name) is cls:
        return recipes.parse(content)
    recipe = Recipe.model_validate(dict(content))
    options = check_options(cls.options_model(recipe.classifier.options), recipe.classifier.options, f"classifier {name}")
    changes: dict[str, Any] = {"classifier": {"family": name, **options.model_dump(mode="json")}}
    for section, default in (("features", Features), ("train", Train)):
        if section in cls.sections:
            changes[section] = (getattr(recipe, section) or default()).model_dump(mode="json")
    return Recipe.model_validate({**recipe.model_dump(mode="json"), **changes})


def _check_rows(found: np.ndarray, shape: tuple[int, int], what: str) -> None:
    expect(found.shape == shape, f"shape {shape} for {what}", found.shape)
    expect(found.dtype == np.float32, f"float32 for {what}", found.dtype)
    expect(bool(np.isfinite(found).all()), f"finite probabilities for {what}", "values that are not finite")
    expect(bool((found >= 0).all()), f"probabilities of at least 0 for {what}", found.min())
    gap = float(np.abs(found.sum(axis=1) - 1).max(initial=0))
    expect(gap < 1e-5, f"rows that sum to 1 for {what}", f"a sum that differs by {gap:.3g}")
