"""Classifiers as torch modules, from uint8 pixels to probabilities, for exporters to trace.

`NetModule` is a network, `CalibratedModule` a calibrated classifier, `EnsembleModule` an ensemble; they nest. Each gives the
probabilities of `Classifier.predict`, to rounding. Everything after the softmax is computed in double precision, as there. The
formulas of calibration maps and combiners are in `_torch_maps`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tellapart.calibration.decision import Decision
from tellapart.classifiers._torch_maps import CalibrationModule, PriorCorrection, calibration_module, combiner_module
from tellapart.classifiers._tta import views
from tellapart.recipe.schema import Inputs


class InferenceModule(nn.Module, ABC):
    """Pixels in, probabilities out.

    Attributes:
        inputs: Distinct `inputs` sections; the module takes one batch of pixels for each of them, in this order.
    """

    inputs: tuple[Inputs, ...]

    @abstractmethod
    def forward(self, *pixels: Tensor) -> Tensor:
        """(B, H, W, C) uint8 for each of `inputs` → (B, classes) float32, rows sum to 1."""


class NetModule(InferenceModule):
    """A network; the probabilities of some views of each image are averaged."""

    def __init__(self, net: nn.Module, inputs: Inputs, names: Sequence[str]) -> None:
        super().__init__()
        self.net, self.inputs, self.views = net, (inputs,), views(names)

    def forward(self, *pixels: Tensor) -> Tensor:
        """See `InferenceModule`."""
        (pixels_BHWC,) = pixels
        images = pixels_BHWC.permute(0, 3, 1, 2)
        total = self.net(self.views[0](images)).softmax(1)
        for view in self.views[1:]:
            total = total + self.net(view(images)).softmax(1)
        return normalize_rows(total)


class CalibratedModule(InferenceModule):
    """A calibrated classifier: the calibration map, then the prior correction."""

    def __init__(self, inner: InferenceModule, decision: Decision) -> None:
        super().__init__()
        self.inner, self.inputs = inner, inner.inputs
        self.map: CalibrationModule | None = calibration_module(decision.map) if decision.map else None
        corrects = decision.seen is not None and decision.prior is not None
        self.prior = PriorCorrection(decision.seen, decision.prior) if corrects else None

    def forward(self, *pixels: Tensor) -> Tensor:
        """See `InferenceModule`."""
        proba = self.inner(*pixels)
        for step in (self.map, self.prior):
            proba = normalize_rows(step(proba) if step else proba)
        return proba


class EnsembleModule(InferenceModule):
    """Several classifiers and a combiner."""

    def __init__(self, members: Sequence[InferenceModule], combiner: Any) -> None:
        super().__init__()
        self.members, self.combiner = nn.ModuleList(members), combiner_module(combiner)
        self.inputs = tuple(dict.fromkeys(inputs for member in members for inputs in member.inputs))
        self.places = [[self.inputs.index(inputs) for inputs in member.inputs] for member in members]

    def forward(self, *pixels: Tensor) -> Tensor:
        """See `InferenceModule`."""
        pairs = zip(self.members, self.places, strict=True)
        proba = torch.stack([member(*(pixels[place] for place in places)) for member, places in pairs])
        return normalize_rows(normalize_rows(self.combiner(proba)))


def normalize_rows(proba: Tensor) -> Tensor:
    """Scale rows to sum to 1, as `predict` does: (B, C) of any precision → (B, C) float32."""
    proba = proba.double()
    return (proba / proba.sum(1, keepdim=True)).float()
