from __future__ import annotations

import re

import yaml

from tellapart.runs.model_card import write_card


def test_a_card_holds_every_score_with_n_and_interval(world, run):
    one = run(world(["real", "fake"]), "svm", family="svm", skill=1.0)
    card = write_card(one)
    for split, part in {"train": "training", "valid": "validation", "test": "test"}.items():
        for metric, score in one.scores(split).items():
            row = rf"\| {metric}[^|]*\| {part} \| {score.value:.3f} \| {score.low:.3f}–{score.high:.3f} \| {score.n} \|"
            assert re.search(row, card), (split, metric)
    assert "positive class is fake" in card and "PCA: 300 components" in card


def test_the_recipe_in_the_card_is_the_recipe(world, run):
    one = run(world(["a", "b"]), "svm")
    (text,) = re.findall(r"```yaml\n(.*?)```", write_card(one), flags=re.DOTALL)
    assert yaml.safe_load(text) == one.recipe


def test_limits_are_told(world, run):
    place = world(["a", "b"])
    assert "not evaluated on test images" in write_card(run(place, "svm", test=False))
    assert "does not use pixels" in write_card(run(place, "metadata", family="metadata", seed=2))


def test_names_cannot_break_the_markdown(world, run):
    card = write_card(run(world(["a\n# b", "<i>|`"]), "svm"))
    assert "\n# b" not in card and "<i>" not in card


def test_many_classes_are_counted_not_listed(world, run):
    card = write_card(run(world([f"c{i:03d}" for i in range(60)], per_class=5, pictures=False), "svm"))
    assert "60 classes" in card and "c059" not in card
