"""Every family keeps every promise of a classifier (`tellapart.plugins`), and some that only ours have to keep.

A family that needs an option, or is slow without one, needs an entry in `SMALL`; any other is tested with its defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import numpy as np
import pytest

from tellapart import registry
from tellapart.classifiers.base import Classifier, Context
from tellapart.data.cache import PixelCache
from tellapart.data.memory import from_arrays, from_bytes
from tellapart.errors import ImageError, TellapartError
from tellapart.plugins import check_classifier, promises
from tellapart.plugins._samples import table as _table
from tellapart.recipe import load as recipes
from tellapart.recipe.load import Recipe
from tellapart.types import ImageTable

#: In one precision: `auto` measures a step, and beside other work two fits may choose differently.
_SMALL_NET = {"epochs": 2, "batch": 16, "optimizer": {"name": "adamw", "lr": 0.01}, "precision": "32"}
#: Recipes of the families that need options, small; nets once each. A word after the name tells recipes of one family apart.
SMALL: dict[str, dict[str, Any]] = {
    "metadata": {"classifier": {"family": "metadata", "rounds": 5}},
    "calibrated (of a recipe)": {
        "classifier": {
            "family": "calibrated",
            "how": "platt",
            "unsure": 0.8,
            "of": {"features": {"pca": 6}, "classifier": {"family": "linear", "C": [0.1]}},
        }
    },
    "crops": {
        "inputs": {"size": 8, "mode": "rgb", "resize": "center"},
        "classifier": {
            "family": "crops",
            "count": 4,
            "of": {"features": {"pca": 6}, "classifier": {"family": "linear", "C": [0.1]}},
        },
    },
    "svm": {"features": {"pca": 6}, "classifier": {"family": "svm"}},
    "linear": {
        "features": {"descriptors": [{"pixels": {}}, {"spectrum": {"block": 4}}]},
        "classifier": {"family": "linear", "C": [0.1]},
    },
    "linear (ridge)": {"features": {"pca": 6}, "classifier": {"family": "linear", "loss": "ridge"}},
    "forest": {"classifier": {"family": "forest", "trees": 20}},
    "boosting": {"classifier": {"family": "boosting", "rounds": 8}},
    "network": {
        "augment": [{"flip": {}}, {"rotate90": {}}, {"random_crop": {"shift": 1}}],
        "classifier": {"family": "network", "net": "staged", "stages": [{"widths": [8], "dropout": 0.2}]},
        "train": _SMALL_NET,
    },
    "ensemble (of copies)": {
        "classifier": {
            "family": "ensemble",
            "how": "greedy",
            "of": {"features": {"pca": 6}, "classifier": {"family": "linear", "C": [0.1]}},
            "copies": 3,
        },
    },
    "network (mlp)": {"classifier": {"family": "network", "net": "mlp", "widths": [16]}, "train": _SMALL_NET},
    "network (vectors)": {
        "features": {"descriptors": [{"spectrum": {"block": 4}}], "pca": 8},
        "classifier": {"family": "network", "net": "mlp", "widths": [16]},
        "train": _SMALL_NET,
    },
    "network (every view, averaged)": {
        "augment": [{"union": [[], [{"rotate": {"degrees": 10}}]]}, {"mixup": {}}],
        "classifier": {
            "family": "network",
            "net": "staged",
            "stages": [{"widths": [8]}],
            "views": ["as is", "flip", "upside down", "turned", "five crops", "closer", "farther"],
        },
        "train": _SMALL_NET | {"average": {"name": "swa", "start": 0.2}, "loss": "focal", "class_weights": "balanced"},
    },
}
_DEFAULT = set(registry.names("classifiers")) - {name.partition(" ")[0] for name in SMALL}
TINY: dict[str, dict[str, Any]] = {name: {"classifier": {"family": name}} for name in sorted(_DEFAULT)} | SMALL
FAMILIES = pytest.mark.parametrize("name", TINY)
Small = Callable[[str], AbstractContextManager[None]]
Fitted = Callable[[str], tuple[Classifier, Context]]


def _recipe(name: str, **changes: object) -> Recipe:
    return recipes.parse({"inputs": {"size": 12, "mode": "rgb"}, **TINY[name], **changes})


def _fitted(name: str, table: ImageTable | None = None, **changes: object) -> tuple[Classifier, Context]:
    recipe = _recipe(name, **changes)
    context = Context()
    family = registry.find("classifiers", recipe.classifier.family)
    table = table if table is not None else _table()
    return family(recipe).fit(table, _table(24, len(table.classes), 1, "valid"), context), context


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    """`fitted(name)`: one fitted classifier for each recipe, for the tests that only ask it."""
    return cache(_fitted)


def test_every_family_is_tested_here() -> None:
    assert {name.partition(" ")[0] for name in TINY} == set(registry.names("classifiers"))


@pytest.mark.parametrize("promise", [p.name for p in promises("classifier")])
@FAMILIES
def test_classifier(name: str, promise: str, small: Small) -> None:
    """The promises that classifiers of other packages keep, too."""
    with small(name):
        check_classifier(registry.find("classifiers", TINY[name]["classifier"]["family"]), TINY[name], only=promise)


@FAMILIES
def test_a_corrupt_file_is_named(name: str) -> None:
    """To the checkers, a file of no consequence is passed, too; ours read every file."""
    table = _table(12)
    blobs = [*table.memory[:5], b"this is no picture", *table.memory[6:]]
    with pytest.raises(TellapartError, match="#5"):
        _fitted(name, from_bytes(blobs, table.labels, table.classes))


@FAMILIES
def test_it_counts_its_parameters(name: str, fitted: Fitted) -> None:
    assert fitted(name)[0].parameters > 0


@pytest.mark.parametrize("name", [n for n in TINY if n != "metadata"])
def test_it_learns(name: str, fitted: Fitted) -> None:
    classifier, context = fitted(name)
    predictions = classifier.predict(_table(30, seed=2, split="test"), context)
    # two epochs of a tiny net are little: far above the third that guessing gives is what is asked
    assert (predictions.predicted == predictions.labels).mean() > 0.55


@FAMILIES
def test_bare_arrays_work(name: str) -> None:
    """No files: the metadata baseline must say that it is the class prior; the others do not care."""
    generator = np.random.default_rng(0)
    table = from_arrays(generator.integers(0, 255, (12, 12, 12), dtype=np.uint8), [0, 1, 2] * 4, ["a", "b", "c"])
    classifier, context = _fitted(name, table)
    answer = classifier.predict(table, context)
    if name == "metadata":
        np.testing.assert_allclose(answer.proba, 1 / 3, atol=1e-6)
        assert any("class prior" in note for note in context.notes)


@FAMILIES
def test_ctrl_c_leaves_no_model_that_looks_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, context = _recipe(name), Context()
    classifier = registry.find("classifiers", recipe.classifier.family)(recipe)

    def press(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PixelCache, "images", press)
    monkeypatch.setattr("tellapart.classifiers.metadata._metadata", press)
    with pytest.raises(KeyboardInterrupt):
        classifier.fit(_table(), _table(24, 3, 1, "valid"), context)


def test_the_null_never_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one pixel: Pillow's `load` and our decoder are out of reach while it is fitted and asked."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the metadata baseline decoded an image")

    table, valid = _table(), _table(24, 3, 1, "valid")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    monkeypatch.setattr("tellapart.data.cache.decode_to", refuse)
    classifier = registry.find("classifiers", "metadata")(_recipe("metadata")).fit(table, valid, Context())
    assert len(classifier.predict(valid, Context())) == 24


def test_the_null_names_a_file_whose_header_is_damaged() -> None:
    with pytest.raises(ImageError, match="#0"):
        classifier, context = _fitted("metadata")
        classifier.predict(from_bytes([b"\x89PNG broken"], [-1], classifier.classes), context)
