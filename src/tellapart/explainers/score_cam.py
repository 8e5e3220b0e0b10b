"""Score-CAM: the activations of the last stage, weighted by the score of the class on the image masked by each activation.

relu(Σ_c w_c A_c), w the softmax over channels of the class's logit on the image masked by the channel's activation, enlarged
and scaled to [0, 1], minus the logit on the empty image: Wang et al. 2020, "Score-CAM: Score-weighted visual explanations for
convolutional neural networks", equations 4 to 6. One forward pass per channel.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch.nn.functional import interpolate

from tellapart.explainers._activations import LayerOptions, activations, upsample_map
from tellapart.explainers._model import ExplainedModel
from tellapart.explainers.base import Explainer

_BATCH = 32  # masked images in one pass


class ScoreCam(Explainer):
    """Score-CAM, for networks; gradients are used only to choose the layer. Resolution of the last stage."""

    options: Options

    class Options(LayerOptions):
        """Options of Score-CAM."""

        channels: int | None = Field(default=None, ge=1, description="number of most active channels to use; none: all")

    def _values(self, model: ExplainedModel, image: np.ndarray, label: int) -> np.ndarray:
        values = activations(model, image, label, self.options.layer).values
        if self.options.channels is not None:
            values = values[values.sum(dim=(1, 2)).argsort(descending=True)[: self.options.channels]]
        module, x = model.module(), model.to_input(image)
        low, high = values.amin(dim=(1, 2), keepdim=True), values.amax(dim=(1, 2), keepdim=True)
        masks = ((values - low) / (high - low).clamp_min(1e-12))[:, None]
        with torch.inference_mode():
            scores = torch.cat(
                [
                    module(x * interpolate(part, x.shape[2:], mode="bilinear", align_corners=False))[:, label]
                    for part in masks.split(_BATCH)
                ]
            )
        weights = scores.softmax(0)[:, None, None]  # the logit of the empty image is the same for all channels: it cancels
        return upsample_map((weights * values).sum(0).relu(), model, image)
