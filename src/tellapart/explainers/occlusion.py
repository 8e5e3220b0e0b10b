"""Occlusion: cover a region of the image and measure the loss in the probability of the class.

Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks", section 4.2. The value of a pixel is the mean loss
over the windows that cover it. Works with any classifier.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from tellapart.explainers._baselines import FILLS, Fill
from tellapart.explainers._model import ExplainedModel
from tellapart.explainers.base import Explainer
from tellapart.recipe.schema import OptionsModel


class Occlusion(Explainer):
    """Occlusion, for any classifier; one prediction per window."""

    options: Options

    class Options(OptionsModel):
        """Options of occlusion."""

        window: float = Field(default=0.2, gt=0, le=1, description="side of the covered square, as a share of the shorter side")
        overlap: int = Field(default=3, ge=1, le=16, description="window steps per side of a window")
        fill: Fill = Field(
            default="mean", description="fill of the window: the mean color of the image, black, or the blurred image"
        )

    def _values(self, model: ExplainedModel, image: np.ndarray, label: int) -> np.ndarray:
        boxes = list(self._boxes(*image.shape[:2]))
        cover = FILLS[self.options.fill](image)

        def covered() -> Iterator[np.ndarray]:
            yield image
            for rows, columns in boxes:
                changed = image.copy()
                changed[rows, columns] = cover[rows, columns]
                yield changed

        proba = model.predict(covered())[:, label].astype(np.float64)
        total, times = np.zeros(image.shape[:2]), np.zeros(image.shape[:2])
        for (rows, columns), left in zip(boxes, proba[1:], strict=True):
            total[rows, columns] += proba[0] - left
            times[rows, columns] += 1
        return total / times

    def _boxes(self, height: int, width: int) -> Iterator[tuple[slice, slice]]:
        """Windows that extend beyond the border, so that every pixel is covered equally often."""
        side = max(round(self.options.window * min(height, width)), 1)
        step = max(side // self.options.overlap, 1)
        for top in range(step - side, height, step):
            for left in range(step - side, width, step):
                yield slice(max(top, 0), min(top + side, height)), slice(max(left, 0), min(left + side, width))
