"""What some families can do beyond answering. A family that can says so by its bases; nothing asks with `hasattr`."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn

from tellapart.classifiers.base import Classifier


class Differentiable(ABC):
    """It has a network whose gradients say what it looks at."""

    @abstractmethod
    def module(self) -> nn.Module:
        """The network in evaluation mode, on the CPU: (B, C, H, W) uint8, or float in 0 … 255 → (B, classes) logits.

        Raises:
            RunError: It learnt from descriptors, through which no gradient reaches the pixels.
        """

    @abstractmethod
    def reinitialized(self, seed: int) -> Classifier:
        """The same with random weights: what its maps show without having learnt anything."""
