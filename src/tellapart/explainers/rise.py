"""RISE: mask the image at random many times; the value of a pixel is the mean probability of the class while it is visible.

Petsiuk, Das & Saenko 2018, "RISE: Randomized input sampling for explanation of black-box models", equation 6: Σ p(I ⊙ M) M
/ (N E[M]), with masks of a coarse grid of ones and zeros, enlarged linearly and shifted. Here the mean probability is
subtracted, so that a classifier that ignores the masks gives a map of about 0. Works with any classifier.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from tellapart.explainers._baselines import FILLS, Fill
from tellapart.explainers._geometry import resample
from tellapart.explainers._model import ExplainedModel
from tellapart.explainers.base import Explainer
from tellapart.recipe.schema import OptionsModel


class Rise(Explainer):
    """RISE, for any classifier; one prediction per mask."""

    options: Options

    class Options(OptionsModel):
        """Options of RISE."""

        masks: int = Field(default=500, ge=2, description="number of masks")
        cells: int = Field(default=7, ge=2, le=64, description="cells of the grid along a side")
        visible: float = Field(default=0.5, gt=0, lt=1, description="share of cells left visible")
        fill: Fill = Field(
            default="mean", description="fill of the hidden cells: the mean color of the image, black, or the blurred image"
        )

    def _values(self, model: ExplainedModel, image: np.ndarray, label: int) -> np.ndarray:
        cover = FILLS[self.options.fill](image).astype(np.float32)
        pixels = image.astype(np.float32)

        def hidden() -> Iterator[np.ndarray]:
            for mask in self._masks(*image.shape[:2]):
                yield np.rint(cover + mask[:, :, None] * (pixels - cover)).astype(np.uint8)

        proba = model.predict(hidden())[:, label].astype(np.float64)
        total = np.zeros(image.shape[:2])
        for mask, kept in zip(self._masks(*image.shape[:2]), proba - proba.mean(), strict=True):
            total += kept * mask
        return total / (len(proba) * self.options.visible)

    def _masks(self, height: int, width: int) -> Iterator[np.ndarray]:
        """Yield masks, (height, width) float32 in [0, 1], the same at every call: they are made twice to save memory."""
        rng, cells = np.random.default_rng(self.seed), self.options.cells
        tall, wide = -(-height // cells), -(-width // cells)
        for _ in range(self.options.masks):
            grid = (rng.random((cells + 1, cells + 1)) < self.options.visible).astype(np.float32)
            top, left = rng.integers(0, tall), rng.integers(0, wide)
            yield resample(grid, (cells + 1) * tall, (cells + 1) * wide)[top : top + height, left : left + width]
