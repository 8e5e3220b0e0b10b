"""Measured statistics of batch norm: as torch measures them, only where running means lag, and never in the way of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn as torch_update_bn

from tellapart.augmentations.base import Pipeline
from tellapart.recipe.schema import Average, Optimizer, Schedule, Train
from tellapart.training import batch_norm
from tellapart.training.batch_norm import IMAGES, measured_norms, reason_to_measure, sample, trained_norms, update_bn
from tellapart.training.checkpoints import load_state
from tellapart.training.loop import SplitData, forward, train
from tellapart.training.setup import open_fabric

_IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (60, 1, 4, 4), dtype=np.uint8))
_LABELS = (_IMAGES.float().mean((1, 2, 3)) > 127).long().numpy()
_COSINE, _CONSTANT = Schedule(warmup=0), Schedule(name="constant", warmup=0)


class _Net(nn.Module):
    def __init__(self, momentum: float | None = 0.1, norm: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        norms = [nn.BatchNorm2d(4, momentum=momentum)] if norm else []
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3), *norms, nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(16, 2)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.float())  # 0 … 255: far from the initial mean and variance


def _split(rows: slice) -> SplitData:
    images = _IMAGES[rows]
    return SplitData(lambda r: images[torch.from_numpy(r)], _LABELS[rows], 2)


def _run(net: nn.Module, folder: Path | None = None, kill_after: int = 0, **changes: Any) -> list[dict[str, Any]]:
    """Train on 40 images, validate on 20; `kill_after`: as a kill in the log of that epoch."""
    entries: list[dict[str, Any]] = []

    def log(entry: dict[str, Any]) -> None:
        entries.append(entry)
        if entry["epoch"] == kill_after:
            raise RuntimeError

    usual = {"epochs": 3, "batch": 8, "optimizer": Optimizer(lr=1e-3), "schedule": _COSINE, "keep_best": 3}
    train(
        net, (_split(slice(40)), _split(slice(40, 60))), Train(**{**usual, **changes}), open_fabric("cpu"),
        augment=Pipeline([{"flip": {}}]), seed=1, log=log, folder=folder,
        checkpoints=folder / "checkpoints" if folder else None,
    )  # fmt: skip
    return entries


def _batches() -> list[Tensor]:
    return list(_IMAGES.split(12))


def test_statistics_are_those_of_torch() -> None:
    ours, theirs = _Net(), _Net().eval()
    update_bn(ours, _batches(), like=ours)
    torch_update_bn(_batches(), theirs)
    torch.testing.assert_close(ours.layers[1].running_var, theirs.layers[1].running_var)
    assert ours.layers[1].momentum == 0.1 and not ours.training


def test_statistics_are_measured_as_predictions_meet_them() -> None:
    """A dropout before the norm is off; torch's function measures with the dropout on, where variances are larger."""
    net = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(3))
    inputs = torch.ones(40, 3) + torch.randn(40, 3, generator=torch.Generator().manual_seed(0)) / 10
    update_bn(net, inputs.split(20), like=net)
    torch.testing.assert_close(net[1].running_mean, inputs.mean(0))
    assert net[1].running_var.max() < 0.02


def test_frozen_norms_do_not_change() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.BatchNorm2d(2))
    net[1].requires_grad_(False)
    assert trained_norms(net, net) == [net[2]]
    before = net[1].running_var.clone()
    update_bn(net, [_IMAGES.float()], like=net)
    assert torch.equal(net[1].running_var, before) and not torch.equal(net[2].running_var, before)


def test_running_means_are_back_after_the_block() -> None:
    net = _Net()
    norm = net.layers[1]
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    with measured_norms(net, _batches(), like=net) as weights:
        inside = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    with torch.no_grad():
        net.layers[0].weight.zero_()  # weights are not copied, statistics are
    for name, buffer in norm.named_buffers():
        assert torch.equal(buffer, before[name])
        assert torch.equal(weights[f"layers.1.{name}"], inside[name]) and not torch.equal(inside[name], before[name])
    assert not weights["layers.0.weight"].any()
    assert net.state_dict().keys() == weights.keys()


def test_running_means_are_back_after_an_error() -> None:
    net = _Net()
    before = net.layers[1].running_mean
    with pytest.raises(RuntimeError), measured_norms(net, _batches(), like=net):
        raise RuntimeError
    assert net.layers[1].running_mean is before and net.layers[1].momentum == 0.1


@pytest.mark.parametrize(("count", "expected"), [(5, 5), (40, 40), (IMAGES + 300, IMAGES)])
def test_the_sample_has_no_row_twice_and_no_batch_that_is_too_large(count: int, expected: int) -> None:
    batches = sample(count, 32, torch.Generator().manual_seed(0))
    rows = np.concatenate(batches)
    assert len(rows) == len(set(rows)) == expected
    assert max(map(len, batches)) <= 32 and rows.max() < count


def test_short_runs_predict_with_statistics_of_their_last_weights() -> None:
    """Five steps from a variance of 1 to one of thousands: running means are not half of it."""
    net = _Net()
    entries = _run(net, epochs=1)
    assert {entry["measured_norms"] for entry in entries} == {"few steps"}
    kept = net.layers[1].running_var.clone()
    update_bn(net, [_IMAGES[:40]], like=net)
    torch.testing.assert_close(kept, net.layers[1].running_var, rtol=0.25, atol=0.0)


