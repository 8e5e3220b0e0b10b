"""A fitted classifier as explainers see it: it answers pictures, and, if it is a network, lends its module."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tellapart.data.cache import PixelCache
from tellapart.data.decode import decode_to
from tellapart.data.memory import from_arrays
from tellapart.errors import RunError
from tellapart.families._abilities import Differentiable
from tellapart.families._contract import Classifier, Context

_PORTION = 32  # pictures asked about at a time: they are held at their own size


class Subject:
    """A classifier that is asked about pictures in memory.

    Args:
        classifier: Fitted.
        context: Its surroundings; nothing is cached on disk.
        name: Of the run, for messages.
    """

    def __init__(self, classifier: Classifier, context: Context, name: str = "") -> None:
        self.classifier, self.context, self.name = classifier, context, name
        self.layer = ""  # chosen by the first map that needs one

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.classifier.classes

    def ask(self, images: Iterator[np.ndarray] | Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities of pictures of one size: each (H, W, 3) uint8 → (N, C) float32."""
        found, portion = [], []
        for image in images:
            portion.append(image)
            if len(portion) == _PORTION:
                found.append(self._answers(portion))
                portion = []
        if portion or not found:
            found.append(self._answers(portion))
        return np.concatenate(found)

    def _answers(self, images: list[np.ndarray]) -> np.ndarray:
        if not images:
            return np.zeros((0, len(self.classes)), np.float32)
        table = from_arrays(np.stack(images), [-1] * len(images), self.classes)
        inside = Context(PixelCache(), device=self.context.device, parents=self.context.parents)
        return self.classifier.predict(table, inside).proba

    def module(self) -> nn.Module:
        """The network, ready to answer: (B, C, H, W) uint8, or float in 0 … 255 → (B, classes) logits.

        Raises:
            RunError: It is none, or learnt from descriptors.
        """
        if not isinstance(self.classifier, Differentiable):
            hint = "occlusion and rise explain any classifier"
            raise RunError(f"{self.name or 'this classifier'} is no network: it has no gradients and no maps", hint=hint)
        return self.classifier.module()

    def untrained(self, seed: int) -> Subject | None:
        """The same network with random weights; None where it is none."""
        if not isinstance(self.classifier, Differentiable):
            return None
        return Subject(self.classifier.untrained(seed), self.context, self.name)

    def seen(self, image: np.ndarray) -> Tensor:
        """What the network is shown of a picture: (H, W, 3) uint8 → (1, C, h, w) float32 in 0 … 255."""
        pixels = decode_to(image, self.classifier.recipe.inputs, "the picture")
        return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None]
