"""The interface of augmentations: a batch of uint8 images in, an altered one out, parameters drawn per image.

Neighbors in a recipe that only say where a pixel comes from (`Geometry`) or how its channels mix (`Color`) are done in one
pass: each gives its matrix, the matrices are multiplied, the image is sampled once. So three rotations do not blur three times.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tellapart import registry
from tellapart.augmentations import _warp
from tellapart.augmentations._warp import Size
from tellapart.errors import RecipeError
from tellapart.recipe.load import check_options
from tellapart.recipe.schema import OptionsModel

#: Values that the CPU works on at a time: its caches hold them. 64 images of 224×224 take 60 ms so, 71 to 130 at once.
_AT_ONCE = 2**20
#: {name: options}; a list of options is short for `of`, the entries of a combinator.
Entry = dict[str, Any]


class Augmentation(ABC):
    """One operation. One file each; the file name is the name in recipes."""

    class Options(OptionsModel):
        """Options of the operation."""

    def __init__(self, options: OptionsModel) -> None:
        self.options = options

    @abstractmethod
    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """images: (B, C, H, W) uint8, not changed in place → (B, C, H', W') uint8; `generator` decides everything.

        C is 3 (RGB) or 1 (gray). `generator` is of the CPU also where the images are not; what it gives is moved.
        """


class Geometry(Augmentation):
    """An operation that only moves pixels: it gives a matrix from output to input positions."""

    #: Every pixel of the output is a pixel of the input: mirroring, rotations by multiples of 90°, shifts by whole pixels.
    exact: ClassVar[bool] = False

    @abstractmethod
    def draw(self, count: int, size: Size, generator: torch.Generator) -> tuple[Tensor, Size]:
        """Matrices (count, 2, 3) float32 as in `_sampling`, and the output's height and width, for images of `size`."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """images: (B, C, H, W) uint8 → (B, C, H', W') uint8, in channels_last."""
        return apply_fused([self], images, generator)


class Color(Augmentation):
    """Mixes the channels of each pixel; a hue or a saturation of a gray image does nothing."""

    #: Whether the matrix depends on the image's mean.
    measures: ClassVar[bool] = False

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Parameters, one row an image: (count, …) float32."""

    @abstractmethod
    def matrix(self, drawn: Tensor, mean: Tensor) -> Tensor:
        """drawn: what `draw` gave; mean: (B, 3), the images' mean color, 0 … 255 → (B, 3, 4), as in `_sampling`."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """images: (B, C, H, W) uint8 → the same shape, in channels_last."""
        return apply_fused([self], images, generator)


