"""The choice of a precision: a rule on the kind of machine and the net."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tellapart.training.setup import choose_precision, is_densely_convolutional

CPU, IMAGE = torch.device("cpu"), torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
AMX, INTEL = {"amx_bf16": True, "avx512_bf16": True, "cpu_name": "Intel Xeon"}, {"avx512_bf16": True, "cpu_name": "Intel Xeon"}
AMD, OLD = {"avx512_bf16": True, "amx_bf16": False, "cpu_name": "AMD EPYC"}, {"avx512_f": True, "cpu_name": "AMD EPYC"}


class _Scaled(nn.Sequential):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images / 255)


def _net(width: int) -> nn.Module:
    return _Scaled(nn.Conv2d(3, width, 3, padding=1), nn.Dropout(0.5), nn.Flatten(), nn.Linear(width * 32 * 32, 2))


def test_what_pays_in_bf16_is_dense_convolutions_of_some_size() -> None:
    assert is_densely_convolutional(_net(64), IMAGE)
    assert not is_densely_convolutional(_net(8), IMAGE), "32 · 32 · 8 · 27 multiplications are too few"
    assert not is_densely_convolutional(_Scaled(nn.Conv2d(3, 66, 3, groups=3), nn.Conv2d(66, 64, 3)), IMAGE), "groups"
    assert not is_densely_convolutional(_Scaled(nn.Flatten(), nn.Linear(3072, 1024)), IMAGE), "no convolution"
    patches = _Scaled(nn.Conv2d(3, 512, 8, 8), nn.Flatten(2), nn.Linear(16, 4096), nn.Flatten(), nn.Linear(512 * 4096, 2))
    assert not is_densely_convolutional(patches, IMAGE), "most of its products are not convolutions"


@pytest.mark.parametrize(
    ("has", "width", "chosen"),
    [(AMX, 64, "bf16"), (AMX, 8, "32"), (AMD, 64, "bf16"), (AMD, 8, "32"), (INTEL, 64, "32"), (OLD, 64, "32"), ({}, 64, "32")],
)
def test_bf16_is_chosen_by_instructions_and_size(
    monkeypatch: pytest.MonkeyPatch, has: dict[str, Any], width: int, chosen: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert choose_precision(_net(width), IMAGE, CPU) == chosen


@pytest.mark.parametrize(("supported", "chosen"), [(True, "bf16"), (False, "32")])
def test_a_gpu_is_asked_whether_it_multiplies_bf16(monkeypatch: pytest.MonkeyPatch, supported: bool, chosen: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: supported and not including_emulation)
    assert choose_precision(_net(64), IMAGE, torch.device("cuda")) == chosen


def test_another_accelerator_trains_in_32_bits() -> None:
    assert choose_precision(_net(64), IMAGE, torch.device("mps")) == "32"


def test_the_rule_changes_neither_weights_nor_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: AMX)
    net = _net(64)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    choose_precision(net, IMAGE, CPU)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
