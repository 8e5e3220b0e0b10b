"""HiResCAM: the activations of the last stage times their gradients, cell by cell, so that only used regions are highlighted.

relu(Σ_c ∂logit/∂A_c ⊙ A_c): Draelos & Carin 2020, "Use HiResCAM instead of Grad-CAM for faithful explanations of
convolutional neural networks". For a net that ends in average pooling and one linear layer it equals Grad-CAM.
"""

from __future__ import annotations

import numpy as np

from tellapart.explainers._activations import LayerOptions, activations, upsample_map
from tellapart.explainers._model import ExplainedModel
from tellapart.explainers.base import Explainer


class HiresCam(Explainer):
    """HiResCAM, for networks; one forward and one backward pass. Resolution of the last stage."""

    options: Options

    class Options(LayerOptions):
        """Options of HiResCAM."""

    def _values(self, model: ExplainedModel, image: np.ndarray, label: int) -> np.ndarray:
        found = activations(model, image, label, self.options.layer)
        return upsample_map((found.gradient * found.values).sum(0).relu(), model, image)
