"""Backbones side by side: joint vectors, and runs that answer inside a fusion as they did on their own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tellapart import registry
from tellapart.errors import RecipeError, RunError, TellapartError
from tellapart.nets.base import HeadedNet, Model, Normalize
from tellapart.nets.fusion import Fusion
from tellapart.recipe import load as recipes

_STAGED = {"net": "staged", "stages": [{"widths": [4]}, {"widths": [6]}]}
_MLP = {"net": "mlp", "widths": [5]}


def _options(*backbones: dict[str, Any], **options: object) -> Any:
    return Fusion.Options.model_validate({"net": "fusion", "backbones": list(backbones), **options})


def _images(channels: int = 3, size: int = 16) -> torch.Tensor:
    return torch.randint(0, 256, (4, channels, size, size), dtype=torch.uint8)


def _model(options: Any, channels: int = 3, size: int = 16, classes: int = 3) -> Model:
    """As the family network makes it: the scaling is what the net asks for."""
    mean, spread = Fusion.normalize_stats(options)
    scale = 1 / (torch.tensor(spread[:channels]) * 255)
    return Model(Normalize(torch.tensor(mean[:channels]) * 255, scale), Fusion.build((channels, size, size), classes, options))


def _run(folder: Path, size: int = 16, mode: str = "rgb", **classifier: object) -> Model:
    """A finished run of the family network, made by hand."""
    recipe = recipes.parse(
        {"inputs": {"size": size, "mode": mode}, "classifier": {"family": "network", **(classifier or _STAGED)}, "train": {}}
    )
    kind = registry.find("nets", recipe.classifier.options["net"])
    channels = 1 if mode == "gray" else 3
    body: HeadedNet = kind.build((channels, size, size), 5, kind.Options.model_validate(recipe.classifier.options))
    model = Model(Normalize(torch.rand(channels) * 200, torch.rand(channels) / 50), body)
    for module in body.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d) and module.running_mean is not None:
            module.running_mean.uniform_(-0.3, 0.3)
    folder.mkdir()
    (folder / "recipe.yaml").write_text(recipe.dump(), encoding="utf-8")
    save_file(model.state_dict(), folder / "weights.safetensors")
    return model.eval()


def _member(model: Model, number: int = 0) -> Any:
    return model.body.trunk.get_submodule(f"members.{number}")


def test_two_nets_learn_jointly() -> None:
    model = _model(_options(_STAGED, _MLP, dense=[7], dropout=0.1))
    images = _images()
    assert model.eval().body.trunk(model.normalize(images)).shape == (4, 6 + 5)
    assert model(images).shape == (4, 3)
    model.train()(images).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() >= 0 for p in model.parameters())


def test_the_vectors_are_those_of_the_backbones_in_order() -> None:
    model = _model(_options(_STAGED, _MLP)).eval()
    x = model.normalize(_images())
    parts = [_member(model, number)(x) for number in (0, 1)]
    assert torch.equal(model.body.trunk(x), torch.cat(parts, dim=1))


def test_the_outer_scaling_is_none_at_all() -> None:
    images = _images()
    assert torch.equal(_model(_options(_MLP)).normalize(images), images.float())


@pytest.mark.parametrize("net", ["timm", "torchvision"])
def test_a_backbone_with_published_weights_sees_their_scaling(net: str) -> None:
    model = _model(_options({"net": net, "model": "resnet18", "weights": "hub"}, _MLP), size=32)
    normalize = _member(model).normalize
    torch.testing.assert_close(normalize.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]) * 255)
    torch.testing.assert_close(1 / normalize.scale.flatten(), torch.tensor([0.229, 0.224, 0.225]) * 255)
    scaled = _member(model, 1).normalize(torch.tensor([0.0, 255.0]).view(2, 1, 1, 1).expand(-1, 3, -1, -1))
    torch.testing.assert_close(scaled[:, 0, 0, 0], torch.tensor([-1.0, 1.0]))


def test_every_parameter_is_in_one_group_and_the_head_is_last() -> None:
    model = _model(_options({"net": "timm", "model": "resnet18"}, _STAGED), size=32)
    groups = model.body.groups()
    ids = [id(p) for group in groups for p in group]
    assert sorted(ids) == sorted(id(p) for p in model.parameters())
    assert [id(p) for p in groups[-1]] == [id(p) for p in model.body.head.parameters()]
    names = {id(p): name for name, p in model.body.named_parameters()}
    assert {names[id(p)].split(".")[2] for p in groups[-2]} == {"0", "1"}  # the last stages of both
    assert {names[id(p)].split(".")[2] for p in groups[0]} == {"0"}  # the deeper net alone reaches down to here


# --- runs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classifier", [{}, {"net": "timm", "model": "resnet18", "dense": [6]}, {**_MLP, "dropout": 0.2}])
def test_a_run_answers_in_a_fusion_as_on_its_own_and_the_child_needs_it_no_more(tmp_path: Path, classifier: Any) -> None:
    parent = _run(tmp_path / "1-parent", 32, **classifier)
    options = Fusion.resolve(_options({"run": "1-parent"}, _MLP), tmp_path.joinpath)
    model = _model(options, size=32)
    assert Fusion.load_pretrained(model.body, options, tmp_path.joinpath).source == "run: 1-parent"
    images, weights = _images(size=32), model.state_dict()
    expected = parent.body.trunk(parent.normalize(images))
    assert torch.equal(_member(model.eval())(model.normalize(images)), expected)
    shutil.rmtree(tmp_path / "1-parent")
    again = _model(Fusion.Options.model_validate_json(options.model_dump_json()), size=32)
    again.load_state_dict(weights)
    assert torch.equal(_member(again.eval())(again.normalize(images)), expected)


def test_a_gray_run_sees_gray_and_an_rgb_run_sees_three_channels(tmp_path: Path) -> None:
    parent = _run(tmp_path / "1-gray", mode="gray")
    options = Fusion.resolve(_options({"run": "1-gray"}), tmp_path.joinpath)
    model = _model(options).eval()
    Fusion.load_pretrained(model.body, options, tmp_path.joinpath)
    images = _images()
    gray = [np.asarray(Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L")) for image in images]
    expected = parent.body.trunk(parent.normalize(torch.from_numpy(np.stack(gray))[:, None]))
    assert torch.equal(_member(model)(model.normalize(images)), expected)

    parent = _run(tmp_path / "2-rgb")
    options = Fusion.resolve(_options({"run": "2-rgb"}), tmp_path.joinpath)
    model = _model(options, channels=1).eval()
    Fusion.load_pretrained(model.body, options, tmp_path.joinpath)
    images = _images(1)
    expected = parent.body.trunk(parent.normalize(images.expand(-1, 3, -1, -1)))
    torch.testing.assert_close(_member(model)(model.normalize(images)), expected)


def test_a_backbone_of_another_size_gets_its_size(tmp_path: Path) -> None:
    _run(tmp_path / "1-small", 8, **_MLP)
    options = Fusion.resolve(_options({"run": "1-small"}, {**_MLP, "size": [12, 10]}), tmp_path.joinpath)
    model = _model(options)
    assert [(_member(model, n).size) for n in (0, 1)] == [(8, 8), (12, 10)]
    Fusion.load_pretrained(model.body, options, tmp_path.joinpath)
    flat = torch.full((1, 3, 16, 16), 77, dtype=torch.uint8)
    small = _member(model.eval())
    torch.testing.assert_close(small(model.normalize(flat)), small(torch.full((1, 3, 8, 8), 77.0)))


def test_a_fusion_can_be_a_backbone(tmp_path: Path) -> None:
    _run(tmp_path / "1-leaf", **_MLP)
    parent_options = Fusion.resolve(_options({"run": "1-leaf"}, _STAGED), tmp_path.joinpath)
    parent = _model(parent_options).eval()
    Fusion.load_pretrained(parent.body, parent_options, tmp_path.joinpath)
    (tmp_path / "2-fused").mkdir()
    classifier = {"family": "network", **_options({"run": "1-leaf"}, _STAGED).model_dump(mode="json")}
    recipe = recipes.parse({"inputs": {"size": 16, "mode": "rgb"}, "classifier": classifier})
    (tmp_path / "2-fused" / "recipe.yaml").write_text(recipe.dump(), encoding="utf-8")
    save_file(parent.state_dict(), tmp_path / "2-fused" / "weights.safetensors")
    options = Fusion.resolve(_options({"run": "2-fused"}), tmp_path.joinpath)
    model = _model(options).eval()
    Fusion.load_pretrained(model.body, options, tmp_path.joinpath)
    images = _images()
    assert torch.equal(model.body.trunk(model.normalize(images)), parent.body.trunk(parent.normalize(images)))


def test_a_backbone_may_start_from_a_file_or_a_run(tmp_path: Path) -> None:
    parent = _run(tmp_path / "1-parent")
    entry = {**_STAGED, "init_from": "1-parent"}
    model = _model(_options(entry, _MLP))
    assert Fusion.load_pretrained(model.body, _options(entry, _MLP), tmp_path.joinpath).source == "run: 1-parent"
    x = torch.rand(2, 3, 16, 16)
    assert torch.equal(_member(model.eval()).body(x), parent.body.trunk(x))
    assert Fusion.load_pretrained(model.body, _options(_STAGED, _MLP), tmp_path.joinpath).source == "no"

    resnet = registry.find("nets", "timm")
    plain = {"net": "timm", "model": "resnet18"}
    body = resnet.build((3, 32, 32), 2, resnet.Options.model_validate(plain))
    save_file(body.net.state_dict(), tmp_path / "w.safetensors")
    options = _options({**plain, "weights": str(tmp_path / "w.safetensors")}, _MLP)
    model = _model(options, size=32)
    assert Fusion.load_pretrained(model.body, options, tmp_path.joinpath).source.startswith("file: w.safetensors")
    assert torch.equal(_member(model).body.net.conv1.weight, body.net.conv1.weight)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ({}, r"backbones.0: expected \{net: NAME"),
        ({"run": "1-x", "size": 8}, "alone"),
        ({"net": "stagd"}, "did you mean 'staged'"),
        ({**_STAGED, "stagse": []}, "backbones.0: stagse: unknown option 'stagse': did you mean 'stages'"),
        ({**_STAGED, "size": 0}, "backbones.0.size"),
        ({**_STAGED, "size": [1, 2, 3]}, "backbones.0.size"),
        ({**_STAGED, "size": "big"}, "backbones.0.size"),
        ({**_STAGED, "mode": "cmyk"}, "backbones.0.mode"),
        ({**_STAGED, "dense": [4]}, "backbones.0.dense: a backbone has no head"),
        ({"net": "timm", "model": "resnet18", "dropout": 0.5}, "backbones.0.dropout: a backbone has no head"),
        ({**_STAGED, "views": ["flip"]}, "backbones.0.views"),
        ({"net": "timm"}, "backbones.0: model: is required"),
    ],
)
def test_a_bad_backbone_is_named(backbone: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipes.parse({"classifier": {"family": "network", "net": "fusion", "backbones": [backbone, _MLP]}})


def test_runs_that_cannot_be_backbones(tmp_path: Path) -> None:
    (tmp_path / "1-svm").mkdir()
    (tmp_path / "1-svm" / "recipe.yaml").write_text("inputs: {size: 8}\nclassifier: {family: svm}")
    with pytest.raises(RunError, match="expected a network on images, found run 1-svm: svm"):
        Fusion.resolve(_options({"run": "1-svm"}), tmp_path.joinpath)
    _run(tmp_path / "2-net")
    options = Fusion.resolve(_options({"run": "2-net"}), tmp_path.joinpath)
    (tmp_path / "2-net" / "weights.safetensors").unlink()
    with pytest.raises(TellapartError, match=r"weights\.safetensors: no such weights file"):
        Fusion.load_pretrained(_model(options).body, options, tmp_path.joinpath)
    with pytest.raises(RecipeError, match="was not resolved"):
        _model(_options({"run": "2-net"}))


def test_a_resolved_recipe_says_every_option() -> None:
    content = {"classifier": {"family": "network", "net": "fusion", "backbones": [{"net": "timm", "model": "resnet18"}]}}
    recipe = recipes.parse(content)
    assert recipe.classifier.options["backbones"][0]["weights"] == "none"
    assert recipes.parse(recipe.model_dump()).digest() == recipe.digest()
