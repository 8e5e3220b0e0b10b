"""Optimizers and schedules against independent references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tellapart.nets.base import Model, StagedNet
from tellapart.recipe.schema import Optimizer, Schedule, Train
from tellapart.training.freezing import Freezer
from tellapart.training.optimizers import Muon, make_optimizer, orthogonalize
from tellapart.training.schedules import Plateau, lr_factor


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (16, 16)])
def test_orthogonalise_brings_singular_values_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalize(matrix))
    assert 0.3 < values.min() and values.max() < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    cosine = (orthogonalize(matrix) * (u @ v)).sum() / (orthogonalize(matrix).norm() * (u @ v).norm())
    assert cosine > 0.97


def test_muons_second_half_is_adamw() -> None:
    """Groups that Muon leaves to AdamW move as torch's own AdamW moves them."""
    ours, theirs = nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(3, 2))
    muon = Muon([{"params": [ours], "lr": 0.1, "weight_decay": 0.01, "muon": False}])
    adamw = torch.optim.AdamW([theirs], lr=0.1, betas=(0.9, 0.99), weight_decay=0.01)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        gradient = torch.randn(3, 2, generator=generator)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        muon.step()
        adamw.step()
    torch.testing.assert_close(ours, theirs)


def test_muon_takes_hidden_matrices_only() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 8), nn.Linear(8, 2))
    groups = make_optimizer(net, Optimizer(name="muon", lr=0.1)).param_groups
    shapes = [(group["muon"], [tuple(p.shape) for p in group["params"]]) for group in groups]
    assert shapes == [(True, [(4, 1, 3, 3), (8, 4)]), (False, [(4,), (4,), (4,), (8,), (2,)]), (False, [(2, 8)])]


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "radam", "muon"])
def test_every_optimizer_goes_downhill_and_spares_vectors_from_decay(name: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = make_optimizer(net, Optimizer(name=name, lr=0.02, other_lr=0.02, weight_decay=0.1))
    x = torch.randn(64, 5)
    y = x[:, :2] * 2
    losses = []
    for _ in range(150 if name == "radam" else 60):  # it starts slowly, by design
        loss = (net(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 4
    decay = {p.ndim: g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert decay == {1: 0.0, 2: 0.1}


def test_schedules_rise_then_fall_to_the_floor() -> None:
    cosine = Schedule(name="cosine", warmup=0.2, floor=0.1)
    assert lr_factor(0, cosine) == 0
    assert lr_factor(0.1, cosine) == pytest.approx(0.5)
    assert lr_factor(0.2, cosine) == pytest.approx(1)
    assert lr_factor(0.6, cosine) == pytest.approx(0.55)  # half way: the mean of peak and floor
    assert lr_factor(1, cosine) == pytest.approx(0.1) == lr_factor(2, cosine)
    assert lr_factor(0.7, Schedule(name="constant", warmup=0, floor=0)) == 1
    assert lr_factor(0.75, Schedule(name="linear", warmup=0.5, floor=0)) == pytest.approx(0.5)


def test_cosine_equals_torch() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=0.05)
    expected = []
    for _ in range(20):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    schedule = Schedule(name="cosine", warmup=0, floor=0.05)
    np.testing.assert_allclose([lr_factor(t / 20, schedule) for t in range(20)], expected, rtol=1e-6)


def _rates(scheduler: torch.optim.lr_scheduler.LRScheduler, count: int) -> list[float]:
    rates = []
    for _ in range(count):
        rates.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return rates


def _sgd() -> torch.optim.SGD:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)


def test_step_exponential_and_restarts_equal_torch() -> None:
    lr = torch.optim.lr_scheduler
    ours = Schedule(name="step", warmup=0, every=3, factor=0.5)
    np.testing.assert_allclose([lr_factor(e / 20, ours, e) for e in range(20)], _rates(lr.StepLR(_sgd(), 3, 0.5), 20))
    ours = Schedule(name="exponential", warmup=0, every=1, factor=0.9)
    np.testing.assert_allclose([lr_factor(e / 20, ours, e) for e in range(20)], _rates(lr.ExponentialLR(_sgd(), 0.9), 20))
    ours = Schedule(name="restarts", warmup=0, every=4, growth=2, floor=0.1)
    theirs = lr.CosineAnnealingWarmRestarts(_sgd(), 4, 2, eta_min=0.1)
    np.testing.assert_allclose([lr_factor(e / 30, ours, e) for e in range(30)], _rates(theirs, 30), rtol=1e-6)


def test_one_cycle_equals_torch() -> None:
    theirs = torch.optim.lr_scheduler.OneCycleLR(_sgd(), max_lr=1.0, total_steps=101, pct_start=0.3, final_div_factor=1e9)
    ours = Schedule(name="one_cycle", warmup=0.3)
    np.testing.assert_allclose(
        [lr_factor(t / 100, ours) for t in range(0, 30)], _rates(theirs, 100)[:30], atol=0.04
    )  # their end is a step off
    assert lr_factor(0, ours) == pytest.approx(1 / 25)
    assert lr_factor(0.3, ours) == pytest.approx(1)
    assert lr_factor(1, ours) == pytest.approx(0)


def test_a_floor_holds() -> None:
    assert lr_factor(0.9, Schedule(name="exponential", warmup=0, every=1, factor=0.1, floor=0.01), 50) == 0.01
    assert lr_factor(0.9, Schedule(name="step", warmup=0, every=1, factor=0.1, floor=0.01), 50) == 0.01


def test_the_warm_up_stands_before_the_decay() -> None:
    schedule = Schedule(name="exponential", warmup=0.1, every=1, factor=0.5)
    assert lr_factor(0.05, schedule, 1, 2) == pytest.approx(0.5)  # half way up
    assert lr_factor(0.1, schedule, 2, 2) == pytest.approx(1)
    assert lr_factor(0.2, schedule, 4, 2) == pytest.approx(0.25)


def test_a_plateau_equals_torch() -> None:
    losses = [1, 0.9, 0.95, 0.93, 0.92, 0.91, 0.8, 0.81, 0.82, 0.83, 0.84, 0.85, 0.86, 0.87, 0.88, 0.89]
    optimizer = _sgd()
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=2, min_lr=0.05, threshold=0)
    ours, best = Plateau(Schedule(name="plateau", factor=0.3, patience=2, floor=0.05)), float("inf")
    for loss in losses:
        theirs.step(loss)
        ours.after_epoch(loss < best)
        best = min(best, loss)
        assert ours.reduction == pytest.approx(optimizer.param_groups[0]["lr"])
    assert ours.reduction < 0.1  # it fell more than once


def test_layer_decay_shrinks_from_the_head_down() -> None:
    body = StagedNet(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)), nn.Linear(4, 2))
    optimizer = make_optimizer(Model(nn.Identity(), body), Optimizer(name="sgd", lr=1.0), layer_decay=0.5)
    peaks = {id(p): g["peak"] for g in optimizer.param_groups for p in g["params"]}
    assert [peaks[id(layer.weight)] for layer in (body.trunk[0], body.trunk[2], body.head)] == [0.25, 0.5, 1.0]
    assert len(peaks) == 6


