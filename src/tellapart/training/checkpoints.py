"""Checkpoint files, and the checkpoints of the best epochs.

A checkpoint is one safetensors file: tensors, and JSON facts in its metadata. It is written to a temporary file and renamed, so
a crash leaves the complete state of the last finished epoch. `BestCheckpoints` keeps the weights that a run ends with, and on
disk the `keep_best` best epochs, from which `tellapart combine` can build an ensemble.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from tellapart.io import write_bytes_atomically
from tellapart.recipe.schema import Train


def save_state(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write tensors and JSON facts to one file, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # a copy each: safetensors refuses tensors that share memory, and keeps no strides (channels_last)
    copies = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    content = save(copies, {"facts": json.dumps(facts)})
    write_bytes_atomically(path, content, durable=True)  # else a power cut could leave the new name with no content


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_state` wrote."""
    with safe_open(path, framework="pt") as file:
        return {k: file.get_tensor(k) for k in file.keys()}, json.loads(file.metadata()["facts"])  # noqa: SIM118


def read_facts(path: Path) -> dict[str, Any]:
    """Read the facts of `load_state` without the tensors."""
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["facts"])


def pack_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The tensors of an optimizer, named `optimizer.<parameter>.<name>`."""
    state = optimizer.state_dict()["state"]
    return {f"optimizer.{i}.{k}": torch.as_tensor(v) for i, s in state.items() for k, v in s.items() if v is not None}


def unpack_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restore the tensors from `pack_optimizer`; the parameter groups keep their settings."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, own in optimizer.state.items():
        for name, value in own.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                # files do not store strides, but fused kernels need them: a moment must have the layout of its parameter
                own[name] = torch.empty_like(parameter).copy_(value)


Figures = dict[str, Any]


def is_better(figures: Figures, best: Figures, by: str) -> bool:
    """Compare by accuracy (ties by loss) or by loss; without validation figures, the later epoch is better."""
    if not best or "valid_loss" not in figures:
        return True
    if by == "accuracy" and figures["valid_accuracy"] != best["valid_accuracy"]:
        return figures["valid_accuracy"] > best["valid_accuracy"]
    return figures["valid_loss"] < best["valid_loss"]


class BestCheckpoints:
    """The best epochs of a run.

    Attributes:
        weights: State dict of the best epoch so far, on the CPU.
        kept: (epoch, figures) of the checkpoints on disk, the best first; empty unless `config.keep_best` > 1.
    """

    def __init__(self, config: Train, folder: Path | None, checkpoints: Path | None) -> None:
        self.config, self.checkpoints = config, checkpoints if config.keep_best > 1 else None
        self.path = folder / "best.safetensors" if folder else None
        self.weights: dict[str, Tensor] = {}
        self.kept: list[tuple[int, Figures]] = []

    def update(self, epoch: int, figures: Figures, best: Figures, weights: dict[str, Tensor]) -> bool:
        """Keep these weights if they are better than `best`, or on disk if among the best k; returns whether they are best."""
        better = is_better(figures, best, self.config.best_by)
        if better:
            self.weights = {k: v.detach().cpu().clone() for k, v in weights.items()}
            if self.path:
                save_state(self.path, self.weights, {"best_epoch": epoch, "best": figures})
        self._keep(epoch, figures, weights)
        return better

    def resume(self) -> Figures:
        """Load the best weights from disk; returns the facts stored with them."""
        if self.path is None:
            return {}
        self.weights, facts = load_state(self.path)
        return facts

    def _keep(self, epoch: int, figures: Figures, weights: dict[str, Tensor]) -> None:
        if self.checkpoints is None:
            return
        place = sum(not is_better(figures, other, self.config.best_by) for _, other in self.kept)
        if place >= self.config.keep_best:
            return
        save_state(_file(self.checkpoints, epoch), weights, {"epoch": epoch, "figures": figures})
        self.kept.insert(place, (epoch, figures))
        del self.kept[self.config.keep_best :]

    def prune(self) -> None:
        """Delete checkpoints that are not among the best; call it after the state that lists the best is on disk."""
        if self.checkpoints is None:
            return
        kept = {_file(self.checkpoints, epoch) for epoch, _ in self.kept}
        for file in set(self.checkpoints.glob("epoch-*.safetensors")) - kept:
            file.unlink(missing_ok=True)


def _file(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch:04d}.safetensors"
