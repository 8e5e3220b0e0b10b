"""Optimisers by name, Muon included.

Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"): momentum, then the nearest
semi-orthogonal matrix by five Newton–Schulz steps, so that every direction of a weight matrix moves equally fast. For
convolutions and hidden matrices; biases, norms and the last layer are AdamW's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tellapart.recipe import Optimizer

_QUINTIC = (
    3.4445,
    -4.7750,
    2.0315,
)  # Jordan's coefficients: fast, not exact, convergence of all singular values to ≈ 1


def make_optimizer(model: nn.Module, o: Optimizer) -> torch.optim.Optimizer:
    """The optimiser of a recipe. Every group has `peak`, its learning rate at the top of the schedule.

    Weight decay is not applied to biases and norms (vectors), as is usual since He et al. 2019, "Bag of Tricks".
    """
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "lr": o.lr, "peak": o.lr, "weight_decay": o.weight_decay},
        {"params": vectors, "lr": o.lr, "peak": o.lr, "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    if o.name == "sgd":
        return torch.optim.SGD(groups, lr=o.lr, momentum=o.momentum, nesterov=o.momentum > 0)
    if o.name == "adam":
        return torch.optim.Adam(groups, lr=o.lr, betas=(0.9, 0.999))
    if o.name == "adamw":
        return torch.optim.AdamW(groups, lr=o.lr, betas=(0.9, 0.999))
    return _muon(matrices, vectors, o)


def _muon(matrices: Sequence[Tensor], vectors: Sequence[Tensor], o: Optimizer) -> torch.optim.Optimizer:
    hidden, last = matrices[:-1], matrices[-1:]
    shared = {"lr": o.other_lr, "peak": o.other_lr, "muon": False}
    groups = [
        {"params": hidden, "lr": o.lr, "peak": o.lr, "weight_decay": o.weight_decay, "muon": True},
        {"params": last, "weight_decay": o.weight_decay, **shared},
        {"params": vectors, "weight_decay": 0.0, **shared},
    ]
    return Muon([g for g in groups if g["params"]], momentum=o.momentum)


class Muon(torch.optim.Optimizer):
    """Muon for groups with `muon: True`, AdamW (β 0.9, 0.99: runs are short) for the others, in one optimiser."""

    def __init__(self, groups: list[dict[str, Any]], momentum: float = 0.9) -> None:
        super().__init__(groups, {"momentum": momentum, "weight_decay": 0.0, "muon": True})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One step from the gradients that are there."""
        del closure
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                p.mul_(1 - group["lr"] * group["weight_decay"])
                if group["muon"]:
                    self._orthogonal_step(p, group)
                else:
                    self._adam_step(p, group)

    def _orthogonal_step(self, p: Any, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        state["momentum"].lerp_(p.grad, 1 - group["momentum"])
        direction = p.grad.lerp(state["momentum"], group["momentum"])  # Nesterov
        update = orthogonalise(direction.flatten(1)).view_as(p)
        tall = p.shape[0] / p[0].numel()
        p.add_(update, alpha=-group["lr"] * max(1.0, tall) ** 0.5)

    def _adam_step(self, p: Any, group: dict[str, Any]) -> None:
        state = self.state[p]
        if not state:
            state["step"], state["first"], state["second"] = torch.zeros(()), torch.zeros_like(p), torch.zeros_like(p)
        state["step"] += 1
        state["first"].lerp_(p.grad, 0.1)
        state["second"].lerp_(p.grad.square(), 0.01)
        t = float(state["step"])
        first, second = state["first"] / (1 - 0.9**t), state["second"] / (1 - 0.99**t)
        p.addcdiv_(first, second.sqrt_().add_(1e-8), value=-group["lr"])


def orthogonalise(matrix: Tensor, steps: int = 5) -> Tensor:
    """U Vᵀ of the singular value decomposition of `matrix` (R, C), roughly: singular values come to lie in 0.7 … 1.2."""
    a, b, c = _QUINTIC
    x = matrix / (matrix.norm() + 1e-7)
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x if wide else x.T
