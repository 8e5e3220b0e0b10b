"""Frequency spectrum: it shows the traces of upsampling layers and of resampling.

`of: dct`: the type-II DCT, log |coefficient|, as in section 3 of Frank et al. 2020, "Leveraging Frequency Analysis for Deep
Fake Image Recognition" (arXiv:2003.08685). Of the whole image, or as mean and standard deviation over blocks, which does not
depend on where in the image a trace is and keeps the vector short for large images.
`of: radial`: the power spectrum averaged over all directions, log, one value per ring of frequencies: Durall et al. 2020,
"Watch your Up-Convolution: CNN Based Generative Deep Neural Networks are Failing to Reproduce Spectral Distributions"
(arXiv:2003.01826); Dzanic et al. 2020, "Fourier Spectrum Discrepancies in Deep Network Generated Images" (arXiv:1911.06465).
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from tellapart.features._blocks import map_blocks, to_planes
from tellapart.features.base import Descriptor
from tellapart.recipe.schema import OptionsModel

_FLOOR = 1e-3  # added to a magnitude before the log, for pixels in [0, 1]: below the rounding of 8-bit pixels
_COEFFICIENTS = 4 << 20  # held at a time: 16 MiB


class Spectrum(Descriptor):
    """Log spectrum: D = H · W · C (whole image), 2 · block² · C (blocks), or rings · C (radial; empty rings are dropped)."""

    class Options(OptionsModel):
        """Options of the spectrum."""

        of: Literal["dct", "radial"] = Field(
            default="dct", description="dct: every coefficient; radial: the mean power of each ring of frequencies"
        )
        block: int | None = Field(
            default=None, ge=2, description="dct: side of the half-overlapping blocks, in pixels; none: the whole image"
        )
        rings: int | None = Field(
            default=None, ge=2, description="radial: number of rings from frequency 0 to the highest; none: the shorter side"
        )

        @field_validator("block", "rings")
        @classmethod
        def _has_effect(cls, value: int | None, info: ValidationInfo) -> int | None:
            wanted = {"block": "dct", "rings": "radial"}[info.field_name or ""]
            if value is not None and info.data.get("of", wanted) != wanted:
                raise ValueError(f"has an effect only with `of: {wanted}`; remove it")
            return value

    options: Options

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """images: (B, H, W, C) uint8 → (B, D) float32."""
        return map_blocks(images, self._describe)

    def _describe(self, images: np.ndarray) -> np.ndarray:
        block, shortest = self.options.block, min(images.shape[1:3])
        if self.options.of == "radial":
            return _radial(images.astype(np.float32) / 255, self.options.rings or shortest)
        if block is None or block > shortest:
            return _log_dct(images.astype(np.float32) / 255).reshape(len(images), -1)
        return _block_statistics(images, _basis(block))


def _radial(x: np.ndarray, rings: int) -> np.ndarray:
    """Log mean power of each ring: (B, H, W, C) → (B, non-empty rings · C) float32."""
    from scipy.fft import rfft2

    transformed: Any = np.asarray(rfft2(x, axes=(1, 2), norm="ortho"))
    power = (transformed.real**2 + transformed.imag**2).transpose(0, 3, 1, 2).reshape(len(x), x.shape[3], -1)
    averaged = power @ _ring_weights(*x.shape[1:3], rings)
    return np.log(averaged + _FLOOR**2).reshape(len(x), -1)


@cache
def _ring_weights(height: int, width: int, rings: int) -> np.ndarray:
    """Matrix that averages the powers of a half spectrum over rings of equal width: (H · (W // 2 + 1), rings) float32.

    The half that `rfft2` omits mirrors the rest, so all columns count twice, except the first and, for an even width, the last.
    """
    columns = np.arange(width // 2 + 1)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], columns / width)  # cycles a pixel
    counted = np.where((columns == 0) | (2 * columns == width), 1, 2) * np.ones((height, 1))
    place = np.minimum((radius / radius.max() * rings).astype(np.int64), rings - 1).ravel()
    weights = np.zeros((place.size, rings), np.float32)
    weights[np.arange(place.size), place] = counted.ravel()
    total = weights.sum(axis=0)
    return np.ascontiguousarray(weights[:, total > 0] / total[total > 0])


def _log_dct(x: np.ndarray) -> np.ndarray:
    """Log magnitude of the DCT: (B, H, W, C) → the same shape."""
    from scipy.fft import dctn

    spectrum = np.asarray(dctn(x, axes=(1, 2), norm="ortho", workers=-1))
    return np.log(np.abs(spectrum) + _FLOOR).astype(np.float32)


def _basis(block: int) -> np.ndarray:
    """The orthonormal type-II DCT as a matrix: (block, block) float32."""
    from scipy.fft import dct

    return np.asarray(dct(np.eye(block), axis=0, norm="ortho")).astype(np.float32)


def _block_statistics(images: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of log |DCT| over half-overlapping blocks: (B, H, W, C) uint8 → (B, 2 · C · block²) float32.

    The coefficients take 16 times the memory of an image. Those of large images are computed a channel and a few frequencies at
    a time.
    """
    from tellapart.features._compiled import block_magnitudes, plane_statistics  # Numba takes 0.5 s and 60 MB to import

    count, height, width, channels = images.shape
    block, step = len(basis), max(1, len(basis) // 2)
    rows, columns = (height - block) // step + 1, (width - block) // step + 1
    row_of_frequencies = block * rows * (columns + block // step)  # values of one vertical frequency
    found = np.empty((2, count, channels, block, block), np.float32)
    whole = count * channels * block * row_of_frequencies <= _COEFFICIENTS
    pieces = (
        [(slice(None), slice(None))] if whole else [(slice(i, i + 1), slice(c, c + 1)) for i, c in np.ndindex(count, channels)]
    )
    most = block if whole else max(1, _COEFFICIENTS // row_of_frequencies)
    for which, channel in pieces:
        x = to_planes(images[which, :, :, channel]).astype(np.float32)
        x /= 255
        for first in range(0, block, most):
            vertical = basis[first : first + most]
            spectrum = np.empty((*x.shape[:2], len(vertical), block, rows, columns + block // step), np.float32)
            block_magnitudes(x, vertical, basis, step, spectrum)
            spectrum += _FLOOR
            np.log(spectrum, out=spectrum)
            statistics = np.empty((2, int(np.prod(spectrum.shape[:4]))), np.float32)
            plane_statistics(spectrum.reshape(-1, rows, spectrum.shape[-1]), columns, statistics)
            found[:, which, channel, first : first + most] = statistics.reshape(2, *spectrum.shape[:4])
    return found.transpose(1, 0, 2, 4, 3).reshape(count, -1)
