"""Every family is held to every promise of `classifiers/base.py`, on tiny tables of real encoded images.

A family without an entry in `TINY` fails here: say how to make it small.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart import registry
from tellapart.classifiers.base import Classifier, Context
from tellapart.data.cache import PixelCache
from tellapart.data.memory import from_arrays, from_bytes
from tellapart.errors import ImageError, RecipeError, TellapartError
from tellapart.recipe import load as recipes
from tellapart.recipe.load import Recipe
from tellapart.types import ImageTable

#: In one precision: `auto` measures a step, and beside other work two fits may choose differently.
_SMALL_NET = {"epochs": 2, "batch": 16, "optimizer": {"name": "adamw", "lr": 0.01}, "precision": "32"}
#: Recipe of each family, small; nets once each.
TINY = {
    "metadata": {"classifier": {"family": "metadata", "rounds": 5}},
    "knn": {"classifier": {"family": "knn", "k": 3}},
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
    "lda": {"classifier": {"family": "lda"}},
    "naive_bayes": {"classifier": {"family": "naive_bayes"}},
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
FAMILIES = pytest.mark.parametrize("name", TINY)


def _recipe(name: str, **changes: object) -> Recipe:
    return recipes.parse({"inputs": {"size": 12, "mode": "rgb"}, **TINY[name], **changes})


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _table(count: int = 60, classes: int = 3, seed: int = 0, split: str = "train") -> ImageTable:
    """Noise around one brightness a class: learnable from pixels, and a little from the file size."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    level = (labels + 1) * 255 // (classes + 1)
    pixels = (level[:, None, None, None] + generator.integers(-20, 20, (count, 12, 12, 3))).clip(0, 255).astype(np.uint8)
    names = [f"class {c}" for c in range(classes)]
    ids = [f"{split}-{seed}-{i}" for i in range(count)]
    return from_bytes([_png(p) for p in pixels], labels, names, ids, split=[split] * count)


def _fitted(name: str, table: ImageTable | None = None, **changes: object) -> tuple[Classifier, Context]:
    recipe = _recipe(name, **changes)
    context = Context()
    family = registry.find("classifiers", recipe.classifier.family)
    table = table if table is not None else _table()
    return family(recipe).fit(table, _table(24, len(table.classes), 1, "valid"), context), context


@pytest.fixture(scope="module")
def fitted() -> dict[str, tuple[Classifier, Context]]:
    """One fitted classifier a family, for the tests that only ask it."""
    return {name: _fitted(name) for name in TINY}


def test_every_family_is_tested_here() -> None:
    assert {name.partition(" ")[0] for name in TINY} == set(registry.names("classifiers"))


@FAMILIES
def test_unknown_option_is_rejected(name: str) -> None:
    content = {**TINY[name], "classifier": {**TINY[name]["classifier"], "no_such_option": 1}}
    with pytest.raises(RecipeError, match="no_such_option"):
        recipes.parse(content)


@FAMILIES
def test_every_option_is_described(name: str) -> None:
    options = TINY[name]["classifier"]
    model = registry.find("classifiers", options["family"]).options_model(options)
    undescribed = [option for option, _, text in recipes.describe(model) if not text]
    assert not undescribed


@FAMILIES
def test_init_only_stores(name: str) -> None:
    recipe = _recipe(name)
    classifier = registry.find("classifiers", recipe.classifier.family)(recipe)
    assert vars(classifier) == {"recipe": recipe, "classes": ()}


@FAMILIES
def test_predict_before_fit_is_an_error(name: str) -> None:
    recipe = _recipe(name)
    with pytest.raises(TellapartError, match="not been fitted"):
        registry.find("classifiers", recipe.classifier.family)(recipe).predict(_table(), Context())


@FAMILIES
def test_probabilities_are_finite_and_sum_to_one(name: str, fitted: dict) -> None:
    classifier, context = fitted[name]
    predictions = classifier.predict(_table(30, seed=2, split="test"), context)
    assert predictions.proba.shape == (30, 3)
    assert predictions.proba.dtype == np.float32
    assert np.isfinite(predictions.proba).all()
    np.testing.assert_allclose(predictions.proba.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in TINY if n != "metadata"])
def test_it_learns(name: str, fitted: dict) -> None:
    classifier, context = fitted[name]
    predictions = classifier.predict(_table(30, seed=2, split="test"), context)
    # two epochs of a tiny net are little: far above the third that guessing gives is what is asked
    assert (predictions.answers == predictions.labels).mean() > 0.6


@FAMILIES
def test_row_order_does_not_matter(name: str, fitted: dict) -> None:
    classifier, context = fitted[name]
    table = _table(30, seed=2, split="test")
    order = np.random.default_rng(3).permutation(30)
    straight, shuffled = classifier.predict(table, context), classifier.predict(table.take(order), context)
    assert list(shuffled.ids) == [straight.ids[i] for i in order]
    np.testing.assert_allclose(shuffled.proba, straight.proba[order], atol=1e-5)


