"""Integrated gradients: what each pixel adds on the straight way from an empty picture to this one.

(x − x′) ⊙ ∫ ∂logit/∂x along x′ + t (x − x′), summed over colors: Sundararajan, Taly & Yan 2017, "Axiomatic attribution for
deep networks", equation 1; the integral by Gauss-Legendre points. The contributions sum to the logit's rise from x′ to x. The
map shows their size, whichever way they go, as pixels carry a class's evidence in pairs of both signs.
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

_PORTION = 8  # points in one pass forward and back


class IntegratedGradients(Explainer):
    """Of networks; as fine as the pixels that the net is shown."""

    class Options(OptionsModel):
        """Options of integrated gradients."""

        steps: int = Field(default=32, ge=2, le=1024, description="points on the way")
        start: Literal["mean", "black", "white"] = Field(
            default="mean", description="the empty picture: its mean color, black, or white"
        )

    def _values(self, model: ExplainedModel, image: np.ndarray, label: int) -> np.ndarray:
        parts = np.abs(self.contributions(model, image, label))
        # a handful of pixels would leave the rest dark
        return map_to_image(np.minimum(parts, np.quantile(parts, 0.995)), model.inputs, *image.shape[:2])

    def contributions(self, model: ExplainedModel, image: np.ndarray, label: int) -> np.ndarray:
        """(h, w) float32 over what the net is shown; their sum is the logit's rise."""
        module, x = model.module(), model.to_input(image)
        level = {"black": 0.0, "white": 255.0}.get(self.options.start)
        empty = x.mean(dim=(2, 3), keepdim=True).expand_as(x) if level is None else torch.full_like(x, level)
        points, weights = np.polynomial.legendre.leggauss(self.options.steps)
        total = torch.zeros_like(x)
        for start in range(0, len(points), _PORTION):
            t = torch.tensor((points[start : start + _PORTION] + 1) / 2, dtype=torch.float32)[:, None, None, None]
            w = torch.tensor(weights[start : start + _PORTION] / 2, dtype=torch.float32)[:, None, None, None]
            way = (empty + t * (x - empty)).requires_grad_(True)
            with torch.enable_grad():
                (slope,) = torch.autograd.grad(module(way)[:, label].sum(), way)
            total += (w * slope).sum(0, keepdim=True)
        return ((x - empty) * total).sum(1)[0].detach().numpy()
