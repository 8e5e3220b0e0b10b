"""Statistics of batch norm, measured on training images where running means are not those of prediction.

In training, a batch norm uses the mean and variance of the batch; for prediction it keeps running means of them. These still
contain their initial values 0 and 1 after few steps, and statistics of earlier weights as long as the learning rate is high;
and where dropout comes before the norm, they contain the variance that it adds, which predictions lack (Li et al. 2019,
"Understanding the disharmony between dropout and batch normalization by variance shift", arXiv:1801.05134). There, the
statistics are measured instead, after each epoch, for the weights that are validated and perhaps kept: the mean over batches of
augmented training images, in prediction mode ("precise" statistics, Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm",
arXiv:2105.07576, section 3). The running means themselves stay, so training is the same in either case.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from tellapart.recipe.schema import Schedule

IMAGES = 1000  # to measure on; all 2,080 of fruits give the same validation loss (docs/training.md)
_FORGOTTEN = 2**-24  # share of an initial value in a running mean that is lost in float32
_FALLEN = 0.1  # share of the peak of the learning rate below which running means follow the weights
_ANNEALED = ("linear", "cosine", "one_cycle")  # schedules that reach their floor at the end of any run


def reason_to_measure(model: nn.Module, steps: int, rate: float, schedule: Schedule) -> str | None:
    """Why running means are not the statistics of prediction, in a few words; None: they are, or nothing has any.

    Under a schedule that ends the run at a low rate, the last epochs need no measuring, and those in the middle are rarely
    kept.

    Args:
        model: The model that is trained.
        steps: Optimizer steps so far, at least 1.
        rate: Learning rate now, as a fraction of its peak.
        schedule: Schedule of the recipe.
    """
    norms = trained_norms(model, model)
    if not norms:
        return None
    if _dropout_before_norm(model):
        return "dropout before batch norm"
    if max((1 - (norm.momentum or 0.0)) ** steps for norm in norms) > _FORGOTTEN:
        return "few steps"
    falls = schedule.name in _ANNEALED and schedule.floor < _FALLEN
    return "the learning rate has not fallen" if rate >= _FALLEN and not falls else None


def _dropout_before_norm(model: nn.Module) -> bool:
    """Whether a batch norm that is trained comes after a dropout layer, in the order in which layers are registered."""
    norms = {id(norm) for norm in trained_norms(model, model)}
    dropped = False
    for module in model.modules():
        dropped = dropped or (isinstance(module, _DropoutNd) and module.p > 0)
        if dropped and id(module) in norms:
            return True
    return False


def is_frozen(module: nn.Module) -> bool:
    """Whether a module has parameters of its own and none of them requires a gradient."""
    own = list(module.parameters(recurse=False))
    return bool(own) and not any(p.requires_grad for p in own)


def trained_norms(model: nn.Module, like: nn.Module) -> list[_BatchNorm]:
    """The batch norms of `model` that have running means and are not frozen in `like`, the model that is trained."""
    pairs = zip(model.modules(), like.modules(), strict=True)
    return [m for m, own in pairs if isinstance(m, _BatchNorm) and m.track_running_stats and not is_frozen(own)]


def sample(count: int, batch: int, generator: torch.Generator) -> list[np.ndarray]:
    """Batches of random rows, (≤ `batch`,) int64 each, to measure statistics on: `IMAGES` rows of `count`, or all."""
    rows = torch.randperm(count, generator=generator).numpy()[:IMAGES]
    return np.array_split(rows, math.ceil(len(rows) / batch))


@contextmanager
def measured_norms(model: nn.Module, batches: Iterable[Tensor], like: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Within the block, the batch norms of `model` use measured statistics; afterwards, their running means again.

    Args:
        model: In evaluation mode afterwards.
        batches: Images, (B, C, H, W) uint8, on the device of the model.
        like: The model that is trained, with the same modules.

    Yields:
        The state dict of `model` with the measured statistics, which stay in it; the weights are not copied.
    """
    norms = trained_norms(model, like)
    running = [dict(norm.named_buffers(recurse=False)) for norm in norms]
    for norm, buffers in zip(norms, running, strict=True):
        for name, buffer in buffers.items():
            setattr(norm, name, torch.empty_like(buffer))
    try:
        update_bn(model, batches, like)
        yield model.state_dict()
    finally:
        for norm, buffers in zip(norms, running, strict=True):
            for name, buffer in buffers.items():
                setattr(norm, name, buffer)


@torch.no_grad()
def update_bn(model: nn.Module, batches: Iterable[Tensor], like: nn.Module) -> None:
    """Replace the running means of the batch norms by statistics measured on `batches`, with equal weights.

    As `torch.optim.swa_utils.update_bn`, but batch norms that are frozen in `like`, the trained model, do not change, and all
    other layers are in prediction mode.

    Args:
        model: Changed in place; in evaluation mode afterwards.
        batches: Images, (B, C, H, W) uint8, on the device of the model.
        like: The model that is trained, with the same modules.
    """
    norms = trained_norms(model, like)
    model.eval()
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch computes a cumulative mean then
        norm.train()
    for images in batches:
        model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
