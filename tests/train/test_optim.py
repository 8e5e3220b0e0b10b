"""Optimisers and schedules against independent references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tellapart.recipe import Optimizer, Schedule
from tellapart.train.optim import Muon, make_optimizer, orthogonalise
from tellapart.train.schedule import share


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (16, 16)])
def test_orthogonalise_brings_singular_values_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrix))
    assert 0.3 < values.min() and values.max() < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    cosine = (orthogonalise(matrix) * (u @ v)).sum() / (orthogonalise(matrix).norm() * (u @ v).norm())
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
    shapes = {group["muon"]: [tuple(p.shape) for p in group["params"]] for group in groups[:2]}
    assert shapes == {True: [(4, 1, 3, 3), (8, 4)], False: [(2, 8)]}


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "muon"])
def test_every_optimizer_goes_downhill_and_spares_vectors_from_decay(name: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = make_optimizer(net, Optimizer(name=name, lr=0.02, weight_decay=0.1))
    x = torch.randn(64, 5)
    y = x[:, :1] * 2
    losses = []
    for _ in range(60):
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
    assert share(0, cosine) == 0
    assert share(0.1, cosine) == pytest.approx(0.5)
    assert share(0.2, cosine) == pytest.approx(1)
    assert share(0.6, cosine) == pytest.approx(0.55)  # half way: the mean of peak and floor
    assert share(1, cosine) == pytest.approx(0.1) == share(2, cosine)
    assert share(0.7, Schedule(name="constant", warmup=0, floor=0)) == 1
    assert share(0.75, Schedule(name="linear", warmup=0.5, floor=0)) == pytest.approx(0.5)


def test_cosine_equals_torch() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=0.05)
    expected = []
    for _ in range(20):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    schedule = Schedule(name="cosine", warmup=0, floor=0.05)
    np.testing.assert_allclose([share(t / 20, schedule) for t in range(20)], expected, rtol=1e-6)
