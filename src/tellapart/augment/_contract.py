"""What an augmentation promises: a batch of uint8 images in, an altered one out, parameters drawn per image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from tellapart import registry
from tellapart.recipe import Section


class Augmentation(ABC):
    """One operation. One file each; the file name is the name in recipes."""

    class Options(Section):
        """Options of the operation."""

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """images: (B, C, H, W) uint8, not changed in place → (B, C, H', W') uint8; `generator` decides everything."""


class Pipeline:
    """The `augment` section of a recipe: operations in order."""

    def __init__(self, entries: list[dict[str, dict[str, Any]]]) -> None:
        self.operations: list[Augmentation] = []
        for entry in entries:
            ((name, options),) = entry.items()
            kind = registry.find("augment", name)
            self.operations.append(kind(kind.Options.model_validate(options)))

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """images: (B, C, H, W) uint8 → (B, C, H', W') uint8."""
        for operation in self.operations:
            images = operation(images, generator)
        return images