def test_frozen_stages_stand_still_and_thaw_from_the_top() -> None:
    trunk = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)) for _ in range(3)))
    model = Model(nn.Identity(), StagedNet(trunk, nn.Linear(4, 2)))
    freezer = Freezer(model, Train(freeze=1.0, unfreeze_every=2))
    learning = []
    for epoch in range(1, 9):
        freezer.start_epoch(epoch)
        learning.append([stage[0].weight.requires_grad for stage in trunk] + [model.body.head.weight.requires_grad])
        assert [stage[1].training for stage in trunk] == learning[-1][:3]  # the norms of frozen stages do not move
    assert learning[0] == learning[1] == [False, False, False, True]
    assert learning[2] == [False, False, True, True]
    assert learning[4] == [False, True, True, True]
    assert learning[6] == learning[7] == [True, True, True, True]


def test_position_embeddings_and_class_tokens_are_no_matrices() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pos_embed = nn.Parameter(torch.zeros(1, 9, 8))
            self.hidden = nn.Linear(8, 8)
            self.out = nn.Linear(8, 2)

    net = Tokens()
    groups = make_optimizer(net, Optimizer(name="muon", weight_decay=0.1)).param_groups
    (own,) = (g for g in groups if any(p is net.pos_embed for p in g["params"]))
    assert (own["muon"], own["weight_decay"]) == (False, 0.0)
