"""The training loop: what it keeps, when it stops, and that going on after a stop changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tellapart.errors import TellapartError
from tellapart.recipe import Optimizer, Schedule, Train
from tellapart.train.launch import open_fabric
from tellapart.train.loop import Part, train
from tellapart.train.state import Outcome

_IMAGES = np.random.default_rng(0).integers(0, 255, (50, 4, 4, 1), dtype=np.uint8)
_LABELS = (_IMAGES.reshape(50, -1).mean(axis=1) > 127).astype(np.int64)


def _part(rows: slice) -> Part:
    images, labels = _IMAGES[rows], _LABELS[rows]
    return Part(lambda r: torch.from_numpy(images[r]).permute(0, 3, 1, 2), labels)


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(64, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.float() / 255)


def _jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    return images ^ torch.randint(2, images.shape, generator=generator).to(torch.uint8)


def _run(plan: Train, folder: Path | None = None, *, stop_after: int | None = None, error: type = KeyboardInterrupt) -> tuple:
    """Train once; `stop_after`: raise in the log of that epoch, as a kill between two epochs would."""
    torch.manual_seed(0)
    net, entries = _Net(), []

    def log(entry: dict[str, Any]) -> None:
        entries.append(entry)

    def press(images: Tensor, generator: torch.Generator) -> Tensor:
        if stop_after is not None and len(entries) >= stop_after:
            raise error
        return _jitter(images, generator)

    outcome = train(
        net,
        (_part(slice(0, 33)), _part(slice(33, 50))),
        plan,
        open_fabric("cpu"),
        augment=press,
        seed=1,
        log=log,
        folder=folder,
    )
    return net, outcome, entries


def _plan(**changes: Any) -> Train:
    return Train(**{"epochs": 6, "batch": 8, "optimizer": Optimizer(lr=0.02), "average": 0.8, **changes})


def _weights(net: nn.Module) -> np.ndarray:
    return torch.cat([v.float().flatten() for v in net.state_dict().values()]).numpy()


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "muon"])
def test_resuming_gives_the_weights_of_an_uninterrupted_run(tmp_path: Path, optimizer: str) -> None:
    plan = _plan(optimizer=Optimizer(name=optimizer, lr=0.02))
    whole, _, _ = _run(plan, tmp_path / "whole")
    with pytest.raises(RuntimeError):  # as kill -9 in the middle of epoch 4: nothing is cleaned up
        _run(plan, tmp_path / "cut", stop_after=3, error=RuntimeError)
    resumed, outcome, entries = _run(plan, tmp_path / "cut")
    assert [e["epoch"] for e in entries] == [4, 5, 6]
    assert outcome.epochs == 6
    np.testing.assert_array_equal(_weights(resumed), _weights(whole))


def test_ctrl_c_keeps_the_best_so_far(tmp_path: Path) -> None:
    net, outcome, entries = _run(_plan(), tmp_path, stop_after=3)
    assert outcome.by_hand and outcome.epochs == 3 and len(entries) == 3
    best = max(entries, key=lambda e: (e["valid_accuracy"], -e["valid_loss"]))
    assert outcome.best_epoch == best["epoch"]
    net.eval()
    part = _part(slice(33, 50))
    right = (net(part.get(np.arange(17))).argmax(1).numpy() == part.labels).mean()
    assert right == pytest.approx(best["valid_accuracy"])


def test_ctrl_c_before_the_first_epoch_ends_is_passed_on() -> None:
    with pytest.raises(KeyboardInterrupt):
        _run(_plan(), stop_after=0)


def test_the_weights_at_the_end_are_those_of_the_best_epoch() -> None:
    net, outcome, entries = _run(_plan(optimizer=Optimizer(lr=0.3), epochs=8, average=0.0))
    best = max(entries, key=lambda e: (e["valid_accuracy"], -e["valid_loss"]))
    assert outcome.best_epoch == best["epoch"]
    part = _part(slice(33, 50))
    net.eval()
    assert (net(part.get(np.arange(17))).argmax(1).numpy() == part.labels).mean() == pytest.approx(best["valid_accuracy"])


def test_patience_stops() -> None:
    _, outcome, _ = _run(_plan(optimizer=Optimizer(lr=1e-9), epochs=50, patience=2, average=0.0))
    assert outcome.epochs < 50
    assert outcome.stopped == "no better validation for 2 epochs"


def test_images_in_all_set_the_number_of_epochs() -> None:
    _, outcome, _ = _run(_plan(epochs=20, images=99))
    assert outcome.epochs == 3  # 99 images in all are 3 passes over 33


def test_a_time_bound_ends_the_run() -> None:
    _, outcome, _ = _run(_plan(epochs=1000, minutes=1e-5))
    assert outcome.epochs == 1
    assert "minutes were up" in str(outcome.stopped)


def test_the_rate_follows_the_schedule() -> None:
    _, _, entries = _run(_plan(epochs=4, schedule=Schedule(name="linear", warmup=0, floor=0)))
    steps = 5  # 33 images, batches of 8: the last one has one image and joins … 8+8+8+9
    last = [0.02 * (1 - (e * 4 - 1) / (4 * steps)) for e in (1, 2, 3, 4)]
    assert [e["lr"] for e in entries] == pytest.approx(last)


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(TellapartError, match="finite"):
        _run(_plan(optimizer=Optimizer(name="sgd", lr=1e30), average=0.0))


def test_weights_that_the_last_step_broke_are_an_error() -> None:
    with pytest.raises(TellapartError, match="validation loss is no longer"):
        _run(_plan(optimizer=Optimizer(name="sgd", lr=1e38), schedule=Schedule(warmup=0), batch=64, epochs=1, average=0.0))


def test_the_optimizer_steps_once_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference script of the field steps twice under mixed precision; ours must not."""
    steps = []
    original = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, *a, **k: (steps.append(1), original(self, *a, **k))[1])
    _run(_plan(epochs=1))
    assert len(steps) == 4  # 8 + 8 + 8 + 9 images


def test_every_image_is_seen_once_an_epoch() -> None:
    seen: list[int] = []
    images, labels = _IMAGES[:33], _LABELS[:33]

    def get(rows: np.ndarray) -> Tensor:
        seen.extend(rows.tolist())
        return torch.from_numpy(images[rows]).permute(0, 3, 1, 2)

    nothing = Part(get, labels[:0])
    train(
        _Net(),
        (Part(get, labels), nothing),
        _plan(epochs=1),
        open_fabric("cpu"),
        augment=lambda x, g: x,
        seed=0,
        log=lambda e: None,
    )
    assert sorted(seen) == list(range(33))


def test_an_outcome_survives_a_round_trip() -> None:
    from dataclasses import asdict

    outcome = Outcome(3, 2, {"valid_loss": 0.5}, "because", True)
    assert Outcome(**asdict(outcome)) == outcome
