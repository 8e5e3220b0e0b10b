"""The family `ensemble` inside `train`: members by id, copies of one recipe, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from tellapart.classifiers._ensemble_members import Member
from tellapart.classifiers.base import Classifier, Context
from tellapart.classifiers.ensemble import Ensemble
from tellapart.classifiers.linear import Linear
from tellapart.data.memory import from_arrays
from tellapart.errors import DataError, RecipeError, RunError
from tellapart.recipe import load as recipes
from tellapart.types import ImageTable

LINEAR = {"features": {"descriptors": [{"pixels": {}}]}, "classifier": {"family": "linear", "C": [0.1]}}


def table(count: int, split: str, seed: int) -> ImageTable:
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = (100 + 30 * labels[:, None, None] + generator.normal(0, 40, (count, 6, 6))).clip(0, 255).astype(np.uint8)
    return from_arrays(images, labels, ["real", "fake"], [f"{split}{i}" for i in range(count)], split=[split] * count)


TRAIN, VALID = table(60, "train", 0), table(30, "valid", 1)


def recipe_of(content: dict, seed: int = 0) -> recipes.Recipe:
    return recipes.parse({"inputs": {"size": 6, "mode": "gray"}, "seed": seed, **content})


def written(folder: Path, classifier: Classifier) -> Path:
    """As `experiment` leaves it: classifier, split, validation answers."""
    classifier.save(folder)
    TRAIN.frame.to_parquet(folder / "split.parquet")
    (folder / "predictions").mkdir()
    classifier.predict(VALID, Context(), folder.name).to_parquet(folder / "predictions" / "valid.parquet")
    return folder


@pytest.fixture
def parents(tmp_path: Path) -> list[Path]:
    made = []
    for first in (0, 20):
        fitted = Linear(recipe_of(LINEAR, first)).fit(TRAIN.take(np.arange(first, 60)), VALID, Context())
        made.append(written(tmp_path / f"linear-{first}", fitted))
    return made


def ensemble_of(members: list[str], how: object = "mean") -> Ensemble:
    return Ensemble(recipe_of({"classifier": {"family": "ensemble", "how": how, "members": members}}))


def test_members_are_opened_through_the_context(parents, tmp_path):
    context = Context(parents=lambda name: tmp_path / name)
    fitted = ensemble_of(["linear-0", "linear-20"]).fit(TRAIN, VALID, context)
    asked = table(10, "test", 2)
    wanted = np.mean([Member(str(p)).load_classifier(Path).predict(asked, context).proba for p in parents], axis=0)
    np.testing.assert_allclose(fitted.predict(asked, context).proba, wanted, atol=1e-6)


def test_a_voter_without_weight_is_not_even_opened(parents, tmp_path):
    context = Context(parents=lambda name: tmp_path / name)
    fitted = ensemble_of(["linear-0", "linear-20"], {"greedy": {"start": 1, "rounds": 0}}).fit(TRAIN, VALID, context)
    (unused,) = np.flatnonzero(fitted.combiner.weights == 0)
    (parents[unused] / "weights.safetensors").unlink()
    assert np.isfinite(fitted.predict(VALID, context).proba).all()


def test_members_that_saw_validation_images_are_refused(parents, tmp_path):
    context = Context(parents=lambda name: tmp_path / name)
    with pytest.raises(RunError, match="linear-0 was trained on 'train50', which is not in the training split here"):
        ensemble_of(["linear-0", "linear-20"]).fit(TRAIN.take(np.arange(50)), VALID, context)
    with pytest.raises(DataError, match="the valid split here and linear-0 have predictions for different images"):
        ensemble_of(["linear-0", "linear-20"]).fit(TRAIN, VALID.take(np.arange(9)), context)


def test_a_missing_member_is_named(tmp_path):
    with pytest.raises(RunError, match="gone, a member of the ensemble, is missing"):
        ensemble_of(["gone"]).fit(TRAIN, VALID, Context(parents=lambda name: tmp_path / name))


def test_bagging_draws_with_replacement_and_differs_by_copy():
    content = {"classifier": {"family": "ensemble", "of": LINEAR, "copies": 4}}
    bagged = Ensemble(recipe_of(content)).fit(TRAIN, VALID, Context())
    voters = [c.predict(VALID, Context()).proba for c in bagged.copies]
    assert len({v.tobytes() for v in voters}) == 4
    np.testing.assert_allclose(bagged.predict(VALID, Context()).proba, np.mean(voters, axis=0), atol=1e-6)
    content["classifier"]["bootstrap"] = False
    whole = Ensemble(recipe_of(content)).fit(TRAIN, VALID, Context())
    alone = Linear(recipe_of(LINEAR)).fit(TRAIN, VALID, Context())
    np.testing.assert_allclose(whole.predict(VALID, Context()).proba, alone.predict(VALID, Context()).proba, atol=1e-6)


def test_copies_are_saved_within(tmp_path):
    content = {"classifier": {"family": "ensemble", "how": {"stack": {"learner": "boosting"}}, "of": LINEAR, "copies": 2}}
    bagged = Ensemble(recipe_of(content)).fit(TRAIN, VALID, Context())
    bagged.save(tmp_path / "run")
    again = Ensemble.load(tmp_path / "run", recipes.load(str(tmp_path / "run" / "recipe.yaml")))
    np.testing.assert_array_equal(again.predict(VALID, Context()).proba, bagged.predict(VALID, Context()).proba)
    assert sorted(p.name for p in (tmp_path / "run" / "members").iterdir()) == ["000", "001"]
    assert again.parameters == bagged.parameters > 2 * bagged.copies[0].parameters


@pytest.mark.parametrize(
    ("classifier", "message"),
    [
        ({}, "expected either `members`, ids of finished runs, or `of`"),
        ({"members": ["a"], "of": LINEAR}, "expected either `members`, ids of finished runs, or `of`"),
        ({"members": ["a"], "how": "vot"}, "unknown combiner 'vot': did you mean 'vote'"),
        ({"members": ["a"], "how": {"vote": {}, "mean": {}}}, "expected one combiner"),
        ({"of": {**LINEAR, "seed": 3}}, "those of the outer recipe"),
        ({"of": {"classifier": {"family": "linaer"}}}, "did you mean 'linear'"),
        ({"of": {"classifier": {"family": "linear", "c": 3}}}, "unknown option 'c'"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(classifier, message):
    with pytest.raises(RecipeError, match=message):
        recipes.parse({"classifier": {"family": "ensemble", **classifier}})


def test_a_recipe_is_dumped_with_every_default_and_read_back():
    recipe = recipe_of({"classifier": {"family": "ensemble", "how": "greedy", "of": LINEAR}})
    assert recipe.classifier.options["how"]["greedy"]["rounds"] == 50
    assert recipes.parse(yaml.safe_load(recipe.dump())) == recipe


def test_names_of_members():
    assert Member.parse("a-b@c-1f@12") == Member("a-b@c-1f", 12)
    assert Member.parse("a@b") == Member("a@b") and str(Member("a", 3)) == "a@3"
