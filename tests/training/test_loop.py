"""The training loop: what it keeps, when it stops, and that going on after a stop changes nothing."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tellapart.augmentations.base import Pipeline
from tellapart.errors import SystemLimitError, TellapartError
from tellapart.recipe.schema import Average, Optimizer, Schedule, Train
from tellapart.training.averaging import WeightAverage
from tellapart.training.checkpoints import load_state
from tellapart.training.loop import SplitData, train
from tellapart.training.setup import open_fabric
from tellapart.training.state import Outcome, RunLength, State

_IMAGES = np.random.default_rng(0).integers(0, 255, (50, 4, 4, 1), dtype=np.uint8)
_LABELS = (_IMAGES.reshape(50, -1).mean(axis=1) > 127).astype(np.int64)


def _part(rows: slice) -> SplitData:
    images, labels = _IMAGES[rows], _LABELS[rows]
    return SplitData(lambda r: torch.from_numpy(images[r]).permute(0, 3, 1, 2), labels, 2)


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(),
            nn.Dropout(0.2), nn.Flatten(), nn.Linear(64, 2),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.float() / 255)


class _Jitter(Pipeline):
    """Random low bits; `press` is called before every batch."""

    versions = 1

    def __init__(self, press: Callable[[], None] = lambda: None) -> None:
        self.press = press

    def __call__(self, images: Tensor, generator: torch.Generator, versions: Tensor | None = None) -> Tensor:
        self.press()
        return images ^ torch.randint(2, images.shape, generator=generator).to(torch.uint8)

    def mix(self, images: Tensor, generator: torch.Generator) -> None:
        return None


def _run(config: Train, folder: Path | None = None, *, stop_after: int | None = None, error: type = KeyboardInterrupt) -> tuple:
    """Train once; `stop_after`: raise in the log of that epoch, as a kill between two epochs would."""
    torch.manual_seed(0)
    net, entries = _Net(), []

    def log(entry: dict[str, Any]) -> None:
        entries.append(entry)

    def press() -> None:
        if stop_after is not None and len(entries) >= stop_after:
            raise error

    outcome = train(
        net,
        (_part(slice(0, 33)), _part(slice(33, 50))),
        config,
        open_fabric("cpu"),
        augment=_Jitter(press),
        seed=1,
        log=log,
        folder=folder,
        checkpoints=folder / "checkpoints" if folder else None,
    )
    return net, outcome, entries


def _plan(**changes: Any) -> Train:
    usual = {"epochs": 6, "batch": 8, "optimizer": Optimizer(lr=0.02), "average": Average(name="ema", decay=0.8)}
    return Train(**{**usual, **changes})


def _weights(net: nn.Module) -> np.ndarray:
    return torch.cat([v.float().flatten() for v in net.state_dict().values()]).numpy()


@pytest.mark.parametrize(
    "changes",
    [
        *({"optimizer": Optimizer(name=name, lr=0.02)} for name in ("sgd", "adam", "adamw", "radam", "muon")),
        {"average": Average(name="swa", start=0.3)},
        {"schedule": Schedule(name="plateau", patience=1, warmup=0), "optimizer": Optimizer(lr=0.2)},
        {"schedule": Schedule(name="restarts", every=2), "sampling": "balanced", "clip": 0.5},
        {"class_weights": "balanced", "loss": "focal", "label_smoothing": 0.1, "keep_best": 2},
    ],
    ids=lambda changes: "-".join(f"{k}-{getattr(v, 'name', v)}" for k, v in changes.items()),
)
def test_resuming_gives_the_weights_of_an_uninterrupted_run(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = _plan(**changes)
    whole, _, _ = _run(config, tmp_path / "whole")
    with pytest.raises(RuntimeError):  # as kill -9 in the middle of epoch 4: nothing is cleaned up
        _run(config, tmp_path / "cut", stop_after=3, error=RuntimeError)
    resumed, outcome, entries = _run(config, tmp_path / "cut")
    assert [e["epoch"] for e in entries] == [4, 5, 6]
    assert outcome.epochs == 6
    np.testing.assert_array_equal(_weights(resumed), _weights(whole))


@pytest.mark.parametrize("optimizer", ["sgd", "radam"])
def test_a_kill_between_the_best_weights_and_the_state_changes_nothing(tmp_path: Path, optimizer: str) -> None:
    """The epoch is done again, and is still the best: a plateau must not count it as one without progress."""
    schedule = Schedule(name="plateau", patience=1, warmup=0, factor=0.5)
    config = _plan(schedule=schedule, optimizer=Optimizer(name=optimizer, lr=0.02), epochs=8, average=Average())
    whole, _, entries = _run(config, tmp_path / "whole")
    cut_at = next(e["epoch"] for e in entries[1:] if e["best"])
    save = State.save

    def killed(self: State, outcome: Outcome) -> None:
        if outcome.epochs == cut_at:
            raise RuntimeError
        save(self, outcome)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(State, "save", killed)
        with pytest.raises(RuntimeError):
            _run(config, tmp_path / "cut")
    resumed, _, again = _run(config, tmp_path / "cut")
    assert [(e["lr"], e["best"]) for e in again] == [(e["lr"], e["best"]) for e in entries[cut_at - 1 :]]
    np.testing.assert_array_equal(_weights(resumed), _weights(whole))


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """`ticking(0.1)`: from now on every look at the clock of the loop takes a tenth of a second."""
    return lambda seconds: monkeypatch.setattr(time, "perf_counter", itertools.count(0, seconds).__next__)


def test_swa_begins_when_time_is_short_too(ticking: Callable[[float], None]) -> None:
    """400 epochs are planned, time ends the run after some: the mean is that of its last part all the same."""
    ticking(0.1)
    config = _plan(epochs=400, minutes=0.2, average=Average(name="swa", start=0.5))
    averaged = []
    after_epoch = WeightAverage.after_epoch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WeightAverage, "after_epoch", lambda self, *a: (after_epoch(self, *a), averaged.append(self.epochs))[0])
        _, outcome, _ = _run(config)
    assert outcome.epochs < 400 and averaged[-1] > 0


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
    net, outcome, entries = _run(_plan(optimizer=Optimizer(lr=0.3), epochs=8, average=Average()))
    best = max(entries, key=lambda e: (e["valid_accuracy"], -e["valid_loss"]))
    assert outcome.best_epoch == best["epoch"]
    part = _part(slice(33, 50))
    net.eval()
    assert (net(part.get(np.arange(17))).argmax(1).numpy() == part.labels).mean() == pytest.approx(best["valid_accuracy"])


def test_patience_stops() -> None:
    _, outcome, _ = _run(_plan(optimizer=Optimizer(lr=1e-9), epochs=50, patience=2, average=Average()))
    assert outcome.epochs < 50
    assert outcome.stopped == "stopped early (no improvement on validation for 2 epochs)"


def test_images_in_all_set_the_number_of_epochs() -> None:
    _, outcome, _ = _run(_plan(epochs=20, images=99))
    assert outcome.epochs == 3  # 99 images in all are 3 passes over 33


def test_a_time_bound_ends_the_run_at_a_step_that_is_named(ticking: Callable[[float], None]) -> None:
    ticking(1.0)
    _, outcome, entries = _run(_plan(epochs=1000, minutes=0.1, schedule=Schedule(name="linear", warmup=0, floor=0)))
    assert "stopped by the time limit" in str(outcome.stopped) and outcome.by_clock
    assert (outcome.epochs, outcome.steps) == (1, 3), "seconds 1, 3 and 5 set the rate, second 6 ends the epoch"
    assert entries[-1]["lr"] == pytest.approx(0.02 * (1 - 5 / 6))


@pytest.mark.parametrize("tick", [0.0, 1e-3, 10.0])
def test_a_time_bound_that_is_not_reached_changes_nothing(ticking: Callable[[float], None], tick: float) -> None:
    free, _, _ = _run(_plan())
    ticking(tick)
    bound, outcome, _ = _run(_plan(minutes=1e4))
    assert not outcome.by_clock and outcome.stopped is None
    np.testing.assert_array_equal(_weights(bound), _weights(free))


def test_whether_the_clock_had_a_say_survives_a_kill(tmp_path: Path, ticking: Callable[[float], None]) -> None:
    config = _plan(epochs=12, minutes=3, schedule=Schedule(warmup=0))
    ticking(5.0)
    with pytest.raises(RuntimeError):
        _run(config, tmp_path, stop_after=1, error=RuntimeError)
    ticking(0.0)
    _, outcome, entries = _run(config.model_copy(update={"minutes": 1e4}), tmp_path)
    assert len(entries) == 11 and outcome.by_clock


def test_the_rate_follows_the_schedule() -> None:
    _, _, entries = _run(_plan(epochs=4, schedule=Schedule(name="linear", warmup=0, floor=0)))
    steps = 5  # 33 images, batches of 8: the last one has one image and joins … 8+8+8+9
    last = [0.02 * (1 - (e * 4 - 1) / (4 * steps)) for e in (1, 2, 3, 4)]
    assert [e["lr"] for e in entries] == pytest.approx(last)


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(TellapartError, match="finite"):
        _run(_plan(optimizer=Optimizer(name="sgd", lr=1e30), average=Average()))


def test_weights_that_the_last_step_broke_are_an_error() -> None:
    with pytest.raises(TellapartError, match="validation loss was not finite at step 1, learning rate 1e"):
        config = _plan(optimizer=Optimizer(name="sgd", lr=1e38), schedule=Schedule(warmup=0), batch=64, epochs=1)
        _run(config.model_copy(update={"average": Average()}))


def test_the_optimizer_steps_once_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference script of the field steps twice under mixed precision; ours must not."""
    steps = []
    original = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, *a, **k: (steps.append(1), original(self, *a, **k))[1])
    _run(_plan(epochs=1))
    assert len(steps) == 4  # 8 + 8 + 8 + 9 images


