"""The best weights of a run: the one that it ends with, and the `keep_best` that stay on disk for a later vote.

`resume/best.safetensors` holds the best of a run under way; `checkpoints/epoch-0012.safetensors` those that stay. Both are
state dicts like `weights.safetensors`, with epoch and figures in their metadata.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from tellapart.recipe.schema import Train
from tellapart.training.checkpoints import load_state, save_state

Figures = dict[str, Any]


def is_better(figures: Figures, best: Figures, by: str) -> bool:
    """By accuracy (ties by loss) or by loss; without validation every epoch is better than the one before."""
    if not best or "valid_loss" not in figures:
        return True
    if by == "accuracy" and figures["valid_accuracy"] != best["valid_accuracy"]:
        return figures["valid_accuracy"] > best["valid_accuracy"]
    return figures["valid_loss"] < best["valid_loss"]


class BestCheckpoints:
    """Remembers the best epochs.

    Attributes:
        weights: State dict of the best epoch so far, on the CPU.
        kept: (epoch, figures) of the checkpoints on disk, the best first; only filled where `plan.keep_best` > 1.
    """

    def __init__(self, plan: Train, folder: Path | None, checkpoints: Path | None) -> None:
        self.plan, self.checkpoints = plan, checkpoints if plan.keep_best > 1 else None
        self.path = folder / "best.safetensors" if folder else None
        self.weights: dict[str, Tensor] = {}
        self.kept: list[tuple[int, Figures]] = []

    def update(self, epoch: int, figures: Figures, best: Figures, weights: dict[str, Tensor]) -> bool:
        """Keep these weights if they are better than `best`, and among the best k on disk; says whether they are the best."""
        better = is_better(figures, best, self.plan.best_by)
        if better:
            self.weights = {k: v.detach().cpu().clone() for k, v in weights.items()}
            if self.path:
                save_state(self.path, self.weights, {"best_epoch": epoch, "best": figures})
        self._keep(epoch, figures, weights)
        return better

    def resume(self) -> Figures:
        """Read the best weights back; gives what was written beside them."""
        if self.path is None:
            return {}
        self.weights, facts = load_state(self.path)
        return facts

    def _keep(self, epoch: int, figures: Figures, weights: dict[str, Tensor]) -> None:
        if self.checkpoints is None:
            return
        place = sum(not is_better(figures, other, self.plan.best_by) for _, other in self.kept)
        if place >= self.plan.keep_best:
            return
        save_state(_file(self.checkpoints, epoch), weights, {"epoch": epoch, "figures": figures})
        self.kept.insert(place, (epoch, figures))
        del self.kept[self.plan.keep_best :]

    def prune(self) -> None:
        """Remove the checkpoints that are not among the best; after the state that says so is on disk."""
        if self.checkpoints is None:
            return
        kept = {_file(self.checkpoints, epoch) for epoch, _ in self.kept}
        for file in set(self.checkpoints.glob("epoch-*.safetensors")) - kept:
            file.unlink(missing_ok=True)


def _file(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch:04d}.safetensors"
