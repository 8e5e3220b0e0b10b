"""Networks through the verbs: weights of earlier runs, vectors as inputs, checkpoints, views, and errors in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import tellapart as ta
from tellapart.classifiers._tta import views
from tellapart.errors import RecipeError, RunError
from tellapart.recipe.load import parse
from tellapart.types import ImageTable

_STAGES = [{"widths": [6]}, {"widths": [8]}]


def _table(classes: int, channels: int = 3, count: int = 48) -> ImageTable:
    """One bright stripe a class."""
    shape = (count, 12, 12) if channels == 1 else (count, 12, 12, 3)
    images = np.random.default_rng(classes).integers(0, 90, shape, dtype=np.uint8)
    labels = np.arange(count) % classes
    images[np.arange(count), labels * 2] += 150
    return ta.from_arrays(images, labels)


def _recipe(**changes: Any) -> Any:
    classifier = {"family": "network", "net": "staged", "stages": _STAGES} | changes.pop("classifier", {})
    train = {"epochs": 2, "batch": 16, "optimizer": {"name": "sgd", "lr": 0.05}} | changes.pop("train", {})
    return parse({"inputs": {"size": 12, "mode": "rgb"}, "classifier": classifier, "train": train, **changes})


@pytest.fixture
def settings(tmp_path: Path) -> ta.Settings:
    """Runs in a folder of their own."""
    return ta.Settings(runs=tmp_path / "runs", device="cpu")


def _trunk(run: ta.Run) -> dict[str, torch.Tensor]:
    weights = load_file(run.folder / "weights.safetensors")
    return {k: v for k, v in weights.items() if k.startswith("body.trunk")}


def test_a_run_starts_from_the_trunk_of_a_run_with_other_classes(settings: ta.Settings) -> None:
    parent = ta.train(_table(3), _recipe(), settings=settings)
    frozen = {"freeze": 1.0, "epochs": 1}
    child = ta.train(_table(5), _recipe(classifier={"init_from": parent.id}, train=frozen), settings=settings)
    assert child.cost["pretrained"] == f"run: {parent.id}"
    for name, tensor in _trunk(child).items():  # nothing but the head learnt, so the trunk is still the parent's
        torch.testing.assert_close(tensor, _trunk(parent)[name])
    scratch = ta.train(_table(5), _recipe(train=frozen), settings=settings)
    assert scratch.cost["pretrained"] == "no"
    assert any(not torch.equal(t, _trunk(parent)[n]) for n, t in _trunk(scratch).items())


def test_gray_pictures_start_from_a_run_on_color(settings: ta.Settings) -> None:
    parent = ta.train(_table(3), _recipe(), settings=settings)
    gray = _recipe(inputs={"size": 12, "mode": "gray"}, classifier={"init_from": parent.id}, train={"freeze": 1.0})
    child = ta.train(_table(3, channels=1), gray, settings=settings)
    first = "body.trunk.0.0.weight"
    torch.testing.assert_close(_trunk(child)[first], _trunk(parent)[first].sum(1, keepdim=True))


def test_a_finished_run_answers_without_its_parent(settings: ta.Settings, tmp_path: Path) -> None:
    parent = ta.train(_table(3), _recipe(), settings=settings)
    child = ta.train(_table(4), _recipe(classifier={"init_from": parent.id}), settings=settings)
    parent.folder.rename(tmp_path / "elsewhere")
    assert ta.predict(child, _table(4), settings=settings).proba.shape == (48, 4)


def test_another_net_cannot_start_from_it(settings: ta.Settings) -> None:
    parent = ta.train(_table(3), _recipe(), settings=settings)
    with pytest.raises(RunError, match=r"expected \(5, 3, 3, 3\), found \(6, 3, 3, 3\)"):
        ta.train(_table(3), _recipe(classifier={"init_from": parent.id, "stages": [{"widths": [5]}]}), settings=settings)
    with pytest.raises(RunError, match="unknown run 'nosuchrun'"):
        ta.train(_table(3), _recipe(classifier={"init_from": "nosuchrun"}), settings=settings)


def test_checkpoints_of_the_best_epochs_stay_with_the_run(settings: ta.Settings) -> None:
    run = ta.train(_table(3), _recipe(train={"epochs": 5, "keep_best": 2}), settings=settings)
    files = sorted((run.folder / "checkpoints").iterdir())
    assert len(files) == 2
    best = load_file(run.folder / "weights.safetensors")
    assert any(all(torch.equal(best[k], v) for k, v in load_file(f).items()) for f in files)


def test_vectors_are_not_augmented(settings: ta.Settings) -> None:
    content = {"features": {"descriptors": [{"pixels": {}}]}, "augment": [{"flip": {}}], "train": {"epochs": 1}}
    with pytest.raises(RecipeError, match="augment"):
        ta.train(_table(3), parse({"classifier": {"family": "network", "net": "mlp"}, **content}), settings=settings)


def test_a_convolutional_net_takes_no_vectors(settings: ta.Settings) -> None:
    with pytest.raises(RecipeError, match="images, not feature vectors"):
        ta.train(_table(3), _recipe(features={"descriptors": [{"pixels": {}}]}), settings=settings)


def test_views_are_what_they_are_called() -> None:
    image = torch.arange(2 * 3 * 16 * 16).remainder(256).to(torch.uint8).view(2, 3, 16, 16)
    found = {name: views([name]) for name in ("as is", "flip", "upside down", "turned", "five crops", "closer", "farther")}
    assert torch.equal(found["as is"][0](image), image)
    assert torch.equal(found["flip"][0](image), image.flip(3))
    assert torch.equal(found["turned"][0](image), image.rot90(2, (2, 3)))
    assert len(found["five crops"]) == 5
    assert all(view(image).shape == image.shape and view(image).dtype == torch.uint8 for v in found.values() for view in v)


def test_closer_shows_the_center_larger_and_farther_more_than_the_image() -> None:
    ring = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    ring[:, :, 0, :] = ring[:, :, -1, :] = ring[:, :, :, 0] = ring[:, :, :, -1] = 255
    (closer,), (farther,) = views(["closer"]), views(["farther"])
    assert closer(ring).max() == 0  # the border is outside
    assert farther(ring)[0, 0, 16].argmax() > 0  # the border has moved inwards


def test_augmentation_never_touches_validation_or_test(settings: ta.Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image that an augmentation sees is a training image."""
    from tellapart.augmentations.flip import Flip

    seen = []
    draw = Flip.draw
    monkeypatch.setattr(
        Flip, "draw", lambda self, count, size, generator: (seen.append(count), draw(self, count, size, generator))[1]
    )
    run = ta.train(_table(3), _recipe(augment=[{"flip": {}}], train={"epochs": 3}), settings=settings)
    # one image before, to see that its size fits; after each epoch the same images once more, for the batch norms
    assert sum(seen) == 1 + 3 * 2 * sum(run.data["counts"]["train"].values())
    before = len(seen)
    ta.predict(run, _table(3), settings=settings)
    assert len(seen) == before