def test_every_image_is_seen_once_an_epoch() -> None:
    seen: list[int] = []
    images, labels, net = _IMAGES[:33], _LABELS[:33], _Net()

    def get(rows: np.ndarray) -> Tensor:
        seen.extend(rows.tolist() if net.training else [])
        return torch.from_numpy(images[rows]).permute(0, 3, 1, 2)

    nothing = SplitData(get, labels[:0], 2)
    train(
        net,
        (SplitData(get, labels, 2), nothing),
        _plan(epochs=1, average=Average()),
        open_fabric("cpu"),
        augment=_Jitter(),
        seed=0,
        log=lambda e: None,
    )
    assert sorted(seen) == list(range(33))


def test_an_outcome_survives_a_round_trip() -> None:
    from dataclasses import asdict

    outcome = Outcome(3, 2, {"valid_loss": 0.5}, "because", True)
    assert Outcome(**asdict(outcome)) == outcome


def test_the_best_epochs_stay_on_disk(tmp_path: Path) -> None:
    _, outcome, entries = _run(_plan(epochs=8, keep_best=3, average=Average()), tmp_path)
    ranked = sorted(entries, key=lambda e: (-e["valid_accuracy"], e["valid_loss"]))
    files = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert files == sorted(f"epoch-{e['epoch']:04d}.safetensors" for e in ranked[:3])
    weights, facts = load_state(tmp_path / "checkpoints" / f"epoch-{outcome.best_epoch:04d}.safetensors")
    assert facts["figures"]["valid_accuracy"] == outcome.best["valid_accuracy"]
    assert set(weights) == set(_Net().state_dict())


