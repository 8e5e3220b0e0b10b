"""Promises of a forgery, tested on small textured images."""

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
#: (height, width): the smallest size, odd and oblong sizes.
_SIZES = ((SMALLEST, SMALLEST), (SMALLEST, 61), (47, 33), (64, 64))


#: Fitted forgeries, by class and options; fitting may take seconds.
_READY: dict[tuple[type, str], Forgery] = {}


@dataclass(frozen=True)
class _Tested:
    """A forgery class and its options."""

    cls: type[Forgery]
    options: OptionsModel

    def ready(self) -> Forgery:
        """Return the shared forgery, fitted on some images if it can be fitted."""
        key = self.cls, self.options.model_dump_json()
        if key not in _READY:
            _READY[key] = self.learnt()
        return _READY[key]

    def learnt(self) -> Forgery:
        """Return a new forgery, fitted if it can be fitted."""
        forgery = self.cls(self.options)
        if forgery.needs_fit:
            with tempfile.TemporaryDirectory() as folder:
                forgery.fit(list(textured(4, 64, 64, 9)), 3, Path(folder))
        return forgery


def check_forgery(cls: type[Forgery], options: Mapping[str, Any] | None = None, *, only: str | None = None) -> None:
    """Test a forgery.

    Args:
        cls: The class.
        options: Values of its `Options`.
        only: Name of the promise to test; None: all of `promises("forgery")`.

    Raises:
        PluginError: A promise is broken; the message names it, the expected and the actual result.
        RecipeError: The options are not valid for this class.
    """
    PROMISES.check(cls, _Tested(cls, check_options(cls.Options, options or {}, cls.__name__)), only)


@PROMISES.promise("a forged image and its mask")
def _shapes(tested: _Tested) -> None:
    """Images of any size from the smallest up give (H, W, 3) uint8 and a mask (H, W) bool that is not empty."""
    for height, width in _SIZES:
        pixels, donor = textured(1, height, width)[0], textured(1, 40, 52, 1)[0]
        forged, mask = tested.ready()(pixels, donor, np.random.default_rng(0))
        what = f"for an image of {height}×{width}"
        expect(
            forged.shape == pixels.shape and forged.dtype == np.uint8,
            f"({height}, {width}, 3) uint8",
            (forged.shape, forged.dtype),
        )
        expect(
            mask.shape == (height, width) and mask.dtype == bool, f"a mask ({height}, {width}) bool", (mask.shape, mask.dtype)
        )
        expect(bool(mask.any()), f"a mask {what} that is not empty", "an empty mask")


@PROMISES.promise("finite pixels")
def _finite(tested: _Tested) -> None:
    """Values inside the mask are finite and from 0 to 255."""
    pixels, donor = textured(2, 48, 48)
    forged, mask = tested.ready()._forge(pixels.copy(), donor.copy(), np.random.default_rng(0))
    values = np.asarray(forged, dtype=np.float64)[mask]
    expect(bool(np.isfinite(values).all()), "finite pixels", "values that are not finite")


@PROMISES.promise("nothing changes outside the mask")
def _outside(tested: _Tested) -> None:
    """Pixels outside the mask are identical."""
    for seed in range(3):
        pixels, donor = textured(2, 48, 40, seed)
        before = pixels.copy()
        forged, mask = tested.ready()(pixels, donor, np.random.default_rng(seed))
        expect_equal(forged[~mask], before[~mask], "identical pixels outside the mask")


@PROMISES.promise("something changes inside the mask")
def _inside(tested: _Tested) -> None:
    """At least one pixel inside the mask differs."""
    for seed in range(3):
        pixels, donor = textured(2, 48, 40, seed)
        before = pixels.copy()
        forged, mask = tested.ready()(pixels, donor, np.random.default_rng(seed))
        expect(bool((forged[mask] != before[mask]).any()), "a change inside the mask", "none")


@PROMISES.promise("deterministic")
def _deterministic(tested: _Tested) -> None:
    """All randomness comes from the generator, and that of fitting from the seed."""
    pixels, donor = textured(2, 48, 48)
    forged, mask = tested.ready()(pixels, donor, np.random.default_rng(7))
    for what, forgery in (("called again", tested.ready()), ("fitted again", tested.learnt())):
        again, where = forgery(pixels, donor, np.random.default_rng(7))
        expect_equal(again, forged, f"the same image when {what}")
        expect_equal(where, mask, f"the same mask when {what}")


@PROMISES.promise("images are not modified")
def _untouched(tested: _Tested) -> None:
    """The image and the donor that are passed in are not modified."""
    pixels, donor = textured(2, 48, 48)
    before = pixels.copy(), donor.copy()
    tested.ready()(pixels, donor, np.random.default_rng(0))
    expect_equal(pixels, before[0], "an unmodified image")
    expect_equal(donor, before[1], "an unmodified donor")


@PROMISES.promise("any real image")
def _flat(tested: _Tested) -> None:
    """A black, a white and a gray image are forged without an error; the change need not be visible."""
    for value in (0, 128, 255):
        pixels = np.full((32, 36, 3), value, np.uint8)
        forged, mask = tested.ready()(pixels, pixels.copy(), np.random.default_rng(0))
        expect(forged.shape == pixels.shape and mask.shape == (32, 36), "a forged image and its mask", forged.shape)
