"""Some images without their colors: luma (ITU-R BT.601) in all three channels."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations._warp import LUMA
from tellapart.augmentations.base import Color
from tellapart.recipe.schema import OptionsModel


class Grayscale(Color):
    """As torchvision's RandomGrayscale. Does nothing to images that are gray already."""

    class Options(OptionsModel):
        """Options of `grayscale`."""

        probability: float = Field(default=0.1, ge=0, le=1, description="share of the images that lose their colors")

    options: Options

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, 1): 1 for images that lose their colors, else 0."""
        return (torch.rand(count, 1, generator=generator) < self.options.probability).float()

    def matrix(self, drawn: Tensor, mean: Tensor) -> Tensor:
        """(B, 3, 4): luma thrice, or no change."""
        unchanged = torch.eye(3, 4, device=drawn.device)
        luma = torch.tensor([*LUMA, 0.0], device=drawn.device).expand(3, 4)
        return torch.lerp(unchanged, luma, drawn[:, :, None])
