"""Promises of an explainer, tested on a tiny network and on nearest neighbors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tellapart.errors import RunError
from tellapart.explainers._model import ExplainedModel
from tellapart.explainers.base import Explainer, Heatmap
from tellapart.plugins._promises import Promises, expect, expect_equal, may_refuse
from tellapart.plugins._samples import textured, tiny_neighbors, tiny_network
from tellapart.recipe.load import check_options
from tellapart.recipe.schema import OptionsModel

PROMISES = Promises("explainer", options=True)
_SIZES = ((16, 16), (21, 34), (33, 17), (8, 50))


@dataclass(frozen=True)
class _Tested:
    """An explainer class and its options."""

    cls: type[Explainer]
    options: OptionsModel

    def map(self, image: np.ndarray, label: int = 1, seed: int = 3) -> Heatmap:
        """Explain the prediction of a network for an image with a new explainer."""
        return self.cls(self.options, seed)(_network(), image, label)


def check_explainer(cls: type[Explainer], options: Mapping[str, Any] | None = None, *, only: str | None = None) -> None:
    """Test an explainer.

    Args:
        cls: The class.
        options: Values of its `Options`. Choose fast ones: few masks, large windows.
        only: Name of the promise to test; None: all of `promises("explainer")`.

    Raises:
        PluginError: A promise is broken; the message names it, the expected and the actual result.
        RecipeError: The options are not valid for this class.
    """
    PROMISES.check(cls, _Tested(cls, check_options(cls.Options, options or {}, cls.__name__)), only)


@PROMISES.promise("a map of the size of the image")
def _shape(tested: _Tested) -> None:
    """Images of any size give a Heatmap of (H, W) float32 in [0, 1], for the requested class."""
    for height, width in _SIZES:
        for label in (0, 2):
            found = tested.map(textured(1, height, width)[0], label)
            _check_map(found, height, width)
            expect(found.class_name == f"class {label}", f"the class 'class {label}'", repr(found.class_name))


@PROMISES.promise("small images")
def _small(tested: _Tested) -> None:
    """Tiny images are explained, or refused with a TellapartError."""
    for height, width in ((1, 1), (2, 3), (1, 20)):
        with may_refuse():
            _check_map(tested.map(textured(1, height, width)[0]), height, width)


@PROMISES.promise("values are finite")
def _finite(tested: _Tested) -> None:
    """Values before scaling are finite, also for black, white and noise images."""
    pictures = {
        "textured": textured(1, 18, 22)[0],
        "black": np.zeros((18, 22, 3), np.uint8),
        "white": np.full((18, 22, 3), 255, np.uint8),
    }
    for what, image in pictures.items():
        values = np.asarray(tested.cls(tested.options, 3)._values(_network(), image, 1), dtype=np.float64)
        expect(bool(np.isfinite(values).all()), f"finite values for a {what} image", "values that are not finite")


@PROMISES.promise("deterministic")
def _deterministic(tested: _Tested) -> None:
    """The same seed gives the same map, and torch's global generator is not used."""
    image, before = textured(1, 18, 22)[0], torch.get_rng_state()
    first = tested.map(image)
    expect(bool(torch.equal(torch.get_rng_state(), before)), "an unused global generator of torch", "it was used")
    expect_equal(tested.map(image).values, first.values, "the same map for the same seed")


@PROMISES.promise("images are not modified")
def _untouched(tested: _Tested) -> None:
    """The image that is passed in is not modified."""
    image = textured(1, 18, 22)[0]
    before = image.copy()
    tested.map(image)
    expect_equal(image, before, "an unmodified image")


@PROMISES.promise("the classifier is not modified")
def _classifier(tested: _Tested) -> None:
    """The network gives the same predictions after it was explained."""
    images = textured(3, 16, 16)
    before = _network().predict(list(images))
    tested.map(images[0])
    expect_equal(_network().predict(list(images)), before, "the same predictions as before")


@PROMISES.promise("classifiers other than networks")
def _any(tested: _Tested) -> None:
    """A classifier without gradients is explained, or refused with a RunError."""
    try:
        found = tested.cls(tested.options, 3)(ExplainedModel(*tiny_neighbors(), "knn"), textured(1, 18, 22)[0], 1)
    except RunError as error:
        expect(len(error.message) > 10, "an error that states the requirement", repr(error.message))
        return
    _check_map(found, 18, 22)


def _network() -> ExplainedModel:
    return ExplainedModel(*tiny_network(), "network")


def _check_map(found: Heatmap, height: int, width: int) -> None:
    expect(isinstance(found, Heatmap), "a Heatmap", type(found).__name__)
    values = found.values
    expect(values.shape == (height, width), f"a map of ({height}, {width})", values.shape)
    expect(values.dtype == np.float32, "float32", values.dtype)
    inside = bool(np.isfinite(values).all()) and bool(((values >= 0) & (values <= 1)).all())
    expect(inside, "values in [0, 1]", f"{values.min()} … {values.max()}")
