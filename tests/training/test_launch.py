"""The choice of a precision."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tellapart.training import setup


@pytest.fixture
def images() -> torch.Tensor:
    return torch.zeros(4, 3, 8, 8, dtype=torch.uint8)


class _Scaled(nn.Sequential):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images / 255)


@pytest.fixture
def net() -> nn.Module:
    return _Scaled(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(144, 2))


def test_a_processor_without_the_instructions_is_not_tried(net, images, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    monkeypatch.setattr(setup, "_seconds_of_a_step", lambda *_: pytest.fail("tried"))
    assert setup.faster_precision(net, images, 2) == "32"


@pytest.mark.parametrize(
    ("single", "half", "chosen"),
    [(0.1, 0.05, "bf16"), (0.1, 0.099, "32"), (0.1, 0.2, "32"), (0.009, 0.001, "32")],
    ids=["faster", "no gain", "slower", "too short to tell"],
)
def test_bf16_is_taken_where_it_is_worth_it(net, images, monkeypatch, single, half, chosen):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(setup, "_seconds_of_a_step", lambda *given: half if given[-1] else single)
    assert setup.faster_precision(net, images, 2) == chosen


def test_the_trial_changes_neither_weights_nor_draws(net, images, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    before = {name: value.clone() for name, value in net.state_dict().items()}
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    setup.faster_precision(net, images, 2)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
