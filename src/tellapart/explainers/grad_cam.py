"""Grad-CAM: the activations of the last stage, weighted by their mean gradient for the class.

relu(Σ_c w_c A_c) with w_c the mean over the map of ∂logit/∂A_c: Selvaraju et al. 2017, "Grad-CAM: Visual explanations from
deep networks via gradient-based localization", equations 1 and 2.
"""

from __future__ import annotations

import numpy as np

from tellapart.explainers._activations import LayerOptions, activations, upsample_map
from tellapart.explainers._model import ExplainedModel
from tellapart.explainers.base import Explainer


class GradCam(Explainer):
    """Grad-CAM, for networks; one forward and one backward pass. Resolution of the last stage."""

    options: Options

    class Options(LayerOptions):
        """Options of Grad-CAM."""

    def _values(self, model: ExplainedModel, image: np.ndarray, label: int) -> np.ndarray:
        found = activations(model, image, label, self.options.layer)
        weights = found.gradient.mean(dim=(1, 2), keepdim=True)
        return upsample_map((weights * found.values).sum(0).relu(), model, image)
