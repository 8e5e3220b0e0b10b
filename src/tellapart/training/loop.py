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

from tellapart.augmentations.base import Pipeline
from tellapart.errors import TellapartError
from tellapart.progress import SILENT, Progress
from tellapart.recipe.schema import Train
from tellapart.training.losses import Loss, balanced
from tellapart.training.setup import explain_oom
from tellapart.training.state import Outcome, RunLength, State

Batches = Callable[[np.ndarray], Tensor]
_NORM_BATCHES = 50  # batches that an averaged net's batch norms are measured on


@dataclass(frozen=True)
class SplitData:
    """Images and labels of one split, for the loop.

    Attributes:
        get: Positions (B,) int64 → (B, C, H, W) uint8 or (B, D) float32.
        labels: (N,) int64.
        classes: How many there are; `labels` may lack some.
    """

    get: Batches
    labels: np.ndarray
    classes: int

    def __len__(self) -> int:
        return len(self.labels)


class NonFiniteLoss(TellapartError):
    """The loss is no longer a finite number."""


def train(
    model: nn.Module, parts: tuple[SplitData, SplitData], config: Train, fabric: Any, *,
    augment: Pipeline, seed: int, log: Callable[[dict[str, Any]], None], folder: Path | None = None,
    checkpoints: Path | None = None, progress: Progress = SILENT,
) -> Outcome:  # fmt: skip
    """Train `model` in place; it ends with its best weights.

    Args:
        model: uint8 (B, C, H, W) or float32 (B, D) → logits (B, classes).
        parts: Training and validation part; without validation images the last epoch counts as the best.
        config: The recipe's `train` section.
        fabric: Of `open_fabric`.
        augment: Applied to training batches.
        seed: Of shuffling, augmentation and dropout.
        log: Called with one dict an epoch.
        folder: Where the state is kept for resuming.
        checkpoints: Where the `keep_best` best weights stay.
        progress: Where a bar is shown.

    Raises:
        NotFinite: The loss was no longer finite before one epoch was through; after that, the run ends with its best weights.
        SystemLimitError: Out of memory; says which batch size to try.
    """
    length = RunLength.for_config(config, len(parts[0]) * augment.versions)
    state = State(model, config, fabric, seed, length, folder=folder, checkpoints=checkpoints)
    outcome = state.resume()
    try:
        while outcome.epochs < length.epochs and outcome.stopped is None:
            epoch = outcome.epochs + 1
            figures = _train_and_validate(state, parts, augment, epoch, progress)
            better = state.best.update(epoch, figures, outcome.best, state.average.averaged_model.state_dict())
            if better or epoch == outcome.best_epoch:  # after a kill the best may be this very epoch, done again
                better = True
                outcome.best_epoch, outcome.best = epoch, figures
            state.plateau.after_epoch(better)
            outcome.epochs = epoch
            outcome.stopped = _reason_to_stop(config, outcome, state)
            log({"epoch": epoch, **figures, "best": better})
            state.save(outcome)
            state.best.prune()
    except KeyboardInterrupt:
        if not outcome.epochs:
            raise
        outcome.stopped, outcome.by_hand = "stopped by hand", True
    except NonFiniteLoss as error:
        if not outcome.epochs:
            raise
        outcome.stopped = error.message
    state.load_best()
    return outcome


def _reason_to_stop(config: Train, outcome: Outcome, state: State) -> str | None:
    if config.patience and outcome.epochs - outcome.best_epoch >= config.patience:
        return f"no better validation for {config.patience} epochs"
    return f"{config.minutes:g} minutes were up" if state.out_of_time() else None


def _train_and_validate(
    state: State, parts: tuple[SplitData, SplitData], augment: Pipeline, epoch: int, progress: Progress
) -> dict[str, float]:
    """One epoch with its bar: figures of training and validation."""
    train_part, valid_part = parts
    length = state.length
    state.freezer.start_epoch(epoch)
    with progress.task(f"epoch {epoch}/{length.epochs}", length.rows, "img") as bar, explain_oom(state.config.batch):
        figures = _epoch(state, train_part, augment, bar)
        state.seconds += figures["seconds"]
        state.average.after_epoch(state.progress(), _for_norms(state, train_part, augment, epoch))
        figures |= _validate(state, valid_part)
        bar.advance(0, _in_brief(figures))
    return figures


