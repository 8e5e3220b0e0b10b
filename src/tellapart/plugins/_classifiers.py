"""What a classifier promises, tested on tiny tables of encoded images."""

from __future__ import annotations

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
#: What is fitted already, by class and recipe: promises that only ask share it.
_FITTED: dict[tuple[type, str], tuple[Classifier, Context]] = {}


@dataclass(frozen=True)
class _Tested:
    """A classifier class, the recipe as it was given, and resolved."""

    cls: type[Classifier]
    content: Mapping[str, Any]
    recipe: Recipe

    def fitted(self, train: ImageTable | None = None, valid: ImageTable | None = None) -> tuple[Classifier, Context]:
        """A new one with its surroundings, fitted on 60 images of three classes where nothing else is said."""
        context, train = Context(), table() if train is None else train
        valid = table(24, len(train.classes), 1, "valid") if valid is None else valid
        return self.cls(self.recipe).fit(train, valid, context), context

    def ready(self) -> tuple[Classifier, Context]:
        """The same one every time, for promises that only ask."""
        key = self.cls, self.recipe.dump()
        if key not in _FITTED:
            _FITTED[key] = self.fitted()
        return _FITTED[key]

    def proba(self, asked: ImageTable) -> np.ndarray:
        """What `ready()` answers: (N, C) float32."""
        classifier, context = self.ready()
        return classifier.predict(asked, context).proba


def check_classifier(cls: type[Classifier], recipe: Mapping[str, Any], *, only: str | None = None) -> None:
    """Test a classifier.

    Args:
        cls: The class.
        recipe: As in a file, with `classifier: {family: NAME, …}`. Make it small: it is fitted some ten times, on 60 images.
        only: Name of the one promise to test; left out: all of `promises("classifier")`.

    Raises:
        PluginError: A promise is broken: which, what was expected, what was found.
        RecipeError: The recipe is none of this class.
    """
    content = {"inputs": {"size": 12, "mode": "rgb"}, **recipe}
    PROMISES.check(cls, _Tested(cls, content, _resolved(cls, content)), only)


@PROMISES.promise("options are described")
def _described(tested: _Tested) -> None:
    """Every option has a description, and unknown ones are refused by name."""
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
    """A new one holds its recipe and no classes, and nothing else."""
    found = set(vars(tested.cls(tested.recipe)))
    expect(found == {"recipe", "classes"}, "the attributes recipe and classes", sorted(found))


@PROMISES.promise("predict before fit is an error")
def _unfitted(tested: _Tested) -> None:
    """One that was not fitted refuses to answer with a RunError."""
    try:
        tested.cls(tested.recipe).predict(table(3), Context())
    except RunError:
        return
    expect(False, "a RunError", "an answer")


@PROMISES.promise("rows sum to 1")
def _sums(tested: _Tested) -> None:
    """N images give (N, C) float32 in the order of the classes; each row is finite and sums to 1."""
    asked = table(30, seed=2, split="test")
    classifier, context = tested.ready()
    found = classifier.predict(asked, context)
    expect(found.classes == asked.classes, f"the classes {asked.classes}", found.classes)
    expect(list(found.ids) == list(asked.ids), "the ids in the order of the table", "others")
    _check_rows(found.proba, (30, 3), "30 images")


@PROMISES.promise("any order and any company")
def _alone(tested: _Tested) -> None:
    """The answer to an image is the same in any order, alone, and in any batch."""
    asked, order = table(20, seed=2, split="test"), np.random.default_rng(3).permutation(20)
    straight = tested.proba(asked)
    expect_close(tested.proba(asked.take(order)), straight[order], "the same answers in another order")
    alone = np.concatenate([tested.proba(asked.take(np.array([i]))) for i in range(20)])
    expect_close(alone, straight, "the same answers one by one")


@PROMISES.promise("labels are not looked at")
def _labels(tested: _Tested) -> None:
    """Answers do not depend on the labels of the images that are asked about."""
    asked = table(30, seed=2, split="test")
    hidden = replace(asked, frame=asked.frame.assign(label=-1))
    expect_equal(tested.proba(hidden), tested.proba(asked), "the same answers when labels are hidden")


@PROMISES.promise("no images, no answers")
def _empty(tested: _Tested) -> None:
    """An empty table has an empty answer, (0, C)."""
    found = tested.proba(table(3).take(np.array([], dtype=int)))
    expect(found.shape == (0, 3), "(0, 3)", found.shape)


