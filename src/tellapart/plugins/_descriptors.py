"""Promises of a descriptor, tested on small images."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from tellapart.data.cache import DecodedImages
from tellapart.features.base import Descriptor, FitContext
from tellapart.io import write_arrays
from tellapart.plugins._promises import Promises, expect, expect_close, expect_equal, may_refuse
from tellapart.plugins._samples import noise, textured
from tellapart.recipe.load import check_options
from tellapart.recipe.schema import OptionsModel

PROMISES = Promises("descriptor", options=True)
_COUNT = 12
#: Small and odd sizes: (height, width).
_SIZES = ((1, 1), (2, 3), (7, 7), (17, 23), (1, 40))


@dataclass(frozen=True)
class _Tested:
    """A descriptor class, its options, and the shape of the images that it must accept."""

    cls: type[Descriptor]
    options: OptionsModel
    size: int

    def pictures(self, seed: int = 0) -> np.ndarray:
        """(12, size, size, 3) uint8."""
        return textured(_COUNT, self.size, self.size, seed)

    def fitted(self, pictures: np.ndarray | None = None) -> Descriptor:
        """Return a new descriptor, fitted on these images (None: on `pictures()`)."""
        pictures = self.pictures() if pictures is None else pictures
        descriptor = self.cls(self.options)
        descriptor.fit(DecodedImages(pictures, np.arange(len(pictures))), np.arange(len(pictures)) % 2, FitContext(seed=3))
        return descriptor


def check_descriptor(
    cls: type[Descriptor], options: Mapping[str, Any] | None = None, *, size: int = 16, only: str | None = None
) -> None:
    """Test a descriptor.

    Args:
        cls: The class.
        options: Options, as in a recipe.
        size: Side of the color images that it must accept; it may refuse other sizes with a TellapartError.
        only: Name of the promise to test; None: all of `promises("descriptor")`.

    Raises:
        PluginError: A promise is broken; the message names it, the expected and the actual result.
        RecipeError: The options are not valid for this class.
    """
    checked = check_options(cls.Options, options or {}, cls.__name__)
    PROMISES.check(cls, _Tested(cls, checked, size), only)


@PROMISES.promise("one float32 vector per image")
def _shape(tested: _Tested) -> None:
    """B images give (B, D) float32, and D is the same for every batch."""
    descriptor, pictures = tested.fitted(), tested.pictures(1)
    width = np.asarray(descriptor(pictures[:1])).shape[-1]
    for count in (1, 2, _COUNT):
        found = descriptor(pictures[:count])
        expect(isinstance(found, np.ndarray), "a NumPy array", type(found).__name__)
        expect(found.shape == (count, width), f"shape ({count}, {width})", found.shape)
        expect(found.dtype == np.float32, "float32", found.dtype)


@PROMISES.promise("values are finite")
def _finite(tested: _Tested) -> None:
    """Values are finite, also for black, white and noise images."""
    descriptor, side = tested.fitted(), tested.size
    black = np.zeros((2, side, side, 3), np.uint8)
    for what, pictures in (
        ("black", black),
        ("white", black + 255),
        ("noise", noise(4, side, side)),
        ("textured", tested.pictures()),
    ):
        bad = int((~np.isfinite(descriptor(pictures))).sum())
        expect(not bad, f"finite values for {what} images", f"{bad:,} values that are not finite")


@PROMISES.promise("rows depend on their own image alone")
def _alone(tested: _Tested) -> None:
    """The vector of an image is the same alone, in a batch, and for any order of the images."""
    descriptor, pictures = tested.fitted(), tested.pictures(1)
    together = descriptor(pictures)
    alone = np.concatenate([descriptor(pictures[i : i + 1]) for i in range(len(pictures))])
    expect_close(alone, together, "the same vector alone and in a batch")
    others = noise(*pictures.shape, seed=5)
    others[3] = pictures[3]
    expect_close(descriptor(others)[3], together[3], "the same vector in another batch")
    order = np.arange(len(pictures))[::-1]
    expect_close(descriptor(pictures[order]), together[order], "the same vectors in another order")


@PROMISES.promise("deterministic")
def _deterministic(tested: _Tested) -> None:
    """Two fits on the same images with the same seed, and two calls, give the same vectors."""
    pictures, first = tested.pictures(1), tested.fitted()
    found = first(pictures)
    expect_equal(first(pictures), found, "the same vectors in a second call")
    expect_equal(tested.fitted()(pictures), found, "the same vectors after a second fit with the same seed")


@PROMISES.promise("fits are independent")
def _forgets(tested: _Tested) -> None:
    """A second fit does not depend on the first."""
    descriptor = tested.fitted(tested.pictures(7))
    pictures = tested.pictures()
    descriptor.fit(DecodedImages(pictures, np.arange(_COUNT)), np.arange(_COUNT) % 2, FitContext(seed=3))
    expect_equal(descriptor(tested.pictures(1)), tested.fitted()(tested.pictures(1)), "the vectors of a new descriptor")


@PROMISES.promise("gray or color images")
def _channels(tested: _Tested) -> None:
    """Color images are accepted; gray images are accepted or refused with a TellapartError."""
    with may_refuse():
        gray = tested.pictures()[..., :1]
        _check_vectors(tested.fitted(gray)(gray), len(gray), "gray images")


@PROMISES.promise("small and odd sizes")
def _sizes(tested: _Tested) -> None:
    """Images of any size give finite vectors, or a TellapartError that states the requirement."""
    for height, width in _SIZES:
        pictures = textured(_COUNT, height, width)
        with may_refuse():
            _check_vectors(tested.fitted(pictures)(pictures), _COUNT, f"images of {height}×{width}")


@PROMISES.promise("no images, no rows")
def _empty(tested: _Tested) -> None:
    """An empty batch gives (0, D)."""
    descriptor, pictures = tested.fitted(), tested.pictures()
    width, found = descriptor(pictures[:1]).shape[1], descriptor(pictures[:0])
    expect(found.shape == (0, width), f"shape (0, {width})", found.shape)


@PROMISES.promise("images are not modified")
def _untouched(tested: _Tested) -> None:
    """The images that are passed in are not modified, neither by `fit` nor by a call."""
    pictures = tested.pictures()
    before = pictures.copy()
    tested.fitted(pictures)(pictures)
    expect_equal(pictures, before, "unmodified images")


@PROMISES.promise("arrays hold all parameters")
def _saved(tested: _Tested) -> None:
    """A new descriptor with the saved `arrays` gives the same vectors."""
    descriptor = tested.fitted()
    again = tested.cls(tested.options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "arrays.safetensors"
        write_arrays(path, descriptor.arrays)
        again.arrays |= load_file(path)
    expect_equal(again(tested.pictures(1)), descriptor(tested.pictures(1)), "the same vectors after saving and loading")


def _check_vectors(found: np.ndarray, count: int, what: str) -> None:
    expect(found.ndim == 2 and len(found) == count, f"({count}, D) vectors for {what}", found.shape)
    expect(found.dtype == np.float32, f"float32 vectors for {what}", found.dtype)
    expect(bool(np.isfinite(found).all()), f"finite vectors for {what}", "values that are not finite")
