"""The contract of a descriptor: uint8 images in, one float32 feature vector per image out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from tellapart.data.cache import DecodedImages
from tellapart.progress import SILENT, Progress
from tellapart.recipe.schema import OptionsModel


@dataclass(frozen=True)
class FitContext:
    """Resources for fitting a descriptor, besides images and labels.

    A part of `classifiers.base.Context`, which descriptors cannot import: classifiers are a higher layer.

    Attributes:
        seed: Random seed.
        progress: Reports the progress of long work.
        parents: Maps the name of a finished run to its folder; raises RunError.
        notes: Sentences reported with the result ("12 of 400 images have no keypoint …"); a descriptor may append.
    """

    seed: int = 0
    progress: Progress = SILENT
    parents: Callable[[str], Path] = Path
    notes: list[str] = field(default_factory=list)


class Descriptor(ABC):
    """Turns images into feature vectors. One file each; the file name is the name in recipes.

    Most descriptors need no fitting. One that does overrides `fit` and stores what it fitted in `arrays`; tellapart saves and
    restores them.

    Attributes:
        options: Checked options.
        arrays: Fitted arrays, by name.
        stored: Whether vectors are kept in the cache. Not worthwhile where they are longer than the pixels.
    """

    stored: ClassVar[bool] = True

    class Options(OptionsModel):
        """Options of the descriptor."""

    def __init__(self, options: OptionsModel) -> None:
        self.options = options
        self.arrays: dict[str, np.ndarray] = {}

    def fit(self, images: DecodedImages, labels: np.ndarray, context: FitContext) -> None:
        """Fit to the training images. Read them block by block: they may not fit in memory.

        Args:
            images: N decoded images.
            labels: (N,) int64, each in 0 … classes − 1.
            context: Seed, progress, earlier runs, notes.
        """
        del images, labels, context

    @property
    def pretrained(self) -> str:
        """Source of the pretrained weights that were copied by `fit`; "no" if there are none."""
        return "no"

    @abstractmethod
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Compute the features: images (B, H, W, C) uint8 → (B, D) float32, finite; each row depends on its own image only."""