@PROMISES.promise("saved and loaded are equal")
def _saved(tested: _Tested) -> None:
    """One that was saved and loaded answers the same; only safetensors, JSON, skops and YAML files are written."""
    classifier, context = tested.ready()
    asked = table(30, seed=2, split="test")
    with tempfile.TemporaryDirectory() as folder:
        classifier.save(Path(folder))
        again = type(classifier).load(Path(folder), tested.recipe)
        wrong = [p.name for p in Path(folder).rglob("*") if p.is_file() and p.suffix not in _SAVED]
        expect(not wrong, f"files that end in {', '.join(_SAVED)}", ", ".join(wrong))
        found = again.predict(asked, context).proba
    expect_equal(found, classifier.predict(asked, context).proba, "the same answers after saving and loading")
    expect(again.parameters == classifier.parameters, f"{classifier.parameters} parameters", again.parameters)


@PROMISES.promise("deterministic")
def _deterministic(tested: _Tested) -> None:
    """Fitted twice on the same images with the same seed it gives the same answers."""
    asked = table(30, seed=2, split="test")
    classifier, context = tested.fitted()
    expect_equal(classifier.predict(asked, context).proba, tested.proba(asked), "the same answers after a second fit")


@PROMISES.promise("fit forgets")
def _forgets(tested: _Tested) -> None:
    """A second fit leaves nothing of the first, not even its number of classes."""
    asked = table(30, seed=2, split="test")
    classifier, context = tested.fitted(table(40, 2, 5))
    classifier.fit(table(), table(24, 3, 1, "valid"), context)
    expect_equal(classifier.predict(asked, context).proba, tested.proba(asked), "the answers of a fresh fit")


@PROMISES.promise("validation may lack classes")
def _valid(tested: _Tested) -> None:
    """The validation part may lack a class, or be empty."""
    valid = table(24, 3, 1, "valid")
    for what, kept in (("lacks a class", valid.labels != 2), ("is empty", np.zeros(24, bool))):
        classifier, context = tested.fitted(valid=valid.take(np.flatnonzero(kept)))
        _check_rows(classifier.predict(table(6, seed=2), context).proba, (6, 3), f"a fit whose validation part {what}")


@PROMISES.promise("training may lack classes")
def _train(tested: _Tested) -> None:
    """The training part may lack a class."""
    train = table()
    classifier, context = tested.fitted(train.take(np.flatnonzero(train.labels != 1)))
    _check_rows(classifier.predict(table(6, seed=2), context).proba, (6, 3), "a fit without one class")


@PROMISES.promise("two classes and many")
def _classes(tested: _Tested) -> None:
    """Two classes and twenty-five are told apart, or at least answered."""
    for classes in (2, 25):
        classifier, context = tested.fitted(table(4 * classes, classes))
        found = classifier.predict(table(2 * classes, classes, 2), context).proba
        _check_rows(found, (2 * classes, classes), f"{classes} classes")


@PROMISES.promise("two images are enough")
def _two(tested: _Tested) -> None:
    """It can be fitted on one image of each of two classes."""
    classifier, context = tested.fitted(table(2, 2))
    _check_rows(classifier.predict(table(4, 2, 2), context).proba, (4, 2), "a fit on two images")


@PROMISES.promise("tables are not changed")
def _untouched(tested: _Tested) -> None:
    """The tables that are handed in stay as they are."""
    train, valid = table(), table(24, 3, 1, "valid")
    before = train.frame.copy(), valid.frame.copy()
    classifier, context = tested.fitted(train, valid)
    classifier.predict(valid, context)
    expect_table_untouched(before[0], train.frame)
    expect_table_untouched(before[1], valid.frame)


@PROMISES.promise("a corrupt file is named")
def _corrupt(tested: _Tested) -> None:
    """A file that is no image is a TellapartError that names it, or of no consequence."""
    from tellapart.data.memory import from_bytes

    whole = table(12)
    blobs = [*whole.memory[:5], b"this is no picture", *whole.memory[6:]]  # type: ignore[index]
    try:
        tested.fitted(from_bytes(blobs, whole.labels, whole.classes))
    except TellapartError as error:
        expect("#5" in str(error), "an error that names memory#5", error)


def _resolved(cls: type[Classifier], content: Mapping[str, Any]) -> Recipe:
    """The recipe with all defaults, whether the class is registered already or not."""
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
    expect(found.shape == shape, f"shape {shape} of {what}", found.shape)
    expect(found.dtype == np.float32, f"float32 of {what}", found.dtype)
    expect(bool(np.isfinite(found).all()), f"finite probabilities of {what}", "values that are not")
    expect(bool((found >= 0).all()), f"probabilities of at least 0 of {what}", found.min())
    gap = float(np.abs(found.sum(axis=1) - 1).max(initial=0))
    expect(gap < 1e-5, f"rows that sum to 1 of {what}", f"a sum that is {gap:.3g} off")
