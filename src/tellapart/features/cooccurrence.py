"""Which values stand beside which: co-occurrences of quantized residuals, or of pixels.

Of residuals: Fridrich & Kodovsky 2012, "Rich Models for Steganalysis of Digital Images"; a tuple, its reverse and its negative
count as one, which loses nothing in natural pictures and keeps the vector short. Of pixels: Nataraj et al. 2019, "Detecting
GAN generated Fake Images using Co-occurrence Matrices" (arXiv:1903.06836), there with 256 levels for a network. Between
channels: Goljan, Fridrich & Cogranne 2014, "Rich Model for Steganalysis of Color Images".
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from tellapart.errors import RecipeError
from tellapart.features._blocks import histograms, map_blocks, to_planes
from tellapart.features._residuals import Kernel, merged, quantized, residuals, symmetric
from tellapart.features.base import Descriptor
from tellapart.recipe.schema import OptionsModel

_LONGEST = 20_000  # tuples of one histogram, before those that count as one are merged
_bins = cache(symmetric)


class Cooccurrence(Descriptor):
    """Of each source and step: C · K along the residual, C · K across it, and K' between channels.

    K: different tuples, levels^order or somewhat more than a quarter of it. The tuples along rows and those along columns, with
    the residual turned, share one histogram. Pixels and the two kernels that are squares have no second direction.
    """

    class Options(OptionsModel):
        """Options of the co-occurrences."""

        of: list[Kernel | Literal["pixels"]] = Field(
            default=["second"], min_length=1, description="what is counted: residuals by their predictor, or the pixels"
        )
        levels: int = Field(default=5, ge=2, le=128, description="values after quantising; odd for residuals")
        quantum: float = Field(default=1.0, gt=0, description="of a residual: gray values a level")
        order: int = Field(default=3, ge=2, le=5, description="values in a row that make a tuple")
        steps: list[Annotated[int, Field(ge=1)]] = Field(
            default=[1], min_length=1, description="pixels between the values of a tuple"
        )
        channels: bool = Field(default=False, description="add tuples of the three channels of one pixel")
        root: bool = Field(default=True, description="square roots of the shares: rare tuples then count for more")

        @field_validator("levels")
        @classmethod
        def _zero_is_in_the_middle(cls, value: int, info: ValidationInfo) -> int:
            if value % 2 == 0 and set(info.data.get("of", ["pixels"])) != {"pixels"}:
                raise ValueError("must be odd for residuals, so that 0 is the level in the middle")
            return value

        @field_validator("order")
        @classmethod
        def _tuples_are_bounded(cls, value: int, info: ValidationInfo) -> int:
            if info.data.get("levels", 2) ** value > _LONGEST:
                raise ValueError(f"and levels {info.data['levels']} make more than {_LONGEST:,} tuples; lower one of them")
            return value

    options: Options

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """images: (B, H, W, C) uint8 → (B, D) float32.

        Raises:
            RecipeError: The images are smaller than a tuple.
        """
        return map_blocks(images, self._describe)

    def _describe(self, images: np.ndarray) -> np.ndarray:
        shares = np.concatenate([part for source in self.options.of for part in self._of(images, source)], axis=1)
        return np.sqrt(shares) if self.options.root else shares

    def _of(self, images: np.ndarray, source: str) -> list[np.ndarray]:
        o, signs = self.options, source != "pixels"
        maps = [quantized(r, o.quantum, o.levels // 2) for r in residuals(images, source)] if signs else None
        maps = maps or [to_planes(images).astype(np.int64) * o.levels // 256]
        along, across = maps[0], maps[-1]
        ways = [(along, across)] if len(maps) == 1 else [(along, across), (across, along)]
        bins = _bins(o.levels, o.order, signs=signs)
        found = []
        for step in o.steps:
            # of each way: one map along rows, the other, the same predictor turned, along columns
            for rows, columns in ways:
                pair = [bins[_tuples(m, o.levels, o.order, step, axis)] for m, axis in ((rows, 3), (columns, 2))]
                found.append(_shares(pair, int(bins.max()) + 1))
        if o.channels and images.shape[3] == 3:
            bins = _channel_bins(o.levels, signs)
            codes = [bins[np.einsum("bchw,c->bhw", m, o.levels ** np.arange(3))][:, None] for m in maps]
            found.append(_shares(codes, int(bins.max()) + 1))
        return found


@cache
def _channel_bins(levels: int, signs: bool) -> np.ndarray:
    """Triples of channels keep their order; a triple and its negative count as one where there are signs."""
    codes = np.arange(levels**3)
    return merged([codes, codes[::-1]]) if signs else codes


def _tuples(values: np.ndarray, levels: int, order: int, step: int, axis: int) -> np.ndarray:
    """`order` values, `step` apart along an axis of (B, C, h, w), as one number in base `levels`."""
    length = values.shape[axis] - (order - 1) * step
    if length < 1:
        raise RecipeError(
            f"features: cooccurrence of {order} values {step} apart needs more than {values.shape[axis]} of them in a row",
            hint="give a lower order, smaller steps, or a larger inputs.size",
        )
    places = [np.take(values, np.arange(i * step, i * step + length), axis) for i in range(order)]
    code = places[0]
    for place in places[1:]:
        code = code * levels + place
    return code


def _shares(pair: list[np.ndarray], bins: int) -> np.ndarray:
    """One histogram over several maps of codes: (B, C · bins) float32, by the number of codes that each has."""
    sizes = [m.shape[2] * m.shape[3] for m in pair]
    weighed = [histograms(m, bins, 1) * np.float32(size / sum(sizes)) for m, size in zip(pair, sizes, strict=True)]
    return np.sum(weighed, axis=0)
