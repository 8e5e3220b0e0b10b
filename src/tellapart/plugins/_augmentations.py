"""Promises of an augmentation, tested on small images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tellapart.augmentations.base import Augmentation, MixAugmentation
from tellapart.plugins._promises import Promises, expect, may_refuse
from tellapart.plugins._samples import noise, textured
from tellapart.recipe.load import check_options
from tellapart.recipe.schema import OptionsModel

PROMISES = Promises("augmentation", options=True)
_SIZES = ((1, 1), (1, 9), (7, 5), (33, 20))


@dataclass(frozen=True)
class _Tested:
    """An augmentation class, its options, and the side of the images that it must accept."""

    cls: type[Augmentation]
    options: OptionsModel
    size: int

    def images(self, count: int = 6, channels: int = 3, seed: int = 0) -> Tensor:
        """(count, channels, size, size) uint8."""
        return _tensor(textured(count, self.size, self.size, seed)[..., :channels])

    def made(self, images: Tensor, seed: int = 3) -> Tensor:
        """Apply a new augmentation to images, with random numbers from this seed."""
        return self.cls(self.options)(images, torch.Generator().manual_seed(seed))


def check_augmentation(
    cls: type[Augmentation], options: Mapping[str, Any] | None = None, *, size: int = 12, only: str | None = None
) -> None:
    """Test an augmentation, `MixAugmentation` ones too.

    Args:
        cls: The class.
        options: Options, as in a recipe.
        size: Side of the images that it must accept; it may refuse other sizes with a TellapartError.
        only: Name of the promise to test; None: all of `promises("augmentation")`.

    Raises:
        PluginError: A promise is broken; the message names it, the expected and the actual result.
        RecipeError: The options are not valid for this class.
    """
    PROMISES.check(cls, _Tested(cls, check_options(cls.Options, options or {}, cls.__name__), size), only)


@PROMISES.promise("uint8 images in and out")
def _shape(tested: _Tested) -> None:
    """(B, C, H, W) uint8 gives (B, C, H', W') uint8, of color and of gray images; the output size is the same for every
    batch.
    """
    sizes = set()
    for channels in (1, 3):
        for count in (1, 2, 6):
            images = tested.images(count, channels)
            found = tested.made(images)
            _check_images(found, images, f"{count} images of {channels} channels")
            sizes.add(tuple(found.shape[2:]))
    expect(len(sizes) == 1, "one size for all batches", sorted(sizes))


@PROMISES.promise("all randomness comes from the generator")
def _deterministic(tested: _Tested) -> None:
    """The same seed gives the same images, regardless of earlier calls, and torch's global generator is not used."""
    images, before = tested.images(), torch.get_rng_state()
    first = tested.made(images)
    expect(bool(torch.equal(torch.get_rng_state(), before)), "an unused global generator of torch", "it was used")
    torch.manual_seed(1234)
    try:
        augmentation = tested.cls(tested.options)
        augmentation(images, torch.Generator().manual_seed(8))
        again = augmentation(images, torch.Generator().manual_seed(3))
    finally:
        torch.set_rng_state(before)
    expect(bool(torch.equal(first, again)), "the same images for the same seed", "different images")


@PROMISES.promise("images are not modified in place")
def _untouched(tested: _Tested) -> None:
    """The images that are passed in are not modified, whatever their memory format."""
    for form in (torch.contiguous_format, torch.channels_last):
        images = tested.images().contiguous(memory_format=form)
        before = images.clone()
        for seed in range(4):
            tested.made(images, seed)
        expect(bool(torch.equal(images, before)), "unmodified images", "images modified in place")


@PROMISES.promise("the memory format does not matter")
def _layout(tested: _Tested) -> None:
    """Images in channels_last give the same result as contiguous ones."""
    images = tested.images()
    found = tested.made(images.contiguous(memory_format=torch.channels_last))
    expect(bool(torch.equal(found, tested.made(images))), "the same images from channels_last", "different images")


@PROMISES.promise("rows depend on their own image alone")
def _alone(tested: _Tested) -> None:
    """The result for an image does not depend on the rest of the batch, unless the augmentation is a `MixAugmentation`."""
    if issubclass(tested.cls, MixAugmentation):
        return
    images = tested.images()
    others = _tensor(noise(6, tested.size, tested.size, seed=4))
    others[2] = images[2]
    for seed in range(4):
        same = torch.equal(tested.made(images, seed)[2], tested.made(others, seed)[2])
        expect(bool(same), "the same image in another batch", "a different image")


@PROMISES.promise("an empty batch")
def _empty(tested: _Tested) -> None:
    """An empty batch gives an empty batch with the same number of channels."""
    for channels in (1, 3):
        images = tested.images(2, channels)[:0]
        _check_images(tested.made(images), images, "no images")


@PROMISES.promise("small and odd sizes")
def _sizes(tested: _Tested) -> None:
    """Images of any size are accepted, or refused with a TellapartError that states the requirement."""
    for height, width in _SIZES:
        for channels in (1, 3):
            images = _tensor(textured(3, height, width)[..., :channels])
            with may_refuse():
                _check_images(tested.made(images), images, f"images of {height}×{width}")


@PROMISES.promise("black and white images")
def _extremes(tested: _Tested) -> None:
    """Black and white images are accepted without an error."""
    for value in (0, 255):
        images = torch.full((3, 3, tested.size, tested.size), value, dtype=torch.uint8)
        _check_images(tested.made(images), images, f"images of {value}")


@PROMISES.promise("a mix reports partners and shares")
def _mix(tested: _Tested) -> None:
    """A `MixAugmentation` returns the partner of each image and the image's own share, which equals its share of the pixels;
    other augmentations return no mix.
    """
    if not issubclass(tested.cls, MixAugmentation):
        return
    values = torch.tensor([0, 50, 100, 150, 200, 250])
    for seed in range(4):
        images = values.to(torch.uint8).view(6, 1, 1, 1).repeat(1, 3, tested.size, tested.size)
        mixed = tested.cls(tested.options).mix(images, torch.Generator().manual_seed(seed))
        _check_images(mixed.images, images, "a mix")
        expect(mixed.partner.shape == (6,) and mixed.partner.dtype == torch.int64, "partner (6,) int64", mixed.partner)
        expect(set(mixed.partner.tolist()) <= set(range(6)), "partners that are rows 0 … 5", mixed.partner.tolist())
        expect(mixed.share.shape == (6,) and mixed.share.dtype == torch.float32, "share (6,) float32", mixed.share)
        expect(bool(((mixed.share >= 0) & (mixed.share <= 1)).all()), "shares in [0, 1]", mixed.share.tolist())
        wanted = mixed.share * values + (1 - mixed.share) * values[mixed.partner]
        gap = float((mixed.images.float().mean((1, 2, 3)) - wanted).abs().max())
        expect(gap <= 1, "label shares that equal the pixel shares, to one gray level", f"a difference of {gap:.3g}")


def _tensor(pixels: Any) -> Tensor:
    """(B, H, W, C) → (B, C, H, W), contiguous."""
    return torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).contiguous()


def _check_images(found: Tensor, images: Tensor, what: str) -> None:
    expect(isinstance(found, Tensor), f"a tensor of {what}", type(found).__name__)
    expect(found.dtype == torch.uint8, f"uint8 of {what}", found.dtype)
    wanted = f"({len(images)}, {images.shape[1]}, H, W) of {what}"
    expect(found.ndim == 4 and found.shape[:2] == images.shape[:2], wanted, tuple(found.shape))
    expect(min(found.shape[2:]) >= 1, f"images with pixels of {what}", tuple(found.shape))
