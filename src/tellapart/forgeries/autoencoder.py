"""The whole image, encoded and decoded by a small convolutional autoencoder that is trained on the real images.

The artifacts of a generator network come largely from its decoder; an autoencoder has a decoder, and its images have the same
content as the real ones, so that content carries no information. Zhang, Karaman & Chang (2019), "Detecting and simulating
artifacts in GAN fake images", WIFS. Two strided convolutions, two transposed ones, mean absolute error, Adam.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from tellapart.forgeries._regions import draw_patch
from tellapart.forgeries.base import SMALLEST, Forgery
from tellapart.io import write_bytes_atomically
from tellapart.progress import SILENT, Progress

_STEPS, _BATCH, _SIDE = 400, 8, 48
_WIDTH, _LATENT = 32, 12  # channels; the code has a quarter as many numbers as the image
_STRIP = 512  # rows of a large image that are processed at a time; a multiple of the net's stride, 4
_SEEN = 16  # margin of a strip in pixels, larger than the net's receptive field
_FILE = "autoencoder.safetensors"


class Autoencoder(Forgery):
    """The reconstruction of an image by an autoencoder."""

    needs_fit: ClassVar[bool] = True

    net: nn.Module | None = None

    def fit(self, pictures: Sequence[np.ndarray], seed: int, folder: Path, progress: Progress = SILENT) -> None:
        """Train on crops; see `Forgery`."""
        torch.manual_seed(seed)
        self.net = _build()
        path = folder / _FILE
        if path.exists():
            self.net.load_state_dict(load_file(path))
            return
        optimizer, rng = torch.optim.Adam(self.net.parameters(), 2e-3), np.random.default_rng(seed)
        with progress.task("training an autoencoder", _STEPS, "step") as task:
            for _ in range(_STEPS):
                chosen = rng.integers(0, len(pictures), _BATCH)
                wanted = _floats(np.stack([draw_patch(pictures[i], _SIDE, rng) for i in chosen]))
                optimizer.zero_grad()
                (self.net(wanted) - wanted).abs().mean().backward()
                optimizer.step()
                task.advance()
        write_bytes_atomically(path, save(self.net.state_dict()), durable=False)

    def _forge(self, pixels: np.ndarray, donor: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        del donor, rng
        if self.net is None:
            raise RuntimeError("call fit() first")
        height, width = pixels.shape[:2]
        more = [(_SEEN, _SEEN + -side % 4) for side in (height, width)]
        padded = np.pad(pixels, [*more, (0, 0)], mode="symmetric" if min(height, width) > SMALLEST else "edge")
        forged = np.empty((padded.shape[0] - 2 * _SEEN, padded.shape[1] - 2 * _SEEN, 3))
        with torch.inference_mode():
            for top in range(0, len(forged), _STRIP):
                strip = _floats(padded[None, top : top + _STRIP + 2 * _SEEN])
                found = self.net(strip)[0, :, _SEEN:-_SEEN, _SEEN:-_SEEN].permute(1, 2, 0)
                forged[top : top + _STRIP] = found.numpy() * 255
        return forged[:height, :width], np.ones((height, width), dtype=bool)


def _build() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, _WIDTH, 4, 2, 1), nn.ReLU(), nn.Conv2d(_WIDTH, 2 * _WIDTH, 4, 2, 1), nn.ReLU(),
        nn.Conv2d(2 * _WIDTH, _LATENT, 1), nn.Conv2d(_LATENT, 2 * _WIDTH, 3, 1, 1), nn.ReLU(),
        nn.ConvTranspose2d(2 * _WIDTH, _WIDTH, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(_WIDTH, 3, 4, 2, 1),
    )  # fmt: skip


def _floats(pixels: np.ndarray) -> Tensor:
    """(B, H, W, 3) uint8 → (B, 3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 255
