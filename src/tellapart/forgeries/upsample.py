"""The grid of a generator's upsampling: half the size, and back by a transposed convolution or by nearest neighbors.

Decoders of generator networks enlarge their activations by inserting zeros and convolving, or by repeating values and
convolving; both leave copies of the spectrum at half the sampling rate. Odena et al. (2016), "Deconvolution and checkerboard
artifacts", Distill; Durall et al. (2020), "Watch your up-convolution", CVPR. The kernel is drawn at random around a smooth one.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from tellapart.forgeries.base import Forgery

_SMOOTH = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16  # enlarges evenly: each of the four phases of a pixel gets the same weight
_UNEVEN = (0.01, 0.08)  # standard deviation of the noise added to its weights
_APART = 0.01  # standard deviation between the kernels of the channels, which are nearly equal
_BOX = (0.2, 0.6)  # weight that a repeated value gives to its eight neighbors


class Upsample(Forgery):
    """The whole image, downsampled and upsampled."""

    def _forge(self, pixels: np.ndarray, donor: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        del donor
        height, width = pixels.shape[:2]
        size = ((width + 1) // 2, (height + 1) // 2)
        small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC), dtype=np.float64)
        enlarge = _transposed if rng.random() < 0.5 else _repeated
        forged = np.stack(enlarge(np.moveaxis(small, 2, 0), rng), axis=2)
        return forged[:height, :width], np.ones((height, width), dtype=bool)


def _transposed(channels: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """A transposed convolution of width 4 and stride 2: (C, h, w) → C of (2h, 2w). The channels have nearly equal kernels."""
    shared = _SMOOTH + rng.normal(0, rng.uniform(*_UNEVEN), (4, 4))
    return [_spread(np.pad(channel, 1, mode="edge"), shared + rng.normal(0, _APART, (4, 4))) for channel in channels]


def _spread(channel: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Add the kernel for every value, with stride 2; the border of one value is cropped."""
    height, width = (2 * side for side in channel.shape)
    found = np.zeros((height + 2, width + 2))
    for y, x in np.ndindex(kernel.shape):
        found[y : y + height : 2, x : x + width : 2] += 4 * kernel[y, x] / kernel.sum() * channel
    return found[3:-3, 3:-3]


def _repeated(channels: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Repeat every value four times, then convolve 3×3: (C, h, w) → C of (2h, 2w)."""
    around = rng.uniform(*_BOX) / 8
    shared = np.full((3, 3), around)
    shared[1, 1] = 1 - 8 * around
    kernels = [shared + rng.normal(0, _APART, (3, 3)) for _ in channels]
    larger = channels.repeat(2, axis=1).repeat(2, axis=2)
    return [ndimage.convolve(c, k / k.sum(), mode="mirror") for c, k in zip(larger, kernels, strict=True)]
