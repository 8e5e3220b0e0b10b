"""A fitted classifier as explainers see it: it answers pictures, and, if it is a network, lends its module."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tellapart.classifiers.base import Classifier, Context, Differentiable
from tellapart.classifiers.calibrated import Calibrated, unwrap
from tellapart.data.cache import PixelCache
from tellapart.data.decode import decode_to
from tellapart.data.memory import from_arrays, from_bytes
from tellapart.errors import RunError
from tellapart.recipe.schema import Inputs

_PORTION = 32  # pictures asked about at a time, at most: they are held at their own size
_HELD = 2**27  # bytes of pictures asked about at a time: of large ones fewer


class ExplainedModel:
    """A classifier that is asked about pictures in memory.

    One that reads a region only, such as a face, is asked about that part: it has been cut out before, so that a covered pixel
    does not move the cut.

    Args:
        classifier: Fitted.
        context: Its surroundings; nothing is cached on disk.
        name: Of the run, for messages.
    """

    def __init__(self, classifier: Classifier, context: Context, name: str = "") -> None:
        self.original, self.context, self.name = classifier, context, name
        self.classifier = _without_region(classifier, context) if classifier.recipe.inputs.region else classifier
        self.layers: dict[str, str] = {}  # what an option `layer` asked for → the layer that the first map chose

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.classifier.classes

    def predict(self, images: Iterator[np.ndarray] | Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities of pictures of one size: each (H, W, 3) uint8 → (N, C) float32."""
        found, portion = [], []
        for image in images:
            portion.append(image)
            if len(portion) >= min(_PORTION, _HELD // image.nbytes):
                found.append(self._predict_batch(portion))
                portion = []
        if portion or not found:
            found.append(self._predict_batch(portion))
        return np.concatenate(found)

    def predict_one(self, content: bytes | np.ndarray) -> np.ndarray:
        """Probabilities of a picture, encoded or (H, W, 3) uint8, as `predict` gives them: (C,) float32."""
        if isinstance(content, bytes):
            table = from_bytes([content], [-1], self.classes)
        else:
            table = from_arrays(content[None], [-1], self.classes)
        return self.original.predict(table, self._fresh_context()).proba[0]

    def _predict_batch(self, images: list[np.ndarray]) -> np.ndarray:
        if not images:
            return np.zeros((0, len(self.classes)), np.float32)
        table = from_arrays(np.stack(images), [-1] * len(images), self.classes)
        return self.classifier.predict(table, self._fresh_context()).proba

    def _fresh_context(self) -> Context:
        """A cache of its own each time, so that no picture is kept."""
        return Context(PixelCache(), device=self.context.device, parents=self.context.parents)

    @cached_property
    def network(self) -> Any:
        """The classifier that gradients come from: this one, or what a calibrated one stands on; None: it is no network."""
        found = unwrap(self.classifier, self.context)
        return found if isinstance(found, Differentiable) else None

    @property
    def inputs(self) -> Inputs:
        """How the network is shown pictures; without a network, the classifier."""
        return (self.classifier if self.network is None else self.network).recipe.inputs

    def module(self) -> nn.Module:
        """The network, ready to answer: (B, C, H, W) uint8, or float in 0 … 255 → (B, classes) logits.

        Raises:
            RunError: It is none, or learnt from descriptors.
        """
        if self.network is None:
            hint = "occlusion and rise explain any classifier"
            raise RunError(f"{self.name or 'this classifier'} is no network: it has no gradients and no maps", hint=hint)
        return self.network.module()

    def reinitialized(self, seed: int) -> ExplainedModel | None:
        """The same network with random weights; None where it is none."""
        return ExplainedModel(self.network.reinitialized(seed), self.context, self.name) if self.network is not None else None

    def to_input(self, image: np.ndarray) -> Tensor:
        """What the network is shown of a picture: (H, W, 3) uint8 → (1, C, h, w) float32 in 0 … 255."""
        pixels = decode_to(image, self.inputs, "the picture")
        return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None]


def _without_region(classifier: Classifier, context: Context) -> Classifier:
    """The same, for pictures that are the region already."""
    found: Any = copy.copy(classifier)
    inputs = classifier.recipe.inputs.model_copy(update={"region": None, "keep": 1.0})
    found.recipe = classifier.recipe.model_copy(update={"inputs": inputs})
    if isinstance(classifier, Calibrated):
        found.inner = _without_region(classifier.base_classifier(context), context)
    return found
