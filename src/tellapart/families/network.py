"""Networks on images: any architecture of `nets/`, trained by `train/loop.py`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tellapart import registry
from tellapart.augment._contract import Pipeline
from tellapart.data.cache import DecodedImages
from tellapart.data.decode import target_size
from tellapart.families._contract import Classifier, Context
from tellapart.nets._contract import NetOptions, Normalise
from tellapart.recipe import Section, Train
from tellapart.train.launch import open_fabric, tune_allocator
from tellapart.train.loop import Part, forward, train
from tellapart.types import ImageTable

_VIEWS = {"as is": (), "flip": (3,), "upside down": (2,), "turned": (2, 3)}
_SAMPLE = 4096  # images that mean and variance are measured on
_ANSWERED = 256  # images a forward pass, at most


class Network(Classifier):
    """A net trained from scratch."""

    sections: ClassVar[frozenset[str]] = frozenset({"augment", "train"})

    @classmethod
    def options_model(cls, raw: dict[str, Any]) -> type[Section]:
        """The options of the net that `raw` names."""
        name = raw.get("net")
        return registry.find("nets", name).Options if isinstance(name, str) else NetOptions

    def _fit(self, train_table: ImageTable, valid: ImageTable, context: Context) -> None:
        images = self._images(train_table, context)
        plan = self.recipe.train or Train()
        tune_allocator()
        torch.manual_seed(self.recipe.seed)
        self.model = self._build()
        _measure(self.model[0], images)
        parts = Part(_getter(images), train_table.labels), Part(_getter(self._images(valid, context)), valid.labels)
        outcome = train(
            self.model, parts, plan, open_fabric(context.device), augment=Pipeline(self.recipe.augment or []),
            seed=self.recipe.seed, log=context.log, folder=context.folder, progress=context.progress,
        )  # fmt: skip
        if outcome.stopped:
            context.notes.append(
                f"{outcome.stopped} after epoch {outcome.epochs}; the best, epoch {outcome.best_epoch}, is kept"
            )
        context.stopped_by_hand = outcome.by_hand
        self.model.cpu()

    def _proba(self, table: ImageTable, context: Context) -> np.ndarray:
        images = self._images(table, context)
        device = open_fabric(context.device).device
        model = self.model.to(device)
        total = torch.zeros(len(table), len(self.classes))
        if not len(table):
            return total.numpy()
        with context.progress.task("answering", len(table) * len(self.options.views), "img") as task:
            for view in self.options.views:
                get = functools.partial(_view, _getter(images), _VIEWS[view])
                total += forward(model, get, len(table), _ANSWERED, device, task.advance).softmax(1)
        self.model.cpu()
        return total.numpy()

    def _build(self) -> Any:
        inputs = self.recipe.inputs
        channels = 1 if inputs.mode == "grey" else 3
        net = registry.find("nets", self.options.net)
        body = net.build((channels, *target_size(inputs)), len(self.classes), self.options)
        return nn.Sequential(Normalise(torch.zeros(channels), torch.ones(channels)), body)

    @property
    def parameters(self) -> int:
        """Trained values."""
        return sum(p.numel() for p in self.model.parameters())

    def _save(self, folder: Path) -> None:
        save_file({k: v.contiguous() for k, v in self.model.state_dict().items()}, folder / "weights.safetensors")

    def _load(self, folder: Path) -> None:
        self.model = self._build()
        self.model.load_state_dict(load_file(folder / "weights.safetensors"))
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _getter(images: DecodedImages) -> Any:
    """Positions (B,) → (B, C, H, W) uint8. The cache holds (B, H, W, C), so this is channels_last without a copy."""

    def get(rows: np.ndarray) -> Tensor:
        return torch.from_numpy(images.get(rows)).permute(0, 3, 1, 2)

    return get


def _view(get: Any, axes: tuple[int, ...], rows: np.ndarray) -> Tensor:
    images = get(rows)
    return images.flip(axes) if axes else images


def _measure(layer: Normalise, images: DecodedImages) -> None:
    """Set the normalising layer from up to 4,096 training images, spread evenly."""
    rows = np.unique(np.linspace(0, len(images) - 1, min(len(images), _SAMPLE)).astype(np.int64))
    pixels = images.get(rows).reshape(-1, images.shape[2])
    mean, spread = pixels.mean(axis=0, dtype=np.float64), pixels.std(axis=0, dtype=np.float64)
    layer.mean.copy_(torch.from_numpy(mean).view(1, -1, 1, 1))
    layer.scale.copy_(torch.from_numpy(1 / np.maximum(spread, 1.0)).view(1, -1, 1, 1))