@FAMILIES
def test_batch_size_does_not_matter(name: str, fitted: dict) -> None:
    classifier, context = fitted[name]
    table = _table(30, seed=2, split="test")
    together = classifier.predict(table, context).proba
    alone = np.concatenate([classifier.predict(table.take(np.array([i])), context).proba for i in range(30)])
    np.testing.assert_allclose(alone, together, atol=1e-5)


@FAMILIES
def test_an_empty_table_has_an_empty_answer(name: str, fitted: dict) -> None:
    classifier, context = fitted[name]
    assert classifier.predict(_table().take(np.array([], dtype=int)), context).proba.shape == (0, 3)


@FAMILIES
def test_same_seed_same_output(name: str) -> None:
    table = _table(30, seed=2, split="test")
    first, second = (c.predict(table, x).proba for c, x in (_fitted(name), _fitted(name)))
    np.testing.assert_array_equal(first, second)


@FAMILIES
def test_refit_forgets(name: str) -> None:
    classifier, context = _fitted(name, _table(40, 2, seed=5))
    classifier.fit(_table(), _table(24, 3, 1, "valid"), context)
    fresh, _ = _fitted(name)
    table = _table(30, seed=2, split="test")
    np.testing.assert_array_equal(classifier.predict(table, context).proba, fresh.predict(table, context).proba)


@FAMILIES
def test_save_and_load_are_equal(name: str, fitted: dict, tmp_path: Path) -> None:
    classifier, context = fitted[name]
    classifier.save(tmp_path)
    again = type(classifier).load(tmp_path, recipes.load(str(tmp_path / "recipe.yaml")))
    table = _table(30, seed=2, split="test")
    np.testing.assert_array_equal(again.predict(table, context).proba, classifier.predict(table, context).proba)
    assert again.parameters == classifier.parameters > 0
    assert not list(tmp_path.glob("*.pkl")) + list(tmp_path.glob("*.joblib"))


@FAMILIES
def test_a_class_may_be_missing_from_valid(name: str) -> None:
    recipe, valid = _recipe(name), _table(24, 3, 1, "valid")
    family = registry.find("classifiers", recipe.classifier.family)
    classifier = family(recipe).fit(_table(), valid.take(valid.labels != 2), Context())
    assert classifier.predict(_table(6, seed=2), Context()).proba.shape == (6, 3)


@FAMILIES
def test_valid_may_be_empty(name: str) -> None:
    recipe, valid = _recipe(name), _table(24, 3, 1, "valid")
    family = registry.find("classifiers", recipe.classifier.family)
    classifier = family(recipe).fit(_table(), valid.take(np.array([], dtype=int)), Context())
    assert classifier.predict(_table(6, seed=2), Context()).proba.shape == (6, 3)


@FAMILIES
def test_a_class_may_be_missing_from_train(name: str) -> None:
    table = _table()
    classifier, context = _fitted(name, table.take(table.labels != 1))
    proba = classifier.predict(_table(6, seed=2), context).proba
    assert proba.shape == (6, 3) and np.isfinite(proba).all()


@FAMILIES
@pytest.mark.parametrize("classes", [2, 25])
def test_two_classes_and_many(name: str, classes: int) -> None:
    classifier, context = _fitted(name, _table(4 * classes, classes))
    assert classifier.predict(_table(2 * classes, classes, 2), context).proba.shape == (2 * classes, classes)


@FAMILIES
def test_blanked_labels_change_no_answer(name: str, fitted: dict) -> None:
    """Leak check: `predict` must not see labels."""
    classifier, context = fitted[name]
    table = _table(30, seed=2, split="test")
    blanked = replace(table, frame=table.frame.assign(label=-1))
    np.testing.assert_array_equal(classifier.predict(blanked, context).proba, classifier.predict(table, context).proba)


@FAMILIES
def test_tables_are_not_changed(name: str) -> None:
    train, valid = _table(), _table(24, 3, 1, "valid")
    before = train.frame.copy(), valid.frame.copy()
    recipe, context = _recipe(name), Context()
    classifier = registry.find("classifiers", recipe.classifier.family)(recipe).fit(train, valid, context)
    classifier.predict(valid, context)
    assert train.frame.equals(before[0]) and valid.frame.equals(before[1])


@FAMILIES
def test_a_corrupt_file_is_named(name: str) -> None:
    table = _table(12)
    blobs = [*table.memory[:5], b"this is no picture", *table.memory[6:]]
    broken = from_bytes(blobs, table.labels, table.classes)
    with pytest.raises(TellapartError, match="#5"):
        _fitted(name, broken)


@FAMILIES
def test_two_images_are_enough(name: str) -> None:
    classifier, context = _fitted(name, _table(2, 2))
    assert np.isfinite(classifier.predict(_table(4, 2, 2), context).proba).all()


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
