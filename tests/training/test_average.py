"""Averages of weights against torch's own."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from tellapart.recipe.schema import Average
from tellapart.training.averaging import WeightAverage


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def _disturb(net: nn.Module) -> None:
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn_like(p))


def test_swa_equals_torch() -> None:
    net = _net()
    ours, theirs = WeightAverage(net, Average(name="swa", start=0.5)), AveragedModel(net)
    for epoch in range(1, 9):
        _disturb(net)
        ours.after_epoch(epoch / 8)
        assert ours.is_mean_of_epochs == (epoch > 4)  # its statistics are measured, as torch's update_bn does
        assert (ours.averaged_model is net) == (epoch <= 4)  # until the start, the weights themselves count
        if epoch > 4:
            theirs.update_parameters(net)
    for mine, other in zip(ours.averaged_model.parameters(), theirs.module.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


def test_ema_follows_its_rule() -> None:
    net = _net()
    average = WeightAverage(net, Average(name="ema", decay=0.5))
    expected = net[0].weight.detach().clone()
    for step in range(1, 30):
        _disturb(net)
        average.after_step(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * net[0].weight.detach()
    torch.testing.assert_close(average.averaged_model[0].weight, expected)


def test_without_an_average_the_model_is_its_own() -> None:
    net = _net()
    average = WeightAverage(net, Average())
    average.after_step(1)
    average.after_epoch(1.0)
    assert average.averaged_model is net
