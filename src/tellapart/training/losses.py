"""Losses by name, with class weights, for labels that may be mixed from two images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tellapart.recipe.schema import Train

_MARGIN = 1e-6  # lower bound of 1 − p: at 0 the gradient of a power below 1 is infinite


class Loss:
    """The training loss of a configuration.

    Cross-entropy with label smoothing (Szegedy et al. 2016, eq. 7), or focal loss, (1 − p)^γ times it (Lin et al. 2017, eq. 4).
    Balanced class weights are n / (number of classes present · n of the class), as in scikit-learn; the mean is divided by the
    sum of the weights, as in torch.
    """

    def __init__(self, config: Train, labels: np.ndarray, classes: int, device: torch.device) -> None:
        self.config = config
        self.weights: Tensor | None = None
        if config.class_weights == "balanced":
            self.weights = torch.from_numpy(balanced(labels, classes)).to(device)

    def __call__(self, logits: Tensor, labels: Tensor, partner: Tensor | None = None, share: Tensor | None = None) -> Tensor:
        """Mean loss of a batch, a scalar.

        Args:
            logits: (B, C) float32.
            labels: (B,) int64.
            partner: (B,) int64, labels of the images that were mixed in; None: no mixing.
            share: (B,) float32 in [0, 1], weight of the image's own label.
        """
        if partner is None or share is None:
            if self.config.loss == "cross_entropy":
                return F.cross_entropy(logits, labels, self.weights, label_smoothing=self.config.label_smoothing)
            return self._mean(self._each(logits, labels), self._weight(labels))
        each = share * self._each(logits, labels) + (1 - share) * self._each(logits, partner)
        return self._mean(each, share * self._weight(labels) + (1 - share) * self._weight(partner))

    def _each(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Weighted loss of each image, (B,)."""
        smooth = self.config.label_smoothing
        each = F.cross_entropy(logits, labels, self.weights, label_smoothing=smooth, reduction="none")
        if self.config.loss == "focal":
            p = logits.softmax(1).gather(1, labels[:, None])[:, 0]
            each = each * (1 - p).clamp_min(_MARGIN) ** self.config.focal_gamma
        return each

    def _weight(self, labels: Tensor) -> Tensor:
        return torch.ones_like(labels, dtype=torch.float32) if self.weights is None else self.weights[labels]

    @staticmethod
    def _mean(each: Tensor, weights: Tensor) -> Tensor:
        return each.sum() / weights.sum()


def balanced(labels: np.ndarray, classes: int) -> np.ndarray:
    """Balanced class weights, n / (number of classes present · n of the class): (classes,) float32; 0 for an absent class."""
    counts = np.bincount(labels, minlength=classes)
    present = counts > 0
    weights = np.zeros(classes, np.float32)
    weights[present] = len(labels) / (present.sum() * counts[present])
    return weights
