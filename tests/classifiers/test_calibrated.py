"""The family `calibrated` inside `train`: of a run by id, of a recipe fitted here, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from tellapart.calibration.maps import CALIBRATIONS, find
from tellapart.classifiers.base import Context
from tellapart.classifiers.calibrated import Calibrated
from tellapart.classifiers.linear import Linear
from tellapart.data.memory import from_arrays
from tellapart.errors import DataError, RecipeError, RunError
from tellapart.recipe import load as recipes
from tellapart.types import ImageTable

LINEAR = {"features": {"descriptors": [{"pixels": {}}]}, "classifier": {"family": "linear", "C": [0.1]}}


def table(count: int, split: str, seed: int, classes: int = 2) -> ImageTable:
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    images = (100 + 30 * labels[:, None, None] + generator.normal(0, 40, (count, 6, 6))).clip(0, 255).astype(np.uint8)
    names = ["real", "fake"] if classes == 2 else [f"c{c}" for c in range(classes)]
    return from_arrays(images, labels, names, [f"{split}{i}" for i in range(count)], split=[split] * count)


TRAIN, VALID, TEST = table(60, "train", 0), table(60, "valid", 1), table(20, "test", 2)


def recipe_of(content: dict) -> recipes.Recipe:
    return recipes.parse({"inputs": {"size": 6, "mode": "gray"}, "seed": 0, **content})


def calibrated(**options: object) -> Calibrated:
    return Calibrated(recipe_of({"classifier": {"family": "calibrated", **options}}))


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Linear]:
    """A fitted classifier in a folder, as a run has it."""
    folder = tmp_path_factory.mktemp("runs") / "linear-0"
    fitted = Linear(recipe_of(LINEAR)).fit(TRAIN, VALID, Context())
    fitted.save(folder)
    return folder, fitted


@pytest.fixture
def context(parent: tuple[Path, Linear]) -> Context:
    return Context(parents=lambda name: parent[0].parent / name)


@pytest.mark.parametrize("how", CALIBRATIONS)
def test_the_run_is_opened_and_its_answers_are_mapped(parent, context, how):
    fitted = calibrated(run="linear-0", how=how).fit(TRAIN, VALID, context)
    beneath = parent[1]
    fit: object = find(how).fit(beneath.predict(VALID, context).proba, VALID.labels)
    wanted = fit(beneath.predict(TEST, context).proba)  # type: ignore[operator]
    np.testing.assert_allclose(fitted.predict(TEST, context).proba, wanted, atol=1e-6)
    assert fitted.parameters > beneath.parameters and fitted.pretrained == "no"
    assert any("were fitted on" in note for note in context.notes), "scores on validation flatter, and that is said"


def test_a_recipe_is_fitted_saved_within_and_loaded(tmp_path):
    fitted = calibrated(of=LINEAR, how="platt", prior={"fake": 0.1}, fpr=0.1, unsure=0.8).fit(TRAIN, VALID, Context())
    alone = Linear(recipe_of(LINEAR)).fit(TRAIN, VALID, Context())
    wanted = fitted.decision(alone.predict(TEST, Context()).proba)
    np.testing.assert_allclose(fitted.predict(TEST, Context()).proba, wanted, atol=1e-6)
    fitted.save(tmp_path / "run")
    again = Calibrated.load(tmp_path / "run", recipes.load(str(tmp_path / "run" / "recipe.yaml")))
    np.testing.assert_array_equal(again.predict(TEST, Context()).proba, fitted.predict(TEST, Context()).proba)
    assert again.decision == fitted.decision and again.parameters == fitted.parameters


def test_it_finds_its_run_beside_itself(parent, context):
    folder = parent[0].parent / "linear-platt"
    fitted = calibrated(run="linear-0", how="platt").fit(TRAIN, VALID, context)
    fitted.save(folder)
    again = Calibrated.load(folder, recipes.load(str(folder / "recipe.yaml")))
    elsewhere = Context(parents=lambda name: Path("/nowhere") / name)
    np.testing.assert_array_equal(again.predict(TEST, elsewhere).proba, fitted.predict(TEST, context).proba)


def test_a_missing_run_is_named(tmp_path):
    with pytest.raises(RunError, match="gone, which was calibrated, is missing"):
        calibrated(run="gone").fit(TRAIN, VALID, Context(parents=lambda name: tmp_path / name))


def test_the_threshold_meets_the_numbers_it_was_chosen_on(context):
    """Answers to the validation images, asked again: exactly the rates that were promised, on the very edge too."""
    for how in ("none", "temperature", "platt", "beta"):
        fitted = calibrated(run="linear-0", how=how, prior={"fake": 0.03}, fpr=0.1).fit(TRAIN, VALID, context)
        at = fitted.decision.threshold
        assert at is not None
        called = at(fitted.decision.scores(fitted.predict(VALID, context).proba))
        fake = VALID.labels == 1
        assert (called[fake].mean(), called[~fake].mean()) == (at.tpr.value, at.fpr.value) and at.fpr.value <= 0.1


def test_the_mix_seen_is_that_of_what_was_fitted(context):
    """A map with offsets makes probabilities for validation's mix; without one they stay for the training part's."""
    uneven = VALID.take(np.flatnonzero((VALID.labels == 0) | (np.arange(60) < 20)))
    share = float((uneven.labels == 1).mean())
    for how, seen in (("platt", share), ("temperature", 0.5), ("none", 0.5)):
        fitted = calibrated(run="linear-0", how=how, prior={"fake": 0.1}).fit(TRAIN, uneven, context)
        assert fitted.decision.seen == pytest.approx((1 - seen, seen))
        assert fitted.decision.prior == pytest.approx((0.9, 0.1))


def test_blanked_test_labels_and_other_images_change_nothing(context):
    fitted = calibrated(run="linear-0", how="isotonic").fit(TRAIN, VALID, context)
    together = fitted.predict(TEST, context).proba
    alone = np.concatenate([fitted.predict(TEST.take(np.array([i])), context).proba for i in range(len(TEST))])
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_many_classes_have_sets_and_no_threshold():
    train, valid = table(90, "train", 0, 3), table(60, "valid", 1, 3)
    fitted = calibrated(of=LINEAR, how="vector", unsure=0.8, method="aps", prior={"c0": 0.8}).fit(train, valid, Context())
    assert fitted.decision.sets is not None and fitted.decision.sets.n == 60
    assert fitted.decision.prior == pytest.approx((0.8, 0.1, 0.1))
    with pytest.raises(DataError, match="a threshold needs exactly two classes, found 3: c0, c1, c2"):
        calibrated(of=LINEAR, fpr=0.1).fit(train, valid, Context())


def test_validation_of_one_class_is_said(context):
    one = VALID.take(VALID.labels == 0)
    fitted = calibrated(run="linear-0").fit(TRAIN, one, context)
    assert fitted.decision.map is None and any(note.startswith("not calibrated") for note in context.notes)
    with pytest.raises(DataError, match="all 30 validation images are of one class, real"):
        fitted.cross_fitted(np.full((30, 2), 0.5), one.labels, None)
    with pytest.raises(DataError, match="all images are of one kind"):
        calibrated(run="linear-0", how="none", fpr=0.1).fit(TRAIN, one, context)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected either `run`"),
        ({"run": "a", "of": LINEAR}, "expected either `run`"),
        ({"run": "a", "how": "plat"}, "'temperature', 'platt'"),
        ({"run": "a", "fpr": 0.1, "cost": [1, 5]}, "give `cost` or `fpr`, not both"),
        ({"run": "a", "unsure": 0.9, "band": [0.2, 0.8]}, "give `band` or `unsure`, not both"),
        ({"run": "a", "band": [0.8, 0.2]}, "0 ≤ low ≤ high ≤ 1"),
        ({"run": "a", "cost": [0, 1]}, "costs must be greater than 0"),
        ({"run": "a", "fpr": 5}, "below 1"),
        ({"of": {**LINEAR, "seed": 3}}, "those of the outer recipe"),
        ({"of": {"classifier": {"family": "linaer"}}}, "did you mean 'linear'"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(options, message):
    with pytest.raises(RecipeError, match=message):
        recipes.parse({"classifier": {"family": "calibrated", **options}})


def test_a_recipe_is_dumped_and_read_back():
    recipe = recipe_of({"classifier": {"family": "calibrated", "of": LINEAR, "cost": [5, 1], "band": [0.2, 0.8]}})
    assert recipes.parse(yaml.safe_load(recipe.dump())) == recipe


def test_decision_json_is_plain(context, tmp_path):
    fitted = calibrated(run="linear-0", cost=(5, 1), prior={"fake": 0.02}, band=(0.0, 1.0)).fit(TRAIN, VALID, context)
    fitted.save(tmp_path)
    found = json.loads((tmp_path / "decision.json").read_text("utf-8"))
    assert found["map"]["name"] == "temperature" and found["prior"]["fake"] == pytest.approx(0.02) and found["n"] == 60
    assert "miss 5" in found["threshold"]["reason"] and "2 % positive" in found["threshold"]["reason"]
