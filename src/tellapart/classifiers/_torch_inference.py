"""Classifiers as torch modules from uint8 pixels to probabilities: what exporters trace.

Each gives what `Classifier.predict` gives, to rounding. Everything after the softmax is computed in double precision, as there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tellapart.calibration.decision import Decision
from tellapart.classifiers._torch_maps import CalibrationModule, PriorCorrection, combiner_module, calibration_module
from tellapart.classifiers._tta import views
from tellapart.recipe.schema import Inputs


class InferenceModule(nn.Module, ABC):
    """Pixels in, probabilities out.

    Attributes:
        inputs: Ways of decoding, each another; the module takes a batch of pixels for each of them, in this order.
    """

    inputs: tuple[Inputs, ...]

    @abstractmethod
    def forward(self, *pixels: Tensor) -> Tensor:
        """(B, H, W, C) uint8 for each of `inputs` → (B, classes) float32, rows sum to 1."""


class NetModule(InferenceModule):
    """A network, asked about some views of each image, whose probabilities are averaged."""

    def __init__(self, net: nn.Module, inputs: Inputs, names: Sequence[str]) -> None:
        super().__init__()
        self.net, self.inputs, self.views = net, (inputs,), views(names)

    def forward(self, *pixels: Tensor) -> Tensor:
        """See `Answering`."""
        (pixels_BHWC,) = pixels
        images = pixels_BHWC.permute(0, 3, 1, 2)
        total = self.net(self.views[0](images)).softmax(1)
        for view in self.views[1:]:
            total = total + self.net(view(images)).softmax(1)
        return as_answered(total)


class CalibratedModule(InferenceModule):
    """A calibrated classifier: the map, then the correction of the mix."""

    def __init__(self, inner: InferenceModule, decision: Decision) -> None:
        super().__init__()
        self.inner, self.inputs = inner, inner.inputs
        self.map: CalibrationModule | None = calibration_module(decision.map) if decision.map else None
        corrects = decision.seen is not None and decision.prior is not None
        self.prior = PriorCorrection(decision.seen, decision.prior) if corrects else None

    def forward(self, *pixels: Tensor) -> Tensor:
        """See `Answering`."""
        proba = self.inner(*pixels)
        for step in (self.map, self.prior):
            proba = as_answered(step(proba) if step else proba)
        return proba


class EnsembleModule(InferenceModule):
    """Voters and a combiner."""

    def __init__(self, voters: Sequence[InferenceModule], combiner: Any) -> None:
        super().__init__()
        self.voters, self.combiner = nn.ModuleList(voters), combiner_module(combiner)
        self.inputs = tuple(dict.fromkeys(inputs for voter in voters for inputs in voter.inputs))
        self.places = [[self.inputs.index(inputs) for inputs in voter.inputs] for voter in voters]

    def forward(self, *pixels: Tensor) -> Tensor:
        """See `Answering`."""
        pairs = zip(self.voters, self.places, strict=True)
        answers = torch.stack([voter(*(pixels[place] for place in places)) for voter, places in pairs])
        return as_answered(as_answered(self.combiner(answers)))


def as_answered(proba: Tensor) -> Tensor:
    """Rows scaled to sum to 1, as `predict` does: (B, C) of any precision → (B, C) float32."""
    proba = proba.double()
    return (proba / proba.sum(1, keepdim=True)).float()
