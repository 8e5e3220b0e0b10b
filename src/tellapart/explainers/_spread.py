"""A coarse map of a net's last stage, laid over the picture."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from tellapart.data.decode import target_size
from tellapart.explainers._geometry import onto_picture, resample
from tellapart.explainers._model import Subject


def spread(coarse: Tensor, subject: Subject, image: np.ndarray) -> np.ndarray:
    """(h, w) over what the net was shown → (H, W) float32 over `image`, (H, W, 3)."""
    shown = resample(coarse.detach().numpy(), *target_size(subject.inputs))
    return onto_picture(shown, subject.inputs, *image.shape[:2])
