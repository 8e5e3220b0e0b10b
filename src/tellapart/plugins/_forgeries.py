"""What a forgery promises, tested on small textured pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.forgeries.base import SMALLEST, Forgery
from tellapart.plugins._promises import Promises, expect, expect_equal
from tellapart.plugins._samples import textured
from tellapart.recipe.load import check_options
from tellapart.recipe.schema import OptionsModel

PROMISES = Promises("forgery", options=True)
#: (height, width): the smallest, odd and oblong ones.
_SIZES = ((SMALLEST, SMALLEST), (SMALLEST, 61), (47, 33), (64, 64))


#: What has learnt already, by class and options: learning may take seconds.
_READY: dict[tuple[type, str], Forgery] = {}


@dataclass(frozen=True)
class _Tested:
    """A forgery class and its options."""

    cls: type[Forgery]
    options: OptionsModel

    def ready(self) -> Forgery:
        """One that has looked at some pictures, where it learns; the same one every time."""
        key = self.cls, self.options.model_dump_json()
        if key not in _READY:
            _READY[key] = self.learnt()
        return _READY[key]

    def learnt(self) -> Forgery:
        """A new one."""
        forgery = self.cls(self.options)
        if forgery.needs_fit:
            with tempfile.TemporaryDirectory() as folder:
                forgery.fit(list(textured(4, 64, 64, 9)), 3, Path(folder))
        return forgery


def check_forgery(cls: type[Forgery], options: Mapping[str, Any] | None = None, *, only: str | None = None) -> None:
    """Test a forgery.

    Args:
        cls: The class.
        options: Of its `Options`.
        only: Name of the one promise to test; left out: all of `promises("forgery")`.

    Raises:
        PluginError: A promise is broken: which, what was expected, what was found.
        RecipeError: The options are none of this class.
    """
    PROMISES.check(cls, _Tested(cls, check_options(cls.Options, options or {}, cls.__name__)), only)


@PROMISES.promise("a forged picture and its mask")
def _shapes(tested: _Tested) -> None:
    """Pictures of every size from the smallest on give (H, W, 3) uint8 and a mask (H, W) bool; something is inside."""
    for height, width in _SIZES:
        pixels, donor = textured(1, height, width)[0], textured(1, 40, 52, 1)[0]
        forged, mask = tested.ready()(pixels, donor, np.random.default_rng(0))
        what = f"of a picture of {height}×{width}"
        expect(
            forged.shape == pixels.shape and forged.dtype == np.uint8,
            f"({height}, {width}, 3) uint8",
            (forged.shape, forged.dtype),
        )
        expect(
            mask.shape == (height, width) and mask.dtype == bool, f"a mask ({height}, {width}) bool", (mask.shape, mask.dtype)
        )
        expect(bool(mask.any()), f"a mask {what} that holds something", "an empty mask")


@PROMISES.promise("finite pixels")
def _finite(tested: _Tested) -> None:
    """What is inside the mask is made of numbers from 0 to 255."""
    pixels, donor = textured(2, 48, 48)
    forged, mask = tested.ready()._forge(pixels.copy(), donor.copy(), np.random.default_rng(0))
    values = np.asarray(forged, dtype=np.float64)[mask]
    expect(bool(np.isfinite(values).all()), "finite pixels", "values that are not")


@PROMISES.promise("nothing changes outside the mask")
def _outside(tested: _Tested) -> None:
    """Outside the mask not one bit has changed."""
    for seed in range(3):
        pixels, donor = textured(2, 48, 40, seed)
        before = pixels.copy()
        forged, mask = tested.ready()(pixels, donor, np.random.default_rng(seed))
        expect_equal(forged[~mask], before[~mask], "the picture as it was outside the mask")


@PROMISES.promise("something changes inside the mask")
def _inside(tested: _Tested) -> None:
    """Inside the mask something has changed."""
    for seed in range(3):
        pixels, donor = textured(2, 48, 40, seed)
        before = pixels.copy()
        forged, mask = tested.ready()(pixels, donor, np.random.default_rng(seed))
        expect(bool((forged[mask] != before[mask]).any()), "a change inside the mask", "none")


@PROMISES.promise("deterministic")
def _deterministic(tested: _Tested) -> None:
    """The generator decides everything that is drawn; what is learnt, the seed."""
    pixels, donor = textured(2, 48, 48)
    forged, mask = tested.ready()(pixels, donor, np.random.default_rng(7))
    for what, forgery in (("asked again", tested.ready()), ("made again", tested.learnt())):
        again, where = forgery(pixels, donor, np.random.default_rng(7))
        expect_equal(again, forged, f"the same picture when {what}")
        expect_equal(where, mask, f"the same mask when {what}")


@PROMISES.promise("pictures are not changed")
def _untouched(tested: _Tested) -> None:
    """The picture and the donor that are handed in stay as they are."""
    pixels, donor = textured(2, 48, 48)
    before = pixels.copy(), donor.copy()
    tested.ready()(pixels, donor, np.random.default_rng(0))
    expect_equal(pixels, before[0], "the picture as it was")
    expect_equal(donor, before[1], "the donor as it was")


@PROMISES.promise("any real picture")
def _flat(tested: _Tested) -> None:
    """A black, a white and a gray picture are forged without an error; there may be nothing to see."""
    for value in (0, 128, 255):
        pixels = np.full((32, 36, 3), value, np.uint8)
        forged, mask = tested.ready()(pixels, pixels.copy(), np.random.default_rng(0))
        expect(forged.shape == pixels.shape and mask.shape == (32, 36), "a forged picture and its mask", forged.shape)
