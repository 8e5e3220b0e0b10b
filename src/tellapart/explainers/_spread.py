"""A coarse map of a net's last stage, laid over the picture."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from tellapart.data.decode import target_size
from tellapart.explainers._geometry import map_to_image, resample
from tellapart.explainers._model import ExplainedModel


def upsample_map(coarse: Tensor, subject: ExplainedModel, image: np.ndarray) -> np.ndarray:
    """(h, w) over what the net was shown → (H, W) float32 over `image`, (H, W, 3)."""
    shown = resample(coarse.detach().numpy(), *target_size(subject.inputs))
    return map_to_image(shown, subject.inputs, *image.shape[:2])
