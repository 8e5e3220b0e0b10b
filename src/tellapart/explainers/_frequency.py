"""The power spectrum of an image compared with that of each class, and its noise residual.

Generators and editors leave traces that are not localized, so no map over the pixels shows them: an upsampling layer amplifies
some frequencies, a resampled region loses the highest. The power is computed from the original pixels (the center of the image,
never resampled), in decibels: over both directions, and averaged over rings by the feature `spectrum` (of: radial). For each
class it is the mean and the standard deviation over the training images, processed in the same way. The distance of an image
from a class is the root mean square, over rings, of its distance from the mean in standard deviations; 1 is typical for an
image of the class.

The residual is that of `features._residuals` (second order in both directions), of the center of the image of at most 2,048
pixels a side: a region from another image has different noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.data.cache import PixelCache, resolve_inputs
from tellapart.data.decode import decode_to, quiet
from tellapart.errors import DataError
from tellapart.features._blocks import to_planes
from tellapart.features._residuals import KERNELS, residuals
from tellapart.features.spectrum import Spectrum
from tellapart.inference.context import Settings
from tellapart.recipe.schema import Inputs
from tellapart.runs.store import Run

_SIDE = 256  # largest side, in pixels, of the center whose spectrum is computed
_PER_CLASS = 1_000  # most training images per class, evenly spaced
_GRAIN_SIDE = 2_048  # largest side, in pixels, of the center whose residual is computed
_KERNEL, _REACH = "square", 3  # kernel of the residual, and its size in pixels
_FLOOR = 1e-3  # lowest magnitude of a coefficient, for pixels in [0, 1]: below the rounding of 8-bit pixels
_DECIBELS = 10 / math.log(10)  # in one unit of a natural log of power
_LEAST_SPREAD = 0.1  # decibels: keeps the distance finite if all training images are equal


@dataclass(frozen=True, eq=False)
class ClassSpectrum:
    """The mean spectrum of one class.

    Attributes:
        n: Number of training images.
        power: (H, W) float32, mean decibels, frequency 0 in the center.
        rings: (R,) float32, mean decibels of each ring, from low frequencies to high.
        spread: (R,) float32, standard deviation of each ring, decibels.
    """

    n: int
    power: np.ndarray
    rings: np.ndarray
    spread: np.ndarray


@dataclass(frozen=True, eq=False)
class Frequencies:
    """The spectrum and the residual of one image.

    Attributes:
        power: (H, W) float32, decibels, frequency 0 in the center.
        rings: (R,) float32, decibels of each ring, from low frequencies to high.
        residual: (h, w) float32, gray values; one pixel smaller than the image at each border, empty for tiny images.
        classes: Class name → mean spectrum; classes without training images are missing.
        distance: Class name → distance of the image in standard deviations of the class, ≥ 0.
    """

    power: np.ndarray
    rings: np.ndarray
    residual: np.ndarray
    classes: Mapping[str, ClassSpectrum]
    distance: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: rings and distances, without the two-dimensional spectra."""
        classes = {
            name: {"n": of.n, "decibels": _rounded(of.rings), "spread": _rounded(of.spread), "distance": self.distance[name]}
            for name, of in self.classes.items()
        }
        grain = float(self.residual.std()) if self.residual.size else None
        return {"size": list(self.power.shape), "decibels": _rounded(self.rings), "classes": classes, "residual_sd": grain}


class Spectra:
    """The mean spectra of the classes of a run.

    Args:
        run: A finished run; its training images must still be readable.
        settings: Settings with the progress display.

    Raises:
        CorruptImages: Training images cannot be read.
        DataError: The run has no training images.
    """

    def __init__(self, run: Run, settings: Settings) -> None:
        train = run.table().where(split="train")
        if not len(train):
            raise DataError(f"{run.id} has no training images to compare with", hint="choose another view")
        own = Inputs(size="auto", limit=_SIDE, mode="gray", resize="center")
        self.inputs, cache = resolve_inputs(own, train), PixelCache(progress=settings.progress)
        self.classes: dict[str, ClassSpectrum] = {}
        for label, name in enumerate(train.classes):
            rows = np.flatnonzero(train.labels == label)
            rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _PER_CLASS)).astype(np.int64))]
            if len(rows):
                self.classes[name] = _usual(list(cache.images(train.take(rows), self.inputs).blocks(size=64)))

    def compute(self, content: bytes | np.ndarray, pixels: np.ndarray, path: str) -> Frequencies:
        """Compute the frequencies of one image.

        Args:
            content: An encoded file, or (H, W, 3) uint8.
            pixels: (H, W, 3) uint8, the decoded image, for the residual.
            path: Name of the image in errors.

        Raises:
            ImageError: The image cannot be decoded.
        """
        with quiet():
            shown = decode_to(content, self.inputs, path)[None]
        rings = _rings(shown)[0]
        distance = {name: _distance(rings, of) for name, of in self.classes.items()}
        return Frequencies(_power(shown)[0], rings, _residual(pixels), self.classes, distance)


def _usual(blocks: list[np.ndarray]) -> ClassSpectrum:
    """The mean spectrum of images in blocks of (B, H, W, 1) uint8."""
    n = sum(map(len, blocks))
    power = np.sum([_power(block).sum(axis=0, dtype=np.float64) for block in blocks], axis=0) / n
    rings = np.concatenate([_rings(block) for block in blocks]).astype(np.float64)
    spread = rings.std(axis=0, ddof=1) if n > 1 else np.zeros(rings.shape[1])
    return ClassSpectrum(n, *(a.astype(np.float32) for a in (power, rings.mean(axis=0), spread)))


def _power(images: np.ndarray) -> np.ndarray:
    """Power: (B, H, W, 1) uint8 → (B, H, W) float32, decibels, frequency 0 in the center."""
    coefficients = np.fft.fft2(images[..., 0].astype(np.float32) / 255, norm="ortho")
    power = np.log(np.abs(coefficients) ** 2 + _FLOOR**2) * _DECIBELS
    return np.fft.fftshift(power, axes=(1, 2)).astype(np.float32)


def _rings(images: np.ndarray) -> np.ndarray:
    """Mean power of rings: (B, H, W, 1) uint8 → (B, R) float32, decibels."""
    return Spectrum(Spectrum.Options(of="radial"))(images) * np.float32(_DECIBELS)


def _distance(rings: np.ndarray, usual: ClassSpectrum) -> float:
    return float(np.sqrt(np.mean(((rings - usual.rings) / np.maximum(usual.spread, _LEAST_SPREAD)) ** 2)))


def _residual(pixels: np.ndarray) -> np.ndarray:
    """Residual, mean over colors: (H, W, 3) uint8 → (h, w) float32, one pixel less at each border."""
    if min(pixels.shape[:2]) < _REACH:
        return np.zeros((0, 0), np.float32)
    top, left = (max(side - _GRAIN_SIDE, 0) // 2 for side in pixels.shape[:2])
    middle = pixels[top : top + _GRAIN_SIDE, left : left + _GRAIN_SIDE]
    (residual,) = residuals(to_planes(middle[None]).astype(np.int16), _KERNEL)
    return residual[0].mean(axis=0, dtype=np.float32) / np.float32(KERNELS[_KERNEL][1])


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 3) for value in values]
