"""Statistics of noise residuals: they show the noise of a camera, and its absence in generated images.

Fridrich & Kodovsky 2012, "Rich Models for Steganalysis of Digital Images" (IEEE TIFS 7(3)): high-pass residuals, quantized and
truncated, here as histograms with moments. Correlations between the channels of a residual and between neighboring pixels,
which demosaicing and upsampling cause: Goljan, Fridrich & Cogranne 2014, "Rich Model for Steganalysis of Color Images".
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tellapart.features._blocks import histograms, map_blocks
from tellapart.features._residuals import Kernel, quantized, residuals
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
        parts = []
        for kernel in o.kernels:
            for residual in residuals(images, kernel):
                flat = residual.reshape(*residual.shape[:2], -1)
                products = flat @ flat.transpose(0, 2, 1) / flat.shape[2]
                parts.append(histograms(quantized(residual, o.quantum, o.most), 2 * o.most + 1, 1))
                parts += [_moments(residual, products)] if o.moments else []
                parts += [_correlations(residual, products)] if o.correlations else []
        return np.concatenate(parts, axis=1)


def _moments(r: np.ndarray, products: np.ndarray) -> np.ndarray:
    """(B, C, h, w) → (B, 3 · C): logs of the mean magnitude, of the root mean square, and of the kurtosis about 0.

    `products`: (B, C, C), mean products of the channels.
    """
    second = np.maximum(np.einsum("bcc->bc", products), _FLAT)
    square = (r * r).reshape(*r.shape[:2], -1)
    fourth = np.einsum("bcn,bcn->bc", square, square) / square.shape[2]
    kurtosis = np.log(np.maximum(fourth / second**2, 1))
    return np.concatenate([np.log(np.abs(r).mean(axis=(2, 3)) + _FLAT), np.log(second) / 2, kurtosis], axis=1)


def _correlations(r: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Correlations with the right neighbor, with the one below, and between channels: (B, 2 · C + C · (C − 1) / 2)."""
    power = np.maximum(np.einsum("bcc->bc", products), _FLAT)
    found = [_mean_product(a, b) / power for a, b in ((r[..., :-1], r[..., 1:]), (r[:, :, :-1], r[:, :, 1:]))]
    first, second = np.triu_indices(r.shape[1], 1)
    found.append(products[:, first, second] / np.sqrt(power[:, first] * power[:, second]))
    return np.clip(np.concatenate(found, axis=1), -1, 1)


def _mean_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean of a · b: two (B, C, h, w) → (B, C); 0 if there is no pixel."""
    return np.einsum("bchw,bchw->bc", a, b) / max(1, a.shape[2] * a.shape[3])
