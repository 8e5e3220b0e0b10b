"""What a network reads, batch by batch: pixels, feature vectors, or the outputs of its own frozen backbone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tellapart.data.cache import DecodedImages
from tellapart.features._backbone import Backbone
from tellapart.features._vectors import vector_blocks
from tellapart.progress import Progress
from tellapart.training.loop import Batches

_RESIDENT = 0.5  # fraction of a GPU's free memory that the images of one split may take


def pixels_of(images: DecodedImages) -> Batches:
    """A function from row numbers (B,) to (B, C, H, W) uint8."""
    return lambda rows: _batch(images.get(rows))


def resident(images: DecodedImages, device: torch.device) -> Batches:
    """As `pixels_of`; if the device is a GPU with enough memory, the whole split is copied there, and batches gathered."""
    size = len(images) * int(np.prod(images.shape))
    if device.type != "cuda" or not size or size > _RESIDENT * torch.cuda.mem_get_info(device)[0]:
        return pixels_of(images)
    there = torch.cat([_batch(block).to(device) for block in images.blocks()])
    return lambda rows: there[torch.from_numpy(rows).to(device)]


def rows_of(vectors: np.ndarray) -> Batches:
    """A function from row numbers (B,) to (B, D) float32."""
    return lambda rows: torch.from_numpy(vectors[rows])


def outputs(backbone: Backbone, images: DecodedImages, progress: Progress, notes: list[str]) -> Batches:
    """As `rows_of`, of the outputs of a backbone; those of images in the cache are computed once. `notes`: gets remarks."""
    blocks = []
    with progress.task("outputs of the backbone", len(images), "img") as task:
        for block in vector_blocks([("backbone", backbone)], images, notes):
            blocks.append(block)
            task.advance(len(block))
    return rows_of(np.concatenate(blocks) if blocks else backbone(images.get()))  # of no images, too, for the width


def _batch(images: np.ndarray) -> Tensor:
    """(B, H, W, C) uint8 → (B, C, H, W), which is channels_last without a copy."""
    return torch.from_numpy(images).permute(0, 3, 1, 2)
