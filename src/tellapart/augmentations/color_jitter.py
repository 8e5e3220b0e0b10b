"""Random brightness, contrast, saturation and hue, as one matrix per image.

Parameters are drawn as in torchvision's ColorJitter (factors uniform in max(0, 1 − x) … 1 + x, hue uniform in −x … x), and the
formulas of brightness, contrast and saturation are the same. Differences: the order is fixed, values are clipped once at the
end, and hue is a rotation about the gray axis instead of one in HSV. Both turn red into green at 1/3; in between they differ by
some levels.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tellapart.augmentations._random import uniform
from tellapart.augmentations._warp import LUMA
from tellapart.augmentations.base import Color as ColorOperation
from tellapart.recipe.schema import OptionsModel


class ColorJitter(ColorOperation):
    """Color jitter; for gray images, brightness and contrast only."""

    class Options(OptionsModel):
        """Options of `color_jitter`."""

        brightness: float = Field(default=0.2, ge=0, description="maximum change of the factor of all values")
        contrast: float = Field(
            default=0.2, ge=0, description="maximum change of the factor of the distance from the mean luma"
        )
        saturation: float = Field(default=0.2, ge=0, description="maximum change of the factor of the distance from gray")
        hue: float = Field(default=0.02, ge=0, le=0.5, description="maximum rotation of the hue, as a fraction of the circle")

    measures: ClassVar[bool] = True
    options: Options

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw (count, 4): factors of brightness, contrast and saturation, and the hue as a fraction of the circle."""
        spreads = (self.options.brightness, self.options.contrast, self.options.saturation)
        factors = [uniform(max(0.0, 1 - spread), 1 + spread, count, generator) for spread in spreads]
        return torch.stack([*factors, uniform(-self.options.hue, self.options.hue, count, generator)], 1)

    def matrix(self, drawn: Tensor, mean: Tensor) -> Tensor:
        """Color matrices hue · saturation · contrast · brightness, (B, 3, 4); gray pixels remain gray."""
        brightness, contrast, saturation, hue = drawn.T[:, :, None, None]
        luma = torch.tensor(LUMA, device=mean.device)
        eye = torch.eye(3, device=mean.device)
        saturate = saturation * eye + (1 - saturation) * luma.expand(3, 3)
        linear = brightness * contrast * (_hue_rotation(hue) @ saturate)
        constant = (1 - contrast) * brightness * (mean @ luma)[:, None, None]
        return torch.cat([linear, constant.expand(-1, 3, 1)], 2)


def _hue_rotation(share: Tensor) -> Tensor:
    """Rotation about the gray axis by a fraction of the circle: (B, 1, 1) → (B, 3, 3) (Rodrigues' formula)."""
    cosine, sine = (share * 2 * math.pi).cos(), (share * 2 * math.pi).sin()
    eye = torch.eye(3, device=share.device)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=share.device)
    return cosine * eye + (1 - cosine) / 3 + sine / math.sqrt(3) * cross