def _epoch(state: State, part: SplitData, augment: Pipeline, bar: Any) -> dict[str, float]:
    """One pass over the training part, cut short when the time is up; the moving sums stay on the device."""
    start, seen = time.perf_counter(), 0
    loss_sum, right = torch.zeros(2, device=state.device)
    loss_of = Loss(state.config, part.labels, part.classes, state.device)
    every = 1 if state.device.type == "cpu" else 20  # looking at a loss makes a GPU wait
    for rows in shuffled_batches(state, part):
        state.set_rate(time.perf_counter() - start)
        labels = torch.from_numpy(part.labels[rows % len(part)]).to(state.device)
        loss, logits = batch_loss(state, part, augment, rows, labels, loss_of)
        optimizer_step(state, loss)
        loss_sum += loss.detach() * len(rows)
        right += (logits.argmax(1) == labels).sum()
        seen += len(rows)
        if state.step % every == 0:
            _check_finite("training", loss.item(), state)
        bar.advance(len(rows), f"loss {loss.item():.3f}, train {right.item() / seen:.3f}" if state.step % 20 == 0 else "")
        if state.out_of_time(time.perf_counter() - start):
            break
    _check_finite("training", loss_sum.item(), state)
    seconds = time.perf_counter() - start
    return {
        "train_loss": loss_sum.item() / seen,
        "train_accuracy": right.item() / seen,
        "lr": state.lr,
        "seconds": seconds,
        "images_per_second": seen / seconds,
    }


def batch_loss(
    state: State, part: SplitData, augment: Pipeline, rows: np.ndarray, labels: Tensor, loss_of: Loss
) -> tuple[Tensor, Tensor]:
    """The loss of a batch of virtual rows, to be descended, and its detached logits (B, classes)."""
    images = _augmented(state, part, augment, rows, state.generator)
    mix = augment.mix(images, state.generator)
    if mix is None:
        logits = state.wrapped(images)
        return loss_of(logits, labels), logits.detach()
    logits = state.wrapped(mix.images)
    return loss_of(logits, labels, labels[mix.partner], mix.share), logits.detach()


def optimizer_step(state: State, loss: Tensor) -> None:
    """One step of the optimizer."""
    state.optimizer.zero_grad(set_to_none=True)
    state.fabric.backward(loss)
    if state.config.clip:
        state.fabric.clip_gradients(state.wrapped, state.optimizer, max_norm=state.config.clip)
    state.optimizer.step()
    state.step += 1
    state.average.after_step(state.step)


def _augmented(state: State, part: SplitData, augment: Pipeline, rows: np.ndarray, generator: torch.Generator) -> Tensor:
    """The images of virtual rows: row r is version r // N of image r % N."""
    images = part.get(rows % len(part)).to(state.device)
    versions = torch.from_numpy(rows // len(part)) if augment.versions > 1 else None
    return augment(images, generator, versions)


def shuffled_batches(state: State, part: SplitData) -> Iterator[np.ndarray]:
    """Virtual rows in batches. A last batch of one image is left to the batch before: batch norm needs two."""
    count, batch = state.length.rows, state.config.batch
    if state.config.sampling == "balanced":
        chance = torch.from_numpy(balanced(part.labels, part.classes)[part.labels]).repeat(count // len(part))
        order = torch.multinomial(chance, count, replacement=True, generator=state.generator).numpy()
    else:
        order = torch.randperm(count, generator=state.generator).numpy()
    ends = list(range(batch, count, batch))
    if ends and count - ends[-1] == 1:
        ends.pop()
    return iter(np.split(order, ends))


def _for_norms(state: State, part: SplitData, augment: Pipeline, epoch: int) -> Iterator[Tensor]:
    """Augmented training images that an averaged net's batch norms are measured on; their draws disturb no others."""
    generator = torch.Generator().manual_seed(epoch)
    order = torch.randperm(state.length.rows, generator=generator).numpy()
    for rows in np.array_split(order, math.ceil(len(order) / state.config.batch))[:_NORM_BATCHES]:
        yield _augmented(state, part, augment, rows, generator)


def _validate(state: State, part: SplitData) -> dict[str, float]:
    if not len(part):
        return {}
    logits = forward(state.average.averaged_model, part.get, len(part), state.config.batch, state.device)
    labels = torch.from_numpy(part.labels)
    loss = F.cross_entropy(logits, labels).item()
    _check_finite("validation", loss, state)  # the last step of an epoch can break the weights unseen by the training loss
    return {
        "valid_loss": loss,
        "valid_accuracy": (logits.argmax(1) == labels).float().mean().item(),
    }


def _check_finite(which: str, loss: float, state: State) -> None:
    if not math.isfinite(loss):
        where = f"at step {state.step:,}, learning rate {state.lr:.3g}"
        hint = "lower train.optimizer.lr, give a longer train.schedule.warmup, or bound the gradient with train.clip"
        raise NonFiniteLoss(f"the {which} loss was no longer a finite number {where}", hint=hint)


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


def _in_brief(figures: dict[str, float]) -> str:
    valid = f", valid {figures['valid_accuracy']:.3f}" if "valid_accuracy" in figures else ""
    return f"loss {figures['train_loss']:.3f}, train {figures['train_accuracy']:.3f}{valid}"
