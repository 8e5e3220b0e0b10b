"""Eigen-CAM: the first principal component of the activations of the last stage, for any class.

The projection of the activations on their first right singular vector: Muhammad & Yeasin 2020, "Eigen-CAM: Class activation map
using principal components". The sign is chosen so that the sum of the map is positive. The map shows salient regions, not
evidence for the class: it is the same for every class.
"""

from __future__ import annotations

import numpy as np
import torch

from tellapart.explainers._activations import LayerOptions, activations, upsample_map
from tellapart.explainers._model import ExplainedModel
from tellapart.explainers.base import Explainer


class EigenCam(Explainer):
    """Eigen-CAM, for networks; independent of the class. Resolution of the last stage."""

    options: Options

    class Options(LayerOptions):
        """Options of Eigen-CAM."""

    def _values(self, model: ExplainedModel, image: np.ndarray, label: int) -> np.ndarray:
        values = activations(model, image, label, self.options.layer).values
        channels, height, width = values.shape
        _, _, right = torch.linalg.svd(values.reshape(channels, -1).T, full_matrices=False)
        found = (values.reshape(channels, -1).T @ right[0]).reshape(height, width)
        return upsample_map((found if found.sum() >= 0 else -found).relu(), model, image)
