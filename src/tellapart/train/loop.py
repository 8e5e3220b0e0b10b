"""A training run, top to bottom.

uint8 batches come from the decode-once cache, are augmented as a batch and scaled inside the model. After every epoch the
validation part is answered; the best weights (moving average, if asked) are kept. The whole state is written at the end of
each epoch, so Ctrl-C or kill -9 loses at most one, and a resumed run ends with the same weights as one that was never
interrupted (same machine, threads and settings).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tellapart.errors import TellapartError
from tellapart.progress import SILENT, Progress
from tellapart.recipe import Train
from tellapart.train.state import Outcome, State

Batches = Callable[[np.ndarray], Tensor]
Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Part:
    """Images and labels of one split, for the loop.

    Attributes:
        get: Positions (B,) int64 → (B, C, H, W) uint8 or (B, D) float32.
        labels: (N,) int64.
    """

    get: Batches
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def train(
    model: nn.Module, parts: tuple[Part, Part], plan: Train, fabric: Any, *,
    augment: Augment, seed: int, log: Callable[[dict[str, Any]], None], folder: Path | None = None,
    progress: Progress = SILENT,
) -> Outcome:  # fmt: skip
    """Train `model` in place; it ends with its best weights.

    Args:
        model: uint8 (B, C, H, W) or float32 (B, D) → logits (B, classes).
        parts: Training and validation part; without validation images the last epoch counts as the best.
        plan: The recipe's `train` section.
        fabric: Of `open_fabric`.
        augment: Applied to training batches.
        seed: Of shuffling, augmentation and dropout.
        log: Called with one dict an epoch.
        folder: Where the state is kept for resuming.
        progress: Where a bar is shown.

    Raises:
        TellapartError: The loss is no longer finite.
    """
    train_part, valid_part = parts
    state = State(model, plan, fabric, seed, folder)
    epochs = plan.epochs if plan.images is None else min(plan.epochs, max(1, round(plan.images / len(train_part))))
    steps = math.ceil(len(train_part) / plan.batch)
    outcome = state.resume()
    try:
        while outcome.epochs < epochs and outcome.stopped is None:
            epoch = outcome.epochs + 1
            with progress.task(f"epoch {epoch}/{epochs}", len(train_part), "img") as bar:
                figures = _epoch(state, train_part, epochs * steps, augment, bar)
                state.seconds += figures["seconds"]
                figures |= _validate(state, valid_part, plan.batch)
                better = _is_better(figures, outcome.best, plan.best_by)
                entry = {"epoch": epoch, **figures, "best": better}
                bar.advance(0, _in_brief(figures))
            if better:
                state.keep_best(epoch, figures)
                outcome.best_epoch, outcome.best = epoch, figures
            outcome.epochs = epoch
            outcome.stopped = _reason_to_stop(plan, outcome, state)
            log(entry)
            state.save(outcome)
    except KeyboardInterrupt:
        if not outcome.epochs:
            raise
        outcome.stopped, outcome.by_hand = "stopped by hand", True
    state.load_best()
    return outcome


def _reason_to_stop(plan: Train, outcome: Outcome, state: State) -> str | None:
    if plan.patience and outcome.epochs - outcome.best_epoch >= plan.patience:
        return f"no better validation for {plan.patience} epochs"
    return f"{plan.minutes:g} minutes were up" if state.out_of_time() else None


def _epoch(state: State, part: Part, total_steps: int, augment: Augment, bar: Any) -> dict[str, float]:
    """One pass over the training part, cut short when the time is up; the moving sums stay on the device."""
    start, seen = time.perf_counter(), 0
    state.model.train()
    loss_sum = torch.zeros((), device=state.device)
    right = torch.zeros((), device=state.device)
    for rows in _shuffled(len(part), state.plan.batch, state.generator):
        images = augment(part.get(rows), state.generator).to(state.device)
        labels = torch.from_numpy(part.labels[rows]).to(state.device)
        state.set_rate(total_steps, time.perf_counter() - start)
        logits = state.wrapped(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=state.plan.label_smoothing)
        state.optimizer.zero_grad(set_to_none=True)
        state.fabric.backward(loss)
        state.optimizer.step()
        state.step += 1
        state.average()
        loss_sum += loss.detach() * len(rows)
        right += (logits.detach().argmax(1) == labels).sum()
        seen += len(rows)
        bar.advance(len(rows), f"loss {loss.item():.3f}, train {right.item() / seen:.3f}" if state.step % 20 == 0 else "")
        if state.out_of_time(time.perf_counter() - start):
            break
    _check_finite("training", loss_sum.item())
    seconds = time.perf_counter() - start
    return {
        "train_loss": loss_sum.item() / seen,
        "train_accuracy": right.item() / seen,
        "lr": state.optimizer.param_groups[0]["lr"],
        "seconds": seconds,
        "images_per_second": seen / seconds,
    }


def _shuffled(count: int, batch: int, generator: torch.Generator) -> Iterator[np.ndarray]:
    """Every row once, in a new order. A last batch of one image is left to the batch before: batch norm needs two."""
    order = torch.randperm(count, generator=generator).numpy()
    ends = list(range(batch, count, batch))
    if ends and count - ends[-1] == 1:
        ends.pop()
    return iter(np.split(order, ends))


def _validate(state: State, part: Part, batch: int) -> dict[str, float]:
    if not len(part):
        return {}
    logits = forward(state.judged, part.get, len(part), batch, state.device)
    labels = torch.from_numpy(part.labels)
    loss = F.cross_entropy(logits, labels).item()
    _check_finite("validation", loss)  # the last step of an epoch can break the weights unseen by the training loss
    return {
        "valid_loss": loss,
        "valid_accuracy": (logits.argmax(1) == labels).float().mean().item(),
    }


def _check_finite(which: str, loss: float) -> None:
    if not math.isfinite(loss):
        raise TellapartError(f"the {which} loss is no longer a finite number", hint="lower train.optimizer.lr")


@torch.inference_mode()
def forward(model: nn.Module, get: Batches, count: int, batch: int, device: Any, tick: Callable[[int], object] = int) -> Tensor:
    """Logits of rows 0 … count−1 in evaluation mode: (count, classes) float32 on the CPU."""
    model.eval()
    out = []
    for start in range(0, count, batch):
        rows = np.arange(start, min(start + batch, count))
        out.append(model(get(rows).to(device)).float().cpu())
        tick(len(rows))
    return torch.cat(out)


def _is_better(figures: dict[str, float], best: dict[str, float], by: str) -> bool:
    """By accuracy (ties by loss) or by loss; without validation every epoch is better than the one before."""
    if not best or "valid_loss" not in figures:
        return True
    if by == "accuracy" and figures["valid_accuracy"] != best["valid_accuracy"]:
        return figures["valid_accuracy"] > best["valid_accuracy"]
    return figures["valid_loss"] < best["valid_loss"]


def _in_brief(figures: dict[str, float]) -> str:
    valid = f", valid {figures['valid_accuracy']:.3f}" if "valid_accuracy" in figures else ""
    return f"loss {figures['train_loss']:.3f}, train {figures['train_accuracy']:.3f}{valid}"
