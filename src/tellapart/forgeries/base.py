"""The contract of forgeries: from a real image, a forged version of it and the mask of the forged pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np

from tellapart.progress import SILENT, Progress
from tellapart.recipe.schema import OptionsModel

#: Images with a shorter side are refused: a region of such an image could not be distinguished from its surroundings.
SMALLEST = 24


class Forgery(ABC):
    """Base class of all forgeries. One file each; the file name is the name for `--kind`."""

    #: Whether a region is taken from another image.
    needs_donor: ClassVar[bool] = False
    #: Whether `fit` must be called before the first image is forged.
    needs_fit: ClassVar[bool] = False

    class Options(OptionsModel):
        """Options of the forgery."""

    def __init__(self, options: OptionsModel | None = None) -> None:
        self.options: Any = options or self.Options()

    @final
    def __call__(self, pixels: np.ndarray, donor: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Forge one image.

        Args:
            pixels: (H, W, 3) uint8, no side shorter than `SMALLEST`.
            donor: (H', W', 3) uint8, another real image; used only if `needs_donor` is set.
            rng: The only source of random values.

        Returns:
            The forged image, (H, W, 3) uint8, and its mask, (H, W) bool: pixels outside the mask are unchanged.
        """
        forged, mask = self._forge(pixels, donor, rng)
        rounded = np.clip(np.rint(forged), 0, 255).astype(np.uint8)
        return np.where(mask[..., None], rounded, pixels), mask

    @classmethod
    def name(cls) -> str:
        """The registered name: the name of the module."""
        return cls.__module__.rpartition(".")[2]

    def fit(self, pictures: Sequence[np.ndarray], seed: int, folder: Path, progress: Progress = SILENT) -> None:
        """Fit the forgery to real images, each (H, W, 3) uint8; the fitted state is stored in `folder` and reused from
        there.
        """
        del pictures, seed, folder, progress

    @abstractmethod
    def _forge(self, pixels: np.ndarray, donor: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Forge one image: (H, W, 3) float in 0 … 255, and the mask, (H, W) bool."""
