"""The interface of augmentations: a batch of uint8 images in, an augmented batch out, with parameters drawn for each image.

Adjacent augmentations of a recipe that only move pixels (`Geometry`) or mix channels (`Color`) are applied in one pass: their
matrices are multiplied, and the image is resampled once. Three rotations thus do not blur three times.
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

#: Values that the CPU processes at a time, to fit its caches: 64 images of 224×224 take 60 ms, instead of 71 to 130 at once.
_AT_ONCE = 2**20
#: {name: options}; a list in place of the options stands for `of`, the entries of a combinator.
Entry = dict[str, Any]


class Augmentation(ABC):
    """Base class of augmentations. One file each; the file name is the name in recipes."""

    class Options(OptionsModel):
        """Options of the augmentation."""

    def __init__(self, options: OptionsModel) -> None:
        self.options = options

    @abstractmethod
    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augment a batch: (B, C, H, W) uint8, not modified in place → (B, C, H', W') uint8.

        C is 3 (RGB) or 1 (gray). All randomness comes from `generator`, which is on the CPU even if the images are not; its
        numbers are moved to their device.
        """


class Geometry(Augmentation):
    """An augmentation that only moves pixels, by a matrix from output to input positions."""

    #: Whether every output pixel is an input pixel, as in flips, rotations by multiples of 90°, and shifts by whole pixels.
    exact: ClassVar[bool] = False

    @abstractmethod
    def draw(self, count: int, size: Size, generator: torch.Generator) -> tuple[Tensor, Size]:
        """Return matrices (count, 2, 3) float32 as in `_warp`, and height and width of the output, for images of `size`."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """images: (B, C, H, W) uint8 → (B, C, H', W') uint8, in channels_last."""
        return apply_fused([self], images, generator)


class Color(Augmentation):
    """An augmentation that mixes the channels of each pixel; hue and saturation have no effect on gray images."""

    #: Whether the matrix depends on the image's mean.
    measures: ClassVar[bool] = False

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw parameters, one row per image: (count, …) float32."""

    @abstractmethod
    def matrix(self, drawn: Tensor, mean: Tensor) -> Tensor:
        """Color matrices (B, 3, 4), as in `_warp`, from the result of `draw` and the mean color of the images, (B, 3) in 0 …
        255.
        """

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """images: (B, C, H, W) uint8 → the same shape, in channels_last."""
        return apply_fused([self], images, generator)


class RandomApply(Augmentation):
    """An augmentation that is applied to some images and leaves the others unchanged."""

    class Options(OptionsModel):
        """Options of all such augmentations."""

        probability: float = Field(default=0.5, ge=0, le=1, description="fraction of the images that are changed")

    options: Options

    @abstractmethod
    def change(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Change all given images, which may be overwritten: (K, C, H, W) uint8 → the same shape."""

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
    """A batch of mixed images, with mixed labels: share · own label + (1 − share) · label of the partner.

    Attributes:
        images: (B, C, H, W) uint8.
        partner: (B,) int64, row of the other image in the input batch.
        share: (B,) float32 in [0, 1], share of the own image.
    """

    images: Tensor
    partner: Tensor
    share: Tensor


class MixAugmentation(Augmentation):
    """An augmentation that mixes the images of a batch and their labels; only as the last entry of a recipe."""

    @abstractmethod
    def mix(self, images: Tensor, generator: torch.Generator) -> MixedBatch:
        """Mix a batch: (B, C, H, W) uint8, not modified in place."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """The images of `mix` without labels, for display."""
        return self.mix(images, generator).images


class UnionAugmentation(Augmentation):
    """An augmentation that extends the training set with augmented versions of each image."""

    versions: int

    @abstractmethod
    def __call__(self, images: Tensor, generator: torch.Generator, versions: Tensor | None = None) -> Tensor:
        """Augment images, (B, C, H, W) uint8; versions: (B,) int64, version of each image; None: drawn uniformly."""


class Steps:
    """Augmentations in order, adjacent ones fused; used by the pipeline and by combinators."""

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
        """Create the augmentations inside the combinator `owner`.

        Raises:
            RecipeError: An augmentation cannot be nested, such as `union` or `mixup`.
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
        """Augment, and resample smaller windows back to the input size, since all images of a batch have one size."""
        return _warp.resize(self(images, generator), (images.shape[2], images.shape[3]))


class Pipeline:
    """The `augment` section of a recipe, ready to apply.

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
        #: Number of versions of each image in an epoch: 1, or the number of versions of a `union`.
        self.versions = self._joining.versions if self._joining else 1

    def __call__(self, images: Tensor, generator: torch.Generator, versions: Tensor | None = None) -> Tensor:
        """Augment a batch, without mixing.

        Args:
            images: (B, C, H, W) uint8.
            generator: Random generator on the CPU, the only source of randomness.
            versions: (B,) int64, version of each image for a `union`; None: drawn uniformly.

        Returns:
            (B, C, H', W') uint8; the images themselves if the recipe has no augmentations.
        """
        if self._joining:
            images = self._joining(images, generator, versions)
        return self._steps(images, generator)

    def mix(self, images: Tensor, generator: torch.Generator) -> MixedBatch | None:
        """Mix the result of a call, (B, C, H, W) uint8; None if the recipe does not mix."""
        return self._mixing.mix(images, generator) if self._mixing else None


def build(entries: Sequence[Entry]) -> list[Augmentation]:
    """Create the augmentations that entries name.

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
    """Apply geometry and color in one pass: (B, C, H, W) uint8 → (B, C, H', W') uint8, in channels_last.

    The geometry is applied first; contrast is relative to the mean after it. Exact operations alone resample nothing.
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
    """All color operations as one matrix (B, 3, 4), on the device of the images."""
    measures = any(operation.measures for operation, _ in colors)
    mean = _warp.mean_color(values) if measures else torch.zeros(len(values), 3, device=values.device)
    total = _warp.identity(len(values), 3).to(values.device)
    for operation, drawn in colors:
        now = torch.einsum("bij,bj->bi", total[:, :, :3], mean) + total[:, :, 3]
        total = _warp.compose(operation.matrix(drawn.to(values.device), now), total)
    return total


def _fuses(operation: Augmentation) -> bool:
    return isinstance(operation, Geometry | Color)