def test_a_window_that_the_net_was_not_built_for_is_named(settings: ta.Settings) -> None:
    recipe = parse({"classifier": {"family": "network", "net": "mlp"}, "augment": [{"random_crop": {"size": 8}}], "train": {}})
    with pytest.raises(RecipeError, match="augment returns images of 8×8, but net: mlp was built for 12×12"):
        ta.train(_table(3), recipe, settings=settings)


def test_a_run_on_vectors_is_no_parent(settings: ta.Settings) -> None:
    content = {"features": {"descriptors": [{"pixels": {}}], "pca": 4}, "train": {"epochs": 1}}
    parent = ta.train(_table(3), parse({"classifier": {"family": "network", "net": "mlp"}, **content}), settings=settings)
    child = parse({"classifier": {"family": "network", "net": "mlp", "init_from": parent.id}, "train": {"epochs": 1}})
    with pytest.raises(RunError, match="it has `features`"):
        ta.train(_table(3), child, settings=settings)


def test_the_order_of_augmentations_is_checked_before_anything_is_decoded(settings: ta.Settings) -> None:
    with pytest.raises(RecipeError, match="mixup"):
        ta.train(_table(3), _recipe(augment=[{"mixup": {}}, {"flip": {}}]), settings=settings)
    assert not settings.runs.exists()


def test_a_short_run_says_that_its_norms_were_measured(settings: ta.Settings) -> None:
    """Not so without batch norms, or with none that are trained."""
    short = ta.train(_table(3), _recipe(), settings=settings)
    assert short.cost["batch_norm"] == "measured: few steps"
    assert "batch norm statistics were measured on training images: few steps" in short.cost["notes"]
    assert [entry["measured_norms"] for entry in short.log] == ["few steps"] * 2
    frozen = _recipe(classifier={"init_from": short.id}, train={"freeze": 1.0})
    for recipe in (frozen, _recipe(classifier={"stages": [{"widths": [6], "batch_norm": False}]})):
        run = ta.train(_table(5), recipe, settings=settings)
        assert "batch_norm" not in run.cost and not any("batch norm" in note for note in run.cost["notes"])