def test_one_checkpoint_is_the_run_itself(tmp_path: Path) -> None:
    _run(_plan(), tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def test_a_loss_that_breaks_later_ends_the_run_with_its_best_weights(tmp_path: Path) -> None:
    """The rate explodes in the third epoch: what was learnt before is kept, and the step and the rate are named."""
    calls = []

    class _Breaks(_Jitter):
        def __call__(self, images: Tensor, generator: torch.Generator, versions: Tensor | None = None) -> Tensor:
            calls.extend([1] * net.training)
            if len(calls) == 2 * 4 + 2:  # the second batch of the third epoch
                with torch.no_grad():
                    net.layers[0].weight.fill_(float("nan"))
            return super().__call__(images, generator)

    torch.manual_seed(0)
    net, entries = _Net(), []
    outcome = train(
        net, (_part(slice(0, 33)), _part(slice(33, 50))), _plan(average=Average()), open_fabric("cpu"),
        augment=_Breaks(), seed=1, log=entries.append, folder=tmp_path,
    )  # fmt: skip
    assert outcome.epochs == 2 == len(entries)
    assert outcome.stopped is not None and "not finite at step 10, learning rate 0.0" in outcome.stopped
    assert all(torch.isfinite(v).all() for v in net.state_dict().values())


def test_out_of_memory_says_which_batch_to_try() -> None:
    def press() -> None:
        torch.empty(2**60, dtype=torch.uint8)

    with pytest.raises(SystemLimitError, match="out of memory with 8 images a step") as caught:
        train(
            _Net(), (_part(slice(0, 33)), _part(slice(33, 50))), _plan(), open_fabric("cpu"), augment=_Jitter(press), seed=1,
            log=lambda _: None,
        )  # fmt: skip
    assert "train.batch=4" in (caught.value.hint or "")


def test_balanced_sampling_shows_classes_equally_often() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    images, net = torch.zeros(100, 1, 4, 4, dtype=torch.uint8), _Net()
    seen: list[int] = []

    def get(rows: np.ndarray) -> Tensor:
        seen.extend(labels[rows].tolist() if net.training else [])
        return images[rows]

    config = _plan(epochs=10, batch=50, sampling="balanced", average=Average())
    train(
        net, (SplitData(get, labels, 2), SplitData(get, labels[:0], 2)), config, open_fabric("cpu"), augment=_Jitter(),
        seed=0, log=lambda _: None,
    )  # fmt: skip
    assert len(seen) == 1000
    assert 440 < sum(seen) < 560  # binomial, n = 1,000, p = 1/2: 500 ± 3.8 standard deviations


def test_versions_of_a_union_are_rows_of_an_epoch() -> None:
    asked: list[int] = []

    class _Two(_Jitter):
        versions = 2

        def __call__(self, images: Tensor, generator: torch.Generator, versions: Tensor | None = None) -> Tensor:
            assert versions is not None
            asked.extend(versions.tolist() if net.training else [])
            return images

    net, entries = _Net(), []
    train(
        net, (_part(slice(0, 33)), _part(slice(33, 50))), _plan(epochs=1, average=Average()), open_fabric("cpu"),
        augment=_Two(), seed=1,
        log=entries.append,
    )  # fmt: skip
    assert sorted(asked) == [0] * 33 + [1] * 33


def test_a_run_without_a_measure_of_time_is_bounded_by_images_of_all_versions() -> None:
    assert RunLength.for_config(_plan(epochs=20, images=198), 66) == RunLength(3, 66, 9)
