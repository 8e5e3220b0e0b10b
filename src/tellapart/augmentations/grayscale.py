"""Conversion of some images to grayscale: luma (ITU-R BT.601) in all three channels."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations._warp import LUMA
from tellapart.augmentations.base import Color
from tellapart.recipe.schema import OptionsModel


class Grayscale(Color):
    """Random grayscale as torchvision's RandomGrayscale; no effect on gray images."""

    class Options(OptionsModel):
        """Options of `grayscale`."""

        probability: float = Field(default=0.1, ge=0, le=1, description="fraction of the images that are converted")

    options: Options

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw (count, 1): 1 for images that are converted, else 0."""
        return (torch.rand(count, 1, generator=generator) < self.options.probability).float()

    def matrix(self, drawn: Tensor, mean: Tensor) -> Tensor:
        """Color matrices (B, 3, 4): luma in all channels, or the identity."""
        unchanged = torch.eye(3, 4, device=drawn.device)
        luma = torch.tensor([*LUMA, 0.0], device=drawn.device).expand(3, 4)
        return torch.lerp(unchanged, luma, drawn[:, :, None])
