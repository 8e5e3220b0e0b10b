"""Log-scaled DCT spectrum, where upsampling layers and resampling leave their traces.

Frank et al. 2020, "Leveraging Frequency Analysis for Deep Fake Image Recognition" (arXiv:2003.08685), section 3: the type-II
DCT of the image, log |coefficient|. Of the whole image, or as mean and spread over blocks, which is independent of where in
the picture a trace lies and keeps the vector short for large images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from tellapart.features._contract import Descriptor
from tellapart.recipe import Section

_FLOOR = 1e-3  # of a coefficient's magnitude before the log, for pixels in [0, 1]: below the rounding of 8-bit pixels


class Spectrum(Descriptor):
    """Whole image: D = H · W · C. Blocks: D = 2 · block² · C."""

    class Options(Section):
        """Options of the spectrum."""

        block: int | None = Field(default=None, ge=2, description="side of the blocks, half overlapping; none: the whole image")

    options: Any

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """images: (B, H, W, C) uint8 → (B, D) float32."""
        x = images.astype(np.float32) / 255
        block = self.options.block
        if block is None or block > min(x.shape[1:3]):
            return _log_dct(x).reshape(len(x), -1)
        basis = _basis(block)
        return np.stack([_block_statistics(image, basis) for image in x]) if len(x) else np.empty((0, 1), np.float32)


def _log_dct(x: np.ndarray) -> np.ndarray:
    """(B, H, W, C) → the same shape."""
    from scipy.fft import dctn

    spectrum = np.asarray(dctn(x, axes=(1, 2), norm="ortho", workers=-1))
    return np.log(np.abs(spectrum) + _FLOOR).astype(np.float32)


def _basis(block: int) -> np.ndarray:
    """The orthonormal type-II DCT as a matrix: (block, block) float32."""
    from scipy.fft import dct

    return np.asarray(dct(np.eye(block), axis=0, norm="ortho")).astype(np.float32)


def _block_statistics(x_HWC: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Mean and spread over half overlapping blocks of log |DCT|: (2 · block² · C,) float32.

    Two matrix products, along rows and then along columns, an image at a time so that it stays in the cache: 2.4 times as fast
    as a transform of every block (`benchmarks/answering.py`).
    """
    block, step = len(basis), max(1, len(basis) // 2)
    rows = np.lib.stride_tricks.sliding_window_view(x_HWC, block, axis=1)[:, ::step] @ basis.T  # (H, columns, C, block)
    spectrum = np.lib.stride_tricks.sliding_window_view(rows, block, axis=0)[::step] @ basis.T  # (rows, columns, C, u, v)
    np.log(np.abs(spectrum, out=spectrum) + _FLOOR, out=spectrum)
    return np.concatenate([spectrum.mean(axis=(0, 1)).ravel(), spectrum.std(axis=(0, 1)).ravel()])
