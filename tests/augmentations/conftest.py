"""Images to augment: a smooth one, whose pixels can be told between, and one with detail; none near black or white."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor


@pytest.fixture(scope="package")
def smooth() -> Tensor:
    """(8, 3, 48, 64) uint8: slow waves, each image and channel its own."""
    y, x = np.mgrid[:48, :64]
    waves = [
        128 + 60 * np.sin(x * (0.05 + 0.01 * c) + 0.4 * n) * np.cos(y * 0.06 + 0.3 * c) for n in range(8) for c in range(3)
    ]
    images = torch.from_numpy(np.stack(waves).reshape(8, 3, 48, 64).round().astype(np.uint8))
    return images.contiguous(memory_format=torch.channels_last)


@pytest.fixture(scope="package")
def detailed(smooth: Tensor) -> Tensor:
    """(8, 3, 48, 64) uint8: the waves with noise on them."""
    noise = np.random.default_rng(0).integers(-40, 41, smooth.shape)
    return torch.from_numpy((smooth.numpy() + noise).astype(np.uint8)).contiguous(memory_format=torch.channels_last)
