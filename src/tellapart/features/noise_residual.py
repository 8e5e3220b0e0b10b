"""Statistics of noise residuals: they show the noise of a camera, and its absence in generated images.

Fridrich & Kodovsky 2012, "Rich Models for Steganalysis of Digital Images" (IEEE TIFS 7(3)): high-pass residuals, quantized and
truncated, here as histograms with moments. Correlations between the channels of a residual and between neighboring pixels,
which demosaicing and upsampling cause: Goljan, Fridrich & Cogranne 2014, "Rich Model for Steganalysis of Color Images".
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from pydantic import Field

from tellapart.features._blocks import histograms, map_blocks, to_planes
from tellapart.features._compiled import residual_sums
from tellapart.features._residuals import KERNELS, Kernel, quantized, residuals
from tellapart.features.base import Descriptor
from tellapart.recipe.schema import OptionsModel

_FLAT = 1e-3  # mean square of a residual, in gray levels², below which an image counts as flat


class NoiseResidual(Descriptor):
    """Statistics of each residual: C · (2 · most + 1) frequencies, C · 3 moments, C · 2 + C · (C − 1) / 2 correlations."""

    class Options(OptionsModel):
        """Options of the residuals' statistics."""

        kernels: list[Kernel] = Field(
            default=["first", "second", "third", "square", "wide"],
            min_length=1,
            description="predictors: first, second and third order along a line; square: 3×3; wide: 5×5",
        )
        quantum: float = Field(default=1.0, gt=0, description="width of a bin, in gray levels")
        most: int = Field(
            default=4, ge=1, le=64, description="number of bins on each side of 0; larger residuals go into the last bin"
        )
        moments: bool = Field(default=True, description="add log mean magnitude, log standard deviation and log kurtosis")
        correlations: bool = Field(
            default=True, description="add correlations with the neighboring pixels and between channels"
        )

    options: Options

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """images: (B, H, W, C) uint8 → (B, D) float32.

        Raises:
            RecipeError: The images are smaller than a kernel.
        """
        return map_blocks(images, self._describe)

    def _describe(self, images: np.ndarray) -> np.ndarray:
        o = self.options
        x = to_planes(images).astype(np.int16)
        parts = []
        for kernel in o.kernels:
            weights, scale = KERNELS[kernel]
            for residual in residuals(x, kernel):
                parts.append(histograms(quantized(residual, scale, o.quantum, o.most), 2 * o.most + 1, 1))
                count, channels, height, width = residual.shape
                sums = np.zeros((count, channels, 5 + channels))
                residual_sums(residual, int(255 * np.abs(weights).sum()) // 2, sums)
                sums[:, :, 0] /= scale
                sums[:, :, 2] /= scale**4
                sums[:, :, [1, *range(3, 5 + channels)]] /= scale**2
                power = np.maximum(sums[:, :, 1] / (height * width), _FLAT)
                parts += [_moments(sums, power, height * width)] if o.moments else []
                parts += [_correlations(sums, power, height, width)] if o.correlations else []
        return np.concatenate(parts, axis=1)


def _moments(sums: np.ndarray, power: np.ndarray, pixels: int) -> np.ndarray:
    """Logs of the mean magnitude, of the root mean square, and of the kurtosis about 0: (B, 3 · C).

    Args:
        sums: (B, C, 5 + C), of `residual_sums`.
        power: (B, C), the mean squares.
        pixels: How many.
    """
    magnitude, fourth = sums[:, :, 0] / pixels, sums[:, :, 2] / pixels
    kurtosis = np.log(np.maximum(fourth / power**2, 1))
    return np.concatenate([np.log(magnitude + _FLAT), np.log(power) / 2, kurtosis], axis=1)


def _correlations(sums: np.ndarray, power: np.ndarray, height: int, width: int) -> np.ndarray:
    """Correlations with the right neighbor, with the one below, and between channels: (B, 2 · C + C · (C − 1) / 2)."""
    found = [sums[:, :, 3] / max(1, height * (width - 1)) / power, sums[:, :, 4] / max(1, (height - 1) * width) / power]
    pairs = combinations(range(power.shape[1]), 2)
    found += [(sums[:, b, 5 + a] / (height * width) / np.sqrt(power[:, a] * power[:, b]))[:, None] for a, b in pairs]
    return np.clip(np.concatenate(found, axis=1), -1, 1)
