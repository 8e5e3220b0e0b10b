"""What a descriptor promises: uint8 images in, one float32 vector an image out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tellapart.data.cache import DecodedImages
from tellapart.progress import SILENT, Progress
from tellapart.recipe.schema import OptionsModel


@dataclass(frozen=True)
class FitContext:
    """What a descriptor is fitted with, beside images and labels.

    Attributes:
        seed: Of everything random.
        progress: Where long work is reported.
        parents: From the name of a finished run to its folder; raises RunError.
        notes: Sentences that belong beside the result ("12 of 400 images have no keypoint …"); a descriptor appends.
    """

    seed: int = 0
    progress: Progress = SILENT
    parents: Callable[[str], Path] = Path
    notes: list[str] = field(default_factory=list)


class Descriptor(ABC):
    """Turns images into vectors. One file each; the file name is the name in recipes.

    Most learn nothing. One that does overrides `fit` and keeps what it learnt in `arrays`, which are saved and restored for it.

    Attributes:
        arrays: What was learnt, by name.
    """

    class Options(OptionsModel):
        """Options of the descriptor."""

    def __init__(self, options: OptionsModel) -> None:
        self.options = options
        self.arrays: dict[str, np.ndarray] = {}

    def fit(self, images: DecodedImages, labels: np.ndarray, context: FitContext) -> None:
        """Learn from the training images, block by block: they may not fit in memory.

        Args:
            images: N of them.
            labels: (N,) int64.
            context: Seed, progress, earlier runs, notes.
        """
        del images, labels, context

    @abstractmethod
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """images: (B, H, W, C) uint8 → (B, D) float32, finite. Each row depends on its own image alone."""
