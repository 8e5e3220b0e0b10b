"""HiResCAM: each cell of the last stage by its own gradient, so that nothing is highlighted that the score does not use.

relu(Σ_c ∂logit/∂A_c ⊙ A_c): Draelos & Carin 2020, "Use HiResCAM instead of Grad-CAM for faithful explanations of
convolutional neural networks". For a net that ends in average pooling and one linear layer it equals Grad-CAM.
"""

from __future__ import annotations

import numpy as np

from tellapart.explainers._activations import LayerOptions, activations, upsample_map
from tellapart.explainers._model import ExplainedModel
from tellapart.explainers.base import Explainer


class HiresCam(Explainer):
    """Of networks; one pass forward, one back. As coarse as the last stage."""

    class Options(LayerOptions):
        """Options of HiResCAM."""

    def _values(self, model: ExplainedModel, image: np.ndarray, label: int) -> np.ndarray:
        found = activations(model, image, label, self.options.layer)
        return upsample_map((found.gradient * found.values).sum(0).relu(), model, image)
