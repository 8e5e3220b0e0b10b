"""Integrated gradients: the contribution of each pixel on the straight path from an empty image to this one.

(x − x′) ⊙ ∫ ∂logit/∂x along x′ + t (x − x′), summed over colors: Sundararajan, Taly & Yan 2017, "Axiomatic attribution for
deep networks", equation 1; the integral by Gauss-Legendre points. The contributions sum to the increase of the logit from x′ to
x. The map shows their absolute values, since pixels carry evidence for a class in pairs of both signs.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field

from tellapart.explainers._geometry import map_to_image
from tellapart.explainers._model import ExplainedModel
from tellapart.explainers.base import Explainer
from tellapart.recipe.schema import OptionsModel

_BATCH = 8  # points in one forward and backward pass


class IntegratedGradients(Explainer):
    """Integrated gradients, for networks; resolution of the input of the net."""

    options: Options

    class Options(OptionsModel):
        """Options of integrated gradients."""

        steps: int = Field(default=32, ge=2, le=1024, description="points on the path")
        start: Literal["mean", "black", "white"] = Field(
            default="mean", description="the empty image: the mean color of the image, black, or white"
        )

    def _values(self, model: ExplainedModel, image: np.ndarray, label: int) -> np.ndarray:
        parts = np.abs(self.contributions(model, image, label))
        # clipped, since a few very large values would leave the rest dark
        return map_to_image(np.minimum(parts, np.quantile(parts, 0.995)), model.inputs, *image.shape[:2])

    def contributions(self, model: ExplainedModel, image: np.ndarray, label: int) -> np.ndarray:
        """Contributions of the pixels of the net's input: (h, w) float32; their sum is the increase of the logit."""
        module, x = model.module(), model.to_input(image)
        level = {"black": 0.0, "white": 255.0}.get(self.options.start)
        empty = x.mean(dim=(2, 3), keepdim=True).expand_as(x) if level is None else torch.full_like(x, level)
        points, weights = np.polynomial.legendre.leggauss(self.options.steps)
        total = torch.zeros_like(x)
        for start in range(0, len(points), _BATCH):
            model.step()
            t = torch.tensor((points[start : start + _BATCH] + 1) / 2, dtype=torch.float32)[:, None, None, None]
            w = torch.tensor(weights[start : start + _BATCH] / 2, dtype=torch.float32)[:, None, None, None]
            path = (empty + t * (x - empty)).requires_grad_(True)
            with torch.enable_grad():
                (slope,) = torch.autograd.grad(module(path)[:, label].sum(), path)
            total += (w * slope).sum(0, keepdim=True)
        return ((x - empty) * total).sum(1)[0].detach().numpy()
