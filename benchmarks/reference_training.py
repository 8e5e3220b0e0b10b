"""The other side of `training_speed.py`: image classification in PyTorch as tutorials and notebooks write it.

The script is all but `write_pictures` and what follows it, by which `training_speed.py` takes hold of it: files opened with
Pillow, torchvision transforms on one image after the other, a DataLoader, NCHW, float32, the allocator as it
is. Nothing here is slow on purpose: the images are few and small enough to lie in the page cache, rotations use torchvision's
default (nearest neighbor, its fastest), and `training_speed.py` runs it with 0 and with 2 workers and counts the faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from tellapart.data.cache import PixelCache
from tellapart.data.scan import scan
from tellapart.recipe.schema import Inputs
from tellapart.types import ImageTable

# The augmentation of both sides.
DEGREES, SHIFT, SCALE = 10, 0.1, (0.9, 1.1)
PADDING = {28: 2, 100: 8}
JITTER, HUE = 0.2, 0.05
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 1e-4
WARM_UP, TAIL = 4, 4  # steps of a block that do not count; the tail: 2 workers hold 2 batches each


class PictureDataset(Dataset):
    """Pairs (float32 (C, H, W), label), read from `paths` when asked for."""

    def __init__(self, paths: Sequence[str], labels: Sequence[int], mode: str, transform: Callable) -> None:
        self.paths, self.labels, self.mode, self.transform = paths, labels, mode, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = Image.open(self.paths[index]).convert(self.mode)
        return self.transform(image), self.labels[index]


def make_transform(size: int, mode: str) -> transforms.Compose:
    """Augmentation and scaling; `mode`: of Pillow, "L" or "RGB"."""
    color = mode == "RGB"
    mean, std = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) if color else ((0.286,), (0.353,))
    return transforms.Compose(
        [
            transforms.RandomHorizontalFlip(),
            transforms.RandomAffine(DEGREES, translate=(SHIFT, SHIFT), scale=SCALE),
            transforms.RandomCrop(size, padding=PADDING[size], padding_mode="reflect"),
            *([transforms.ColorJitter(JITTER, JITTER, JITTER, HUE)] if color else []),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )


def make_loader(paths: Sequence[str], labels: Sequence[int], size: int, mode: str, batch: int, workers: int) -> DataLoader:
    """Shuffled batches: (B, C, H, W) float32 and (B,) int64."""
    dataset = PictureDataset(paths, labels, mode, make_transform(size, mode))
    return DataLoader(dataset, batch_size=batch, shuffle=True, num_workers=workers)


def make_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """AdamW over everything."""
    return torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)


def train_one_epoch(
    model: nn.Module, loader: DataLoader, optimizer: torch.optim.Optimizer, device: torch.device, after_step: Callable
) -> tuple[float, float]:
    """Mean loss and accuracy; `after_step` is the stopwatch's."""
    criterion = nn.CrossEntropyLoss()
    model.train()
    running_loss, correct, total = 0.0, 0, 0
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        outputs = model(images)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item() * len(labels)
        correct += (outputs.argmax(1) == labels).sum().item()
        total += len(labels)
        after_step()
    return running_loss / total, correct / total


def write_pictures(source: Path, folder: Path, size: int, mode: str, count: int) -> str:
    """Write `count` PNG files, one folder a class, spread evenly over the data at `source`, else made up; says which."""
    if source.exists():
        table = scan(source)
        table = table.take(table.labels >= 0)
        table = table.take(np.linspace(0, len(table) - 1, count).astype(np.int64))
        inputs = Inputs(size=size, mode="gray" if mode == "L" else "rgb")
        pixels, labels = PixelCache(folder.parent / "source").images(table, inputs).get(), table.labels
    else:
        generator = np.random.default_rng(0)
        labels = np.arange(count) % 10
        coarse = generator.integers(256, size=(count, 8, 8, 1 if mode == "L" else 3), dtype=np.uint8)
        pixels = coarse.repeat(-(-size // 8), axis=1).repeat(-(-size // 8), axis=2)[:, :size, :size]
    for row, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        path = folder / f"class-{label}" / f"{row:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0] if mode == "L" else image).save(path)
    return f"{count:,} PNG files of {source.name if source.exists() else 'made-up blocks of color: the data are not here'}"


class Reference:
    """The script's net, optimizer and files, for one block of steps after another."""

    def __init__(self, table: ImageTable, net: nn.Module, size: int, mode: str, batch: int) -> None:
        self.paths, self.labels = [str(Path(table.root) / path) for path in table.paths], table.labels.tolist()
        self.model, self.size, self.mode, self.batch = net, size, mode, batch
        self.optimizer = make_optimizer(net)

    def loop(self, workers: int) -> tuple[float, float]:
        """Seconds of a step, and the mean loss, of one epoch."""
        ends: list[float] = []
        loader = make_loader(self.paths, self.labels, self.size, self.mode, self.batch, workers)
        device = torch.device("cpu")
        loss, _ = train_one_epoch(self.model, loader, self.optimizer, device, lambda: ends.append(time.perf_counter()))
        return seconds_of_a_step(ends), loss


def seconds_of_a_step(ends: Sequence[float]) -> float:
    """Mean over the steps that count. `ends`: when each step of a block ended, in seconds."""
    counted = ends[WARM_UP - 1 : -TAIL]
    return (counted[-1] - counted[0]) / (len(counted) - 1)
