"""A fitted classifier for explainers: it predicts images in memory, and exposes its module if it is a network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
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

_BATCH = 32  # most images in a batch: they are held at their original size
_HELD = 2**24  # most bytes of images in a batch


class ExplainedModel:
    """A classifier that predicts images in memory.

    If it reads only a region, such as a face, the images are crops of that region, so that a covered pixel does not move the
    crop.

    Args:
        classifier: A fitted classifier.
        context: Context of the classifier; nothing is cached on disk.
        name: Name of the run in messages.
    """

    def __init__(self, classifier: Classifier, context: Context, name: str = "") -> None:
        self.original, self.context, self.name = classifier, context, name
        self.classifier = _without_region(classifier, context) if classifier.recipe.inputs.region else classifier
        self.step: Callable[[], None] = _go_on  # called between passes; may raise to end an explanation
        self.layers: dict[str, str] = {}  # option `layer` → the layer that was chosen for the first map

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.classifier.classes

    def predict(self, images: Iterator[np.ndarray] | Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities of images of one size: each (H, W, 3) uint8 → (N, C) float32."""
        found, batch = [], []
        for image in images:
            batch.append(image)
            if len(batch) >= min(_BATCH, _HELD // image.nbytes):
                found.append(self._predict_batch(batch))
                batch = []
        if batch or not found:
            found.append(self._predict_batch(batch))
        return np.concatenate(found)

    def predict_one(self, content: bytes | np.ndarray) -> np.ndarray:
        """Probabilities of one original image, encoded or (H, W, 3) uint8: (C,) float32."""
        if isinstance(content, bytes):
            table = from_bytes([content], [-1], self.classes)
        else:
            table = from_arrays(content[None], [-1], self.classes)
        return self.original.predict(table, self._fresh_context()).proba[0]

    def _predict_batch(self, images: list[np.ndarray]) -> np.ndarray:
        self.step()
        if not images:
            return np.zeros((0, len(self.classes)), np.float32)
        table = from_arrays(np.stack(images), [-1] * len(images), self.classes)
        return self.classifier.predict(table, self._fresh_context()).proba

    def _fresh_context(self) -> Context:
        """A context with a new cache, so that no image is kept."""
        return Context(PixelCache(), device=self.context.device, parents=self.context.parents)

    @cached_property
    def network(self) -> Any:
        """The classifier with gradients: this one, or the base of a calibrated one; None if it is not a network."""
        found = unwrap(self.classifier, self.context)
        return found if isinstance(found, Differentiable) else None

    @property
    def inputs(self) -> Inputs:
        """Inputs of the network; without a network, of the classifier."""
        return (self.classifier if self.network is None else self.network).recipe.inputs

    def module(self) -> nn.Module:
        """The network in evaluation mode: (B, C, H, W) uint8, or float in 0 … 255 → (B, classes) logits.

        Raises:
            RunError: The classifier is not a network on images.
        """
        if self.network is None:
            hint = "occlusion and rise explain any classifier"
            raise RunError(
                f"{self.name or 'this classifier'} is not a network: it has no gradients and no activations", hint=hint
            )
        return self.network.module()

    def reinitialized(self, seed: int) -> ExplainedModel | None:
        """The same network with random weights; None without a network."""
        return ExplainedModel(self.network.reinitialized(seed), self.context, self.name) if self.network is not None else None

    def to_input(self, image: np.ndarray) -> Tensor:
        """The input of the network for an image: (H, W, 3) uint8 → (1, C, h, w) float32 in 0 … 255."""
        pixels = decode_to(image, self.inputs, "the image")
        return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None]


def _go_on() -> None:
    """The step of an explanation that nobody ends."""


def _without_region(classifier: Classifier, context: Context) -> Classifier:
    """The same classifier for images that are cropped to the region already."""
    found: Any = copy.copy(classifier)
    inputs = classifier.recipe.inputs.model_copy(update={"region": None, "keep": 1.0})
    found.recipe = classifier.recipe.model_copy(update={"inputs": inputs})
    if isinstance(classifier, Calibrated):
        found.inner = _without_region(classifier.base_classifier(context), context)
    return found
