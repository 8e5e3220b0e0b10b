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
from tellapart.features._blocks import map_blocks, shares, to_planes
from tellapart.features._compiled import count_tuples
from tellapart.features._residuals import KERNELS, Kernel, merged, quantized, residuals, symmetric
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
        found = np.concatenate([part for source in self.options.of for part in self._of(images, source)], axis=1)
        return np.sqrt(found) if self.options.root else found

    def _of(self, images: np.ndarray, source: str) -> list[np.ndarray]:
        o, signs = self.options, source != "pixels"
        if signs:
            scale = KERNELS[source][1]
            maps = [
                quantized(r, scale, o.quantum, o.levels // 2) for r in residuals(to_planes(images).astype(np.int16), source)
            ]
        else:
            maps = [(to_planes(images).astype(np.uint16) * np.uint16(o.levels) >> 8).astype(np.uint8)]
        along, across = maps[0], maps[-1]
        ways = [(along, across)] if len(maps) == 1 else [(along, across), (across, along)]
        bins = _bins(o.levels, o.order, signs=signs)
        found = []
        for step in o.steps:
            # for each direction: one map along rows; the other, of the transposed predictor, along columns
            for rows, columns in ways:
                counts = np.zeros((*rows.shape[:2], len(bins)), np.int64)
                for m, down in ((rows, False), (columns, True)):
                    self._check_length(m.shape[2 if down else 3], step)
                    count_tuples(m, o.levels, o.order, step, down, counts)
                found.append(_merged_shares(counts, bins))
        if o.channels and images.shape[3] == 3:
            bins = _channel_bins(o.levels, signs)
            counts = np.zeros((len(images), 1, len(bins)), np.int64)
            for m in maps:  # the channels as one column of three values per pixel
                column = np.ascontiguousarray(m[:, ::-1].reshape(len(m), 1, 3, -1))
                count_tuples(column, o.levels, 3, 1, True, counts)
            found.append(_merged_shares(counts, bins))
        return found

    def _check_length(self, length: int, step: int) -> None:
        order = self.options.order
        if length <= (order - 1) * step:
            raise RecipeError(
                f"features: cooccurrence with order {order} and step {step} needs more than {length} pixels in a row",
                hint="set a lower order, smaller steps, or a larger inputs.size",
            )


@cache
def _channel_bins(levels: int, signs: bool) -> np.ndarray:
    """Bins of the triples of channels: their order counts; with `signs`, a triple and its negative share a bin."""
    codes = np.arange(levels**3)
    return merged([codes, codes[::-1]]) if signs else codes


def _merged_shares(counts: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Frequencies of the bins, from counts of the codes (B, C, K): (B, C · D) float32."""
    order = np.argsort(bins, kind="stable")
    starts = np.searchsorted(bins[order], np.arange(int(bins.max()) + 1))
    return shares(np.add.reduceat(counts[:, :, order], starts, axis=2)).reshape(len(counts), -1)