def test_the_weights_kept_are_those_that_were_validated(tmp_path: Path) -> None:
    net = _Net()
    entries = _run(net, tmp_path)
    valid = _split(slice(40, 60))
    for entry in entries:
        other = _Net()
        other.load_state_dict(load_state(tmp_path / "checkpoints" / f"epoch-{entry['epoch']:04d}.safetensors")[0])
        logits = forward(other, valid.get, 20, 8, "cpu")
        assert nn.functional.cross_entropy(logits, torch.from_numpy(valid.labels)).item() == pytest.approx(entry["valid_loss"])


@pytest.mark.parametrize(
    "average", [Average(), Average(name="ema", decay=0.9), Average(name="swa", start=0.3)], ids=lambda a: a.name
)
def test_a_killed_run_ends_with_the_same_statistics(tmp_path: Path, average: Average) -> None:
    whole, resumed = _Net(), _Net()
    entries = _run(whole, tmp_path / "whole", average=average)
    with pytest.raises(RuntimeError):
        _run(_Net(), tmp_path / "cut", kill_after=2, average=average)
    again = _run(resumed, tmp_path / "cut", average=average)
    assert [entry["valid_loss"] for entry in again] == [entry["valid_loss"] for entry in entries[len(entries) - len(again) :]]
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


@pytest.mark.parametrize(
    ("schedule", "steps", "rate", "reason"),
    [
        (_COSINE, 157, 0.5, "few steps"),  # 0.9 ** 157 of the initial values can still be told in float32
        (_COSINE, 158, 0.5, None),  # the rate is high, but the run ends at a low one
        (Schedule(floor=0.2), 158, 0.5, "the learning rate has not fallen"),
        (_CONSTANT, 10**6, 1.0, "the learning rate has not fallen"),
        (Schedule(name="plateau"), 158, 0.125, "the learning rate has not fallen"),
        (Schedule(name="plateau"), 158, 0.0625, None),
        (Schedule(name="exponential"), 158, 0.05, None),
    ],
    ids=str,
)
def test_the_rule(schedule: Schedule, steps: int, rate: float, reason: str | None) -> None:
    model = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2, momentum=0.3), nn.Dropout(0.5))  # the slowest norm counts
    assert reason_to_measure(model, steps, rate, schedule) == reason
    assert reason_to_measure(model.requires_grad_(False), steps, rate, schedule) is None


def test_slow_norms_take_longer_and_cumulative_ones_forever() -> None:
    slow, cumulative = nn.BatchNorm2d(2, momentum=0.01), nn.BatchNorm2d(2, momentum=None)
    assert [reason_to_measure(slow, steps, 0.0, _COSINE) for steps in (1655, 1656)] == ["few steps", None]
    assert reason_to_measure(cumulative, 10**6, 0.0, _COSINE) == "few steps"


def test_dropout_before_a_norm_always_counts() -> None:
    """Not after the last norm, where most nets have it; not with a rate of zero; not before a frozen norm."""
    convolution, norm = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)
    cases = {
        "before": ([nn.Dropout(0.1), convolution, norm], "dropout before batch norm"),
        "between": ([norm, nn.Dropout2d(0.5), nn.BatchNorm2d(2)], "dropout before batch norm"),
        "after": ([convolution, norm, nn.Dropout(0.5)], None),
        "zero": ([nn.Dropout(0.0), norm], None),
        "frozen": ([norm, nn.Dropout(0.5), nn.BatchNorm2d(2).requires_grad_(False)], None),
    }
    for name, (layers, reason) in cases.items():
        assert reason_to_measure(nn.Sequential(*layers), 10**6, 0.0, _COSINE) == reason, name


def test_measuring_changes_nothing_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """With momentum 0.9, initial values are forgotten after eight steps; an epoch has five. What is not measured is as it
    was.
    """
    some = _run(net := _Net(0.9), epochs=4)
    monkeypatch.setattr(batch_norm, "_FORGOTTEN", 1.0)
    none = _run(other := _Net(0.9), epochs=4)
    assert ["measured_norms" in entry for entry in some] == [True, False, False, False]
    assert not any("measured_norms" in entry for entry in none)
    assert some[0]["valid_loss"] != none[0]["valid_loss"]
    times = ("seconds", "images_per_second")
    for one, two in zip(some, none, strict=True):
        figures = [k for k in one if k not in (*times, "best", "measured_norms") and (one is not some[0] or "valid" not in k)]
        assert [one[k] for k in figures] == [two[k] for k in figures]
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_nets_without_batch_norm_measure_nothing() -> None:
    assert not any("measured_norms" in entry for entry in _run(_Net(norm=False)))


def test_a_mean_over_epochs_is_always_measured() -> None:
    entries = _run(_Net(0.9), epochs=6, average=Average(name="swa", start=0.5))
    few, mean = "few steps", "mean of the weights of several epochs"
    assert [entry.get("measured_norms") for entry in entries] == [few, None, None, mean, mean, mean]
