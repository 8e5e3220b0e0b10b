"""Weights from files and from earlier runs: what is read, what is refused, what is adapted."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tellapart import registry
from tellapart.errors import DataError, RunError
from tellapart.nets._weights import name_run, read_weights, transfer
from tellapart.nets.base import HeadedNet

_SEEDS = itertools.count()
_STAGES = [{"widths": [4]}, {"widths": [6]}]


def _body(channels: int = 3, classes: int = 3, net: str = "staged", **options: object) -> HeadedNet:
    kind = registry.find("nets", net)
    defaults = {"stages": _STAGES, "dense": [5]} if net == "staged" else {}
    torch.manual_seed(next(_SEEDS))
    return kind.build((channels, 16, 16), classes, kind.Options.model_validate({"net": net, **defaults, **options}))


def _of_run(body: HeadedNet) -> dict[str, Tensor]:
    """As the family network saves it."""
    return {f"body.{name}": tensor.clone() for name, tensor in body.state_dict().items()} | {
        "normalize.mean": torch.zeros(1, 3, 1, 1), "normalize.scale": torch.ones(1, 3, 1, 1),
    }  # fmt: skip


# --- files ------------------------------------------------------------------------------------------------------------

_TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}


@pytest.mark.parametrize("wrap", ["", "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("ending", ["pth", "pt", "ckpt"])
def test_torch_files_are_read_however_training_scripts_wrap_them(tmp_path: Path, wrap: str, prefix: str, ending: str) -> None:
    content: dict[str, object] = {prefix + name: tensor for name, tensor in _TENSORS.items()}
    torch.save({wrap: content, "epoch": 3} if wrap else content, tmp_path / f"w.{ending}")
    found = read_weights(tmp_path / f"w.{ending}")
    assert found.keys() == _TENSORS.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in _TENSORS.items())


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file({f"module.{name}": tensor for name, tensor in _TENSORS.items()}, tmp_path / "w.safetensors")
    found = read_weights(tmp_path / "w.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in _TENSORS.items())


class _Code:
    """A pickle of this would run code when it is read."""

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("was-run"),)


def test_a_pickle_that_needs_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": _Code()}, tmp_path / "w.pth")
    with pytest.raises(DataError, match="contains code, which is not run"):
        read_weights(tmp_path / "w.pth")
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.safetensors", b"not weights at all", "not a valid safetensors file"),
        ("w.safetensors", b"", "not a valid safetensors file"),
        ("w.pth", b"not weights at all", "not a valid weights file"),
        ("w.pth", b"", "not a valid weights file"),
        ("w.onnx", b"", "expected a weights file"),
        ("w", b"", "expected a weights file"),
    ],
)
def test_other_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_weights(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_a_missing_file_a_folder_and_a_file_without_tensors_are_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(DataError, match="no such weights file"):
            read_weights(path)
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(DataError, match="expected tensors by name, found 'epoch'"):
        read_weights(tmp_path / "w.pth")


# --- transfer ---------------------------------------------------------------------------------------------------------


def test_a_transfer_copies_the_trunk_and_the_dense_layer_but_not_the_logits() -> None:
    parent, child = _body(classes=3), _body(classes=4)
    before = child.head[-1].weight.clone()  # type: ignore[index]
    notes = transfer(child, _of_run(parent), False, "run 1-cnn")
    x = torch.rand(2, 3, 16, 16)
    assert torch.equal(child.eval().trunk(x), parent.eval().trunk(x))
    assert torch.equal(child.head[0].weight, parent.head[0].weight)  # type: ignore[index]
    assert torch.equal(child.head[-1].weight, before)  # type: ignore[index]
    assert "run 1-cnn" in notes[0] and notes[-1].endswith("copied: 0")


@pytest.mark.parametrize("same", [True, False])
def test_the_last_layer_comes_along_only_with_the_same_classes(same: bool) -> None:
    parent, child = _body(dropout=0.1), _body(dropout=0.2)
    transfer(child, _of_run(parent), same)
    x = torch.rand(2, 3, 16, 16)
    assert torch.equal(child.eval()(x), parent.eval()(x)) is same


def test_a_head_of_one_layer_alone_is_a_last_layer() -> None:
    parent, child = _body(net="mlp", widths=[4]), _body(net="mlp", widths=[4], dropout=0.5)
    assert transfer(child, _of_run(parent), False)[-1].endswith("none")
    assert not torch.equal(child.head.weight, parent.head.weight)
    transfer(child, _of_run(parent), True)
    assert torch.equal(child.head.weight, parent.head.weight)


def test_a_dense_layer_of_another_width_stays_new() -> None:
    parent, child = _body(), _body(dense=[7])
    before = {name: tensor.clone() for name, tensor in child.head.state_dict().items()}
    assert transfer(child, _of_run(parent), True)[-1].endswith("none")
    assert all(torch.equal(tensor, before[name]) for name, tensor in child.head.state_dict().items())


def test_rgb_becomes_gray_and_gray_becomes_rgb() -> None:
    gray = torch.rand(2, 1, 16, 16)
    rgb = gray.expand(-1, 3, -1, -1)
    parent, child = _body(3), _body(1)
    notes = transfer(child, _of_run(parent), True)
    torch.testing.assert_close(child.eval()(gray), parent.eval()(rgb))
    assert any("0.0.weight was converted" in note for note in notes)
    parent, child = _body(1), _body(3)
    transfer(child, _of_run(parent), True)
    torch.testing.assert_close(child.eval()(rgb), parent.eval()(gray))


def test_another_trunk_is_an_error_that_lists_names_and_both_shapes_and_changes_nothing() -> None:
    parent, child = _body(stages=[{"widths": [4]}, {"widths": [9]}, {"widths": [8]}]), _body()
    before = {name: tensor.clone() for name, tensor in child.state_dict().items()}
    with pytest.raises(RunError, match="run 1-cnn") as caught:
        transfer(child, _of_run(parent), True, "run 1-cnn (net: staged)")
    assert "1.0.weight: expected (6, 4, 3, 3), found (9, 4, 3, 3)" in str(caught.value)
    assert "more" in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in child.state_dict().items())


def test_a_deeper_parent_is_refused_although_all_of_the_child_is_in_it() -> None:
    with pytest.raises(RunError, match="expected nothing, found"):
        transfer(_body(), _of_run(_body(stages=[*_STAGES, {"widths": [8]}])), True)


def test_weights_of_no_run_are_refused() -> None:
    with pytest.raises(RunError, match="expected the weights of a run"):
        transfer(_body(), dict(nn.Linear(2, 2).state_dict()), True)


def test_runs_are_named_with_their_net(tmp_path: Path) -> None:
    folder = tmp_path / "3-fine"
    folder.mkdir()
    assert name_run(folder) == "run 3-fine"
    (folder / "recipe.yaml").write_text("classifier: {family: network, net: timm, model: resnet18}")
    assert name_run(folder) == "run 3-fine (net: timm, model: resnet18)"
    (folder / "recipe.yaml").write_text("classifier: {family: svm}")
    assert name_run(folder) == "run 3-fine (family: svm)"
