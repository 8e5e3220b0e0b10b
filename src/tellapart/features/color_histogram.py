"""Color histograms and moments.

Swain & Ballard 1991, "Color Indexing" (joint histograms); Stricker & Orengo 1995, "Similarity of Color Images" (mean, standard
deviation and skewness of each channel). Gray images have one channel in every color space.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from tellapart.features._blocks import cell_index, histograms, map_blocks, to_planes
from tellapart.features.base import Descriptor
from tellapart.recipe.schema import OptionsModel

#: Minimum and maximum of each channel as OpenCV returns them for float images; a* and b* of all sRGB colors lie within ±110.
_RANGES = {
    "rgb": ((0, 1), (0, 1), (0, 1)),
    "hsv": ((0, 360), (0, 1), (0, 1)),
    "lab": ((0, 100), (-110, 110), (-110, 110)),
}

_JOINT = 16  # maximum number of bins per channel of a joint histogram: 4,096 values


class ColorHistogram(Descriptor):
    """Color histogram and moments: D = cells² · (C · bins, or bins^C if joint) + cells² · C · 3 moments."""

    class Options(OptionsModel):
        """Options of the color histograms."""

        space: Literal["rgb", "hsv", "lab"] = Field(
            default="hsv", description="color space: rgb; hsv (hue, saturation, value); lab, CIE L*a*b* (D65)"
        )
        bins: int = Field(default=16, ge=2, le=256, description="number of bins per channel")
        joint: bool = Field(
            default=False, description="compute one joint histogram of the three channels; 8 bins give 512 values"
        )
        root: bool = Field(
            default=True, description="take square roots of the frequencies, which gives rare colors more weight"
        )
        moments: bool = Field(default=True, description="add mean, standard deviation and skewness of each channel")
        cells: int = Field(default=1, ge=1, description="number of cells along each side; each has its own histogram")

        @field_validator("joint")
        @classmethod
        def _joint_is_bounded(cls, value: bool, info: ValidationInfo) -> bool:
            if value and info.data.get("bins", 0) > _JOINT:
                raise ValueError(f"a joint histogram takes at most {_JOINT} bins per channel, bins³ values; lower `bins`")
            return value

    options: Options

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """images: (B, H, W, C) uint8 → (B, D) float32."""
        return map_blocks(images, self._describe)

    def _describe(self, images: np.ndarray) -> np.ndarray:
        o = self.options
        x = to_color_space(images, o.space)
        places = np.minimum((x * o.bins).astype(np.int64), o.bins - 1)
        channels = places.shape[1]
        if o.joint:
            places = np.einsum("bchw,c->bhw", places, o.bins ** np.arange(channels)[::-1])[:, None]
        shares = histograms(places, o.bins**channels if o.joint else o.bins, o.cells)
        parts = [np.sqrt(shares) if o.root else shares]
        return np.concatenate([*parts, *([_moments(x, o.cells)] if o.moments else [])], axis=1)


def to_color_space(images: np.ndarray, space: str) -> np.ndarray:
    """Convert to a color space: (B, H, W, C) uint8 RGB or gray → (B, C, H, W) float32, each channel scaled to [0, 1]."""
    x = images.astype(np.float32) / 255
    if images.shape[3] == 1 or space == "rgb":
        return to_planes(x)
    import cv2

    code = cv2.COLOR_RGB2HSV if space == "hsv" else cv2.COLOR_RGB2LAB
    converted = cv2.cvtColor(x.reshape(-1, 1, 3), code).reshape(x.shape)
    low, high = np.array(_RANGES[space], np.float32).T
    return to_planes(np.clip((converted - low) / (high - low), 0, 1))


def _moments(x: np.ndarray, cells: int) -> np.ndarray:
    """Mean, standard deviation and cube root of the third central moment of every cell and channel: (B, cells² · 3 · C)."""
    rows, columns = cell_index(x.shape[2], cells), cell_index(x.shape[3], cells)
    found = []
    for i, j in np.ndindex(cells, cells):
        cell = x[:, :, rows == i][..., columns == j].reshape(len(x), x.shape[1], -1)
        if not cell.shape[2]:  # more cells than pixels
            found.append(np.zeros((len(x), 3 * x.shape[1]), np.float32))
            continue
        mean = cell.mean(axis=2)
        gap = cell - mean[..., None]
        square = gap * gap
        found += [mean, np.sqrt(square.mean(axis=2)), np.cbrt((square * gap).mean(axis=2))]
    return np.concatenate(found, axis=1)
