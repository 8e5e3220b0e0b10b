"""A training run, top to bottom.

uint8 batches come from the decode-once cache, are augmented as a batch and normalized inside the model. After every epoch the
model (or its weight average) is evaluated on the validation split, with measured batch norm statistics where running means are
wrong (`batch_norm.py`), and the best weights are kept. The whole state is written at the end of each epoch: Ctrl-C or kill -9
loses at most one epoch, and a resumed run ends with the same weights as an uninterrupted one (same machine, threads and
settings).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
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
from tellapart.training.batch_norm import measured_norms, sample
from tellapart.training.losses import Loss, balanced
from tellapart.training.setup import explain_oom
from tellapart.training.state import Outcome, RunLength, State

Batches = Callable[[np.ndarray], Tensor]


@dataclass(frozen=True)
class SplitData:
    """Images and labels of one split.

    Attributes:
        get: Row numbers (B,) int64 → (B, C, H, W) uint8 or (B, D) float32.
        labels: (N,) int64.
        classes: Number of classes; `labels` may lack some.
    """

    get: Batches
    labels: np.ndarray
    classes: int

    def __len__(self) -> int:
        return len(self.labels)


class NonFiniteLoss(TellapartError):
    """The loss is no longer finite."""


def train(
    model: nn.Module, splits: tuple[SplitData, SplitData], config: Train, fabric: Any, *,
    augment: Pipeline, seed: int, log: Callable[[dict[str, Any]], None], folder: Path | None = None,
    checkpoints: Path | None = None, progress: Progress = SILENT,
) -> Outcome:  # fmt: skip
    """Train `model` in place; afterwards it has its best weights.

    Args:
        model: uint8 (B, C, H, W) or float32 (B, D) → logits (B, classes).
        splits: Training and validation split; without validation images, the last epoch counts as the best.
        config: The `train` section of the recipe.
        fabric: Fabric from `open_fabric`.
        augment: Applied to training batches.
        seed: Random seed for shuffling, augmentation and dropout.
        log: Called once per epoch with a dict of figures.
        folder: Folder for the state, to resume from; None: the state is not stored.
        checkpoints: Folder for the `keep_best` best weights.
        progress: Shows a progress bar.

    Raises:
        NonFiniteLoss: The loss was not finite in the first epoch. In a later epoch, training ends with the best weights so far.
        SystemLimitError: Out of memory; the message suggests a batch size.
    """
    length = RunLength.for_config(config, len(splits[0]) * augment.versions)
    state = State(model, config, fabric, seed, length, folder=folder, checkpoints=checkpoints)
    outcome = state.resume()
    try:
        while outcome.epochs < length.epochs and outcome.stopped is None:
            epoch = outcome.epochs + 1
            figures, weights = _train_and_validate(state, splits, augment, epoch, progress)
            better = state.best.update(epoch, figures, outcome.best, weights)
            if better or epoch == outcome.best_epoch:  # after a kill, the stored best may be this epoch, which is repeated
                better = True
                outcome.best_epoch, outcome.best = epoch, figures
            state.plateau.after_epoch(better)
            outcome.epochs, outcome.steps, outcome.by_clock = epoch, state.step, state.by_clock
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
        return f"stopped early (no improvement on validation for {config.patience} epochs)"
    return f"stopped by the time limit of {config.minutes:g} minutes" if state.out_of_time() else None


def _train_and_validate(
    state: State, splits: tuple[SplitData, SplitData], augment: Pipeline, epoch: int, progress: Progress
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """One epoch with a progress bar; returns the figures of training and validation, and the weights that were validated."""
    train_split, valid_split = splits
    length = state.length
    state.freezer.start_epoch(epoch)
    with progress.task(f"epoch {epoch}/{length.epochs}", length.rows, "img") as bar, explain_oom(state.config.batch):
        figures = _epoch(state, train_split, augment, bar)
        state.seconds += figures["seconds"]
        state.average.after_epoch(state.progress())
        if reason := state.reason_to_measure:
            batches = _norm_batches(state, train_split, augment, epoch)
            with measured_norms(state.average.averaged_model, batches, like=state.model) as weights:
                figures |= _validate(state, valid_split) | {"measured_norms": reason}
        else:
            weights = state.average.averaged_model.state_dict()
            figures |= _validate(state, valid_split)
        bar.advance(0, _summary(figures))
    return figures, weights


def _epoch(state: State, split: SplitData, augment: Pipeline, bar: Any) -> dict[str, float]:
    """One pass over the training split, ended early by the time limit; running sums stay on the device."""
    start, seen = time.perf_counter(), 0
    loss_sum, right = torch.zeros(2, device=state.device)
    loss_of = Loss(state.config, split.labels, split.classes, state.device)
    every = 1 if state.device.type == "cpu" else 20  # reading a loss synchronizes a GPU
    for rows in shuffled_batches(state, split):
        state.set_rate(time.perf_counter() - start)
        labels = torch.from_numpy(split.labels[rows % len(split)]).to(state.device)
        loss, logits = batch_loss(state, split, augment, rows, labels, loss_of)
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
        "images_per_second": seen / max(seconds, 1e-9),
    }


def batch_loss(
    state: State, split: SplitData, augment: Pipeline, rows: np.ndarray, labels: Tensor, loss_of: Loss
) -> tuple[Tensor, Tensor]:
    """The loss of a batch of virtual rows, with its graph, and the detached logits (B, classes)."""
    images = _augmented(state, split, augment, rows, state.generator)
    mix = augment.mix(images, state.generator)
    if mix is None:
        logits = state.wrapped(images)
        return loss_of(logits, labels), logits.detach()
    logits = state.wrapped(mix.images)
    return loss_of(logits, labels, labels[mix.partner], mix.share), logits.detach()


def optimizer_step(state: State, loss: Tensor) -> None:
    """Make one optimizer step."""
    state.optimizer.zero_grad(set_to_none=True)
    state.fabric.backward(loss)
    if state.config.clip:
        state.fabric.clip_gradients(state.wrapped, state.optimizer, max_norm=state.config.clip)
    state.optimizer.step()
    state.step += 1
    state.average.after_step(state.step)


def _augmented(state: State, split: SplitData, augment: Pipeline, rows: np.ndarray, generator: torch.Generator) -> Tensor:
    """The augmented images of virtual rows: row r is version r // N of image r % N."""
    images = split.get(rows % len(split)).to(state.device)
    versions = torch.from_numpy(rows // len(split)) if augment.versions > 1 else None
    return augment(images, generator, versions)


def shuffled_batches(state: State, split: SplitData) -> Iterator[np.ndarray]:
    """Virtual rows in random batches. A last batch of one image is merged into the one before: batch norm needs two."""
    count, batch = state.length.rows, state.config.batch
    if state.config.sampling == "balanced":
        weights = torch.from_numpy(balanced(split.labels, split.classes)[split.labels]).repeat(count // len(split))
        order = torch.multinomial(weights, count, replacement=True, generator=state.generator).numpy()
    else:
        order = torch.randperm(count, generator=state.generator).numpy()
    ends = list(range(batch, count, batch))
    if ends and count - ends[-1] == 1:
        ends.pop()
    return iter(np.split(order, ends))


def _norm_batches(state: State, split: SplitData, augment: Pipeline, epoch: int) -> Iterator[Tensor]:
    """Augmented training images to measure batch norm statistics on; they use a generator of their own."""
    generator = torch.Generator().manual_seed(epoch)
    for rows in sample(state.length.rows, state.config.batch, generator):
        yield _augmented(state, split, augment, rows, generator)


def _validate(state: State, split: SplitData) -> dict[str, float]:
    if not len(split):
        return {}
    logits = forward(state.average.averaged_model, split.get, len(split), state.config.batch, state.device)
    labels = torch.from_numpy(split.labels)
    loss = F.cross_entropy(logits, labels).item()
    _check_finite("validation", loss, state)  # the last step of an epoch can break the weights after the last training loss
    return {
        "valid_loss": loss,
        "valid_accuracy": (logits.argmax(1) == labels).float().mean().item(),
    }


def _check_finite(which: str, loss: float, state: State) -> None:
    if not math.isfinite(loss):
        where = f"at step {state.step:,}, learning rate {state.lr:.3g}"
        hint = "lower train.optimizer.lr, set a longer train.schedule.warmup, or clip the gradient with train.clip"
        raise NonFiniteLoss(f"the {which} loss was not finite {where}", hint=hint)


@torch.inference_mode()
def forward(model: nn.Module, get: Batches, count: int, batch: int, device: Any, tick: Callable[[int], object] = int) -> Tensor:
    """Logits of the rows 0 … count − 1, in evaluation mode: (count, classes) float32 on the CPU."""
    model.eval()
    out = []
    for start in range(0, count, batch):
        rows = np.arange(start, min(start + batch, count))
        out.append(model(get(rows).to(device)).float().cpu())
        tick(len(rows))
    return torch.cat(out)


def _summary(figures: Mapping[str, Any]) -> str:
    valid = f", valid {figures['valid_accuracy']:.3f}" if "valid_accuracy" in figures else ""
    return f"loss {figures['train_loss']:.3f}, train {figures['train_accuracy']:.3f}{valid}"
