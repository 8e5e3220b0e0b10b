"""Co-occurrences of quantized residuals, or of pixels: histograms of neighboring values.

Residuals: Fridrich & Kodovsky 2012, "Rich Models for Steganalysis of Digital Images"; a tuple, its reverse and its negative
share a bin, which loses nothing in natural images and keeps the vector short. Pixels: Nataraj et al. 2019, "Detecting GAN
generated Fake Images using Co-occurrence Matrices" (arXiv:1903.06836), who use 256 levels and a network. Between channels:
Goljan, Fridrich & Cogranne 2014, "Rich Model for Steganalysis of Color Images".
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from tellapart.errors import RecipeError
from tellapart.features._blocks import histograms, map_blocks, to_planes
from tellapart.features._residuals import Kernel, merged, quantized, residuals, symmetric
from tellapart.features.base import Descriptor
from tellapart.recipe.schema import OptionsModel

_LONGEST = 20_000  # maximum number of tuples of one histogram, before equivalent ones are merged
_bins = cache(symmetric)


class Cooccurrence(Descriptor):
    """Co-occurrence histograms: for each source and step, C · K along the residual, C · K across it, and K' between channels.

    K is the number of bins: levels^order, or somewhat more than a quarter of it. Tuples along rows and tuples along columns (of
    the residual along columns) share one histogram. Pixels and the two square kernels have no second direction.
    """

    class Options(OptionsModel):
        """Options of the co-occurrences."""

        of: list[Kernel | Literal["pixels"]] = Field(
            default=["second"], min_length=1, description="sources that are counted: residuals, by predictor, or pixels"
        )
        levels: int = Field(default=5, ge=2, le=128, description="number of levels after quantization; odd for residuals")
        quantum: float = Field(default=1.0, gt=0, description="residuals: width of a level, in gray levels")
        order: int = Field(default=3, ge=2, le=5, description="number of values in a tuple")
        steps: list[Annotated[int, Field(ge=1)]] = Field(
            default=[1], min_length=1, description="distances between the values of a tuple, in pixels"
        )
        channels: bool = Field(default=False, description="add the tuples of the three channels of a pixel")
        root: bool = Field(
            default=True, description="take square roots of the frequencies, which gives rare tuples more weight"
        )

        @field_validator("levels")
        @classmethod
        def _zero_is_in_the_middle(cls, value: int, info: ValidationInfo) -> int:
            if value % 2 == 0 and set(info.data.get("of", ["pixels"])) != {"pixels"}:
                raise ValueError("must be odd for residuals, so that the middle level is 0")
            return value

        @field_validator("order")
        @classmethod
        def _tuples_are_bounded(cls, value: int, info: ValidationInfo) -> int:
            if info.data.get("levels", 2) ** value > _LONGEST:
                raise ValueError(
                    f"with levels {info.data['levels']} there are more than {_LONGEST:,} tuples; lower one of the two"
                )
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
            # for each direction: one map along rows; the other, of the transposed predictor, along columns
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
    """Bins of the triples of channels: their order counts; with `signs`, a triple and its negative share a bin."""
    codes = np.arange(levels**3)
    return merged([codes, codes[::-1]]) if signs else codes


def _tuples(values: np.ndarray, levels: int, order: int, step: int, axis: int) -> np.ndarray:
    """Code of every tuple, a number in base `levels`: `order` values at distance `step` along an axis of (B, C, h, w)."""
    length = values.shape[axis] - (order - 1) * step
    if length < 1:
        raise RecipeError(
            f"features: cooccurrence with order {order} and step {step} needs more than {values.shape[axis]} pixels in a row",
            hint="set a lower order, smaller steps, or a larger inputs.size",
        )
    places = [np.take(values, np.arange(i * step, i * step + length), axis) for i in range(order)]
    code = places[0]
    for place in places[1:]:
        code = code * levels + place
    return code


def _shares(pair: list[np.ndarray], bins: int) -> np.ndarray:
    """One normalized histogram over several maps of codes, weighted by their sizes: (B, C · bins) float32."""
    sizes = [m.shape[2] * m.shape[3] for m in pair]
    weighed = [histograms(m, bins, 1) * np.float32(size / sum(sizes)) for m, size in zip(pair, sizes, strict=True)]
    return np.sum(weighed, axis=0)
