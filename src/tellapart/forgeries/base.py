"""What every forgery promises: a real picture in, the same with something false in it out, and where."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np

from tellapart.progress import SILENT, Progress
from tellapart.recipe.schema import OptionsModel

#: Sides below this are refused: no region of such a picture could be told from its surroundings.
SMALLEST = 24


class Forgery(ABC):
    """One way to forge. One file each; the file name is the name for `--kind`."""

    #: It takes a region from another picture.
    needs_donor: ClassVar[bool] = False
    #: It looks at some pictures before the first is forged.
    needs_fit: ClassVar[bool] = False

    class Options(OptionsModel):
        """Options of the forgery."""

    def __init__(self, options: OptionsModel | None = None) -> None:
        self.options: Any = options or self.Options()

    @final
    def __call__(self, pixels: np.ndarray, donor: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Forge one picture.

        Args:
            pixels: (H, W, 3) uint8, no side shorter than `SMALLEST`.
            donor: (H', W', 3) uint8, another real picture; only some forgeries look at it.
            rng: All that is drawn comes from here.

        Returns:
            The forged picture, (H, W, 3) uint8, and its mask, (H, W) bool: outside of it not one bit has changed.
        """
        forged, mask = self._forge(pixels, donor, rng)
        rounded = np.clip(np.rint(forged), 0, 255).astype(np.uint8)
        return np.where(mask[..., None], rounded, pixels), mask

    @classmethod
    def name(cls) -> str:
        """The name under which it is registered."""
        return cls.__module__.rpartition(".")[2]

    def fit(self, pictures: Sequence[np.ndarray], seed: int, folder: Path, progress: Progress = SILENT) -> None:
        """Look at some real pictures, each (H, W, 3) uint8; what is learnt is kept in `folder` and found there again."""
        del pictures, seed, folder, progress

    @abstractmethod
    def _forge(self, pixels: np.ndarray, donor: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The forged picture as (H, W, 3) float in 0 … 255, and the mask."""