class RandomApply(Augmentation):
    """Changes some images and leaves the others as they are."""

    class Options(OptionsModel):
        """Options of every such operation."""

        probability: float = Field(default=0.5, ge=0, le=1, description="share of the images that are changed")

    options: Options

    @abstractmethod
    def change(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """images: (K, C, H, W) uint8, those to be changed → the same shape; they may be used up."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """images: (B, C, H, W) uint8 → the same shape, in channels_last."""
        rows = (torch.rand(len(images), generator=generator) < self.options.probability).nonzero()[:, 0]
        if not len(rows):
            return images
        changed = self.change(_warp.take(images, rows), generator)
        if len(rows) == len(images):
            return changed
        out = images.clone(memory_format=torch.channels_last)
        return out.index_copy_(0, rows.to(images.device), changed)


@dataclass(frozen=True)
class MixedBatch:
    """A batch whose images each hold some of another image; so do their labels: share · own + (1 − share) · partner's.

    Attributes:
        images: (B, C, H, W) uint8.
        partner: (B,) int64, the row of the other image in the batch that went in.
        share: (B,) float32, what is left of the own image, 0 … 1.
    """

    images: Tensor
    partner: Tensor
    share: Tensor


class MixAugmentation(Augmentation):
    """Mixes images of a batch with one another, which changes labels too: only as the last of a recipe."""

    @abstractmethod
    def mix(self, images: Tensor, generator: torch.Generator) -> MixedBatch:
        """images: (B, C, H, W) uint8, not changed in place."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """The images of `mix`; for looking at."""
        return self.mix(images, generator).images


class UnionAugmentation(Augmentation):
    """Makes several versions of each image: the set is joined with altered copies of itself."""

    versions: int

    @abstractmethod
    def __call__(self, images: Tensor, generator: torch.Generator, versions: Tensor | None = None) -> Tensor:
        """images: (B, C, H, W) uint8; versions: (B,) int64, which version of each; none: drawn evenly."""


class Steps:
    """Operations in order, neighbors fused; what a pipeline and the combinators are made of."""

    def __init__(self, operations: Sequence[Augmentation]) -> None:
        self.runs: list[list[Augmentation]] = []
        for operation in operations:
            joins = self.runs and _fuses(operation) and _fuses(self.runs[-1][-1])
            if joins:
                self.runs[-1].append(operation)
            else:
                self.runs.append([operation])

    @classmethod
    def within(cls, entries: Sequence[Entry], owner: str) -> Steps:
        """The operations inside the combinator `owner`.

        Raises:
            RecipeError: One that works only on the outside: `union`, `mixup` and their like.
        """
        operations = build(entries)
        for operation, entry in zip(operations, entries, strict=True):
            if isinstance(operation, MixAugmentation | UnionAugmentation):
                where = "as the last entry" if isinstance(operation, MixAugmentation) else "as the first entry"
                raise RecipeError(
                    f"augment: {owner}: {next(iter(entry))} cannot be used inside another augmentation",
                    hint=f"put it {where} of `augment`",
                )
        return cls(operations)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """images: (B, C, H, W) uint8 → (B, C, H', W') uint8."""
        for run in self.runs:
            images = apply_fused(run, images, generator) if _fuses(run[0]) else run[0](images, generator)
        return images

    def same_size(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """As calling it; a smaller window is resampled back to the size that went in, since a batch has one size."""
        return _warp.resize(self(images, generator), (images.shape[2], images.shape[3]))


class Pipeline:
    """The `augment` section of a recipe.

    Raises:
        RecipeError: An unknown name or option; a `union` that is not first; a `mixup` or `cutmix` that is not last.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        operations = build(entries)
        for place, (operation, entry) in enumerate(zip(operations, entries, strict=True), 1):
            name = next(iter(entry))
            if isinstance(operation, UnionAugmentation) and place > 1:
                raise RecipeError(f"augment: {name} must be the first entry, found it as number {place} of {len(entries)}")
            if isinstance(operation, MixAugmentation) and place < len(entries):
                raise RecipeError(f"augment: {name} must be the last entry, found it as number {place} of {len(entries)}")
        self._mixing = next((o for o in operations if isinstance(o, MixAugmentation)), None)
        self._joining = next((o for o in operations if isinstance(o, UnionAugmentation)), None)
        self._steps = Steps([o for o in operations if not isinstance(o, MixAugmentation | UnionAugmentation)])
        #: How many versions of each image an epoch holds: 1, or those of a `union`.
        self.versions = self._joining.versions if self._joining else 1

    def __call__(self, images: Tensor, generator: torch.Generator, versions: Tensor | None = None) -> Tensor:
        """Augment a batch; never mixes.

        Args:
            images: (B, C, H, W) uint8.
            generator: Of the CPU; decides everything.
            versions: (B,) int64, which version of each image a `union` makes; none: drawn evenly.

        Returns:
            (B, C, H', W') uint8; the images themselves where there is nothing to do.
        """
        if self._joining:
            images = self._joining(images, generator, versions)
        return self._steps(images, generator)

    def mix(self, images: Tensor, generator: torch.Generator) -> MixedBatch | None:
        """images: (B, C, H, W) uint8, what the call gave; none where the recipe mixes nothing."""
        return self._mixing.mix(images, generator) if self._mixing else None


def build(entries: Sequence[Entry]) -> list[Augmentation]:
    """The operations that entries name.

    Raises:
        RecipeError: An unknown name or option.
    """
    operations: list[Augmentation] = []
    for entry in entries:
        ((name, options),) = entry.items()
        kind = registry.find("augmentations", name)
        options = {"of": options} if isinstance(options, list) else options
        operations.append(kind(check_options(kind.Options, options, f"augment: {name}")))
    return operations


def apply_fused(operations: Sequence[Augmentation], images: Tensor, generator: torch.Generator) -> Tensor:
    """Geometry and color in one pass. images: (B, C, H, W) uint8 → (B, C, H', W') uint8, in channels_last.

    The geometry is done first; a contrast is around the mean of what it leaves. Exact operations alone resample nothing.
    """
    count, size = len(images), (images.shape[2], images.shape[3])
    place, colors, exact, moved = _warp.identity(count, 2), [], True, False
    for operation in operations:
        if isinstance(operation, Geometry):
            matrices, size = operation.draw(count, size, generator)
            place, exact, moved = _warp.compose(place, matrices), exact and operation.exact, True
        elif isinstance(operation, Color):
            colors.append((operation, operation.draw(count, generator)))
    if not count:
        return images.new_empty(0, images.shape[1], *size)
    at_once = count if images.device.type != "cpu" else max(1, _AT_ONCE // (images.shape[1] * size[0] * size[1]))
    kernel = (_warp.gather if exact else _warp.warp) if moved else None
    made = []
    for rows in (slice(start, start + at_once) for start in range(0, count, at_once)):
        values = kernel(images[rows], place[rows], size) if kernel else images[rows]
        if colors:
            values = _warp.mix_channels(values, _color_matrix([(o, d[rows]) for o, d in colors], values))
        made.append(values if values.dtype == torch.uint8 else _warp.to_bytes(values))
    return made[0] if len(made) == 1 else torch.cat([m.permute(0, 2, 3, 1) for m in made]).permute(0, 3, 1, 2)


def _color_matrix(colors: list[tuple[Color, Tensor]], values: Tensor) -> Tensor:
    """All color operations as one (B, 3, 4), on the device of the images."""
    measures = any(operation.measures for operation, _ in colors)
    mean = _warp.mean_color(values) if measures else torch.zeros(len(values), 3, device=values.device)
    total = _warp.identity(len(values), 3).to(values.device)
    for operation, drawn in colors:
        now = torch.einsum("bij,bj->bi", total[:, :, :3], mean) + total[:, :, 3]
        total = _warp.compose(operation.matrix(drawn.to(values.device), now), total)
    return total


def _fuses(operation: Augmentation) -> bool:
    return isinstance(operation, Geometry | Color)
