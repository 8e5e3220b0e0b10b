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
            return _log_dct(x, (1, 2)).reshape(len(x), -1)
        windows = np.lib.stride_tricks.sliding_window_view(x, (block, block), axis=(1, 2))
        step = max(1, block // 2)
        windows = windows[:, ::step, ::step]  # (B, rows, columns, C, block, block)
        windows = windows.reshape(len(x), -1, *windows.shape[3:])
        spectrum = _log_dct(windows, (3, 4))
        return np.concatenate([spectrum.mean(axis=1), spectrum.std(axis=1)], axis=1).reshape(len(x), -1)


def _log_dct(x: np.ndarray, axes: tuple[int, int]) -> np.ndarray:
    from scipy.fft import dctn

    spectrum = np.asarray(dctn(x, axes=axes, norm="ortho", workers=-1))
    return np.log(np.abs(spectrum) + _FLOOR).astype(np.float32)
