"""What an explainer promises, tested on a tiny network and on nearest neighbors."""

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
        """What a new one says of a picture, asked about a network."""
        return self.cls(self.options, seed)(_network(), image, label)


def check_explainer(cls: type[Explainer], options: Mapping[str, Any] | None = None, *, only: str | None = None) -> None:
    """Test an explainer.

    Args:
        cls: The class.
        options: Of its `Options`. Make it quick: few masks, large windows.
        only: Name of the one promise to test; left out: all of `promises("explainer")`.

    Raises:
        PluginError: A promise is broken: which, what was expected, what was found.
        RecipeError: The options are none of this class.
    """
    PROMISES.check(cls, _Tested(cls, check_options(cls.Options, options or {}, cls.__name__)), only)


@PROMISES.promise("a map of the picture's own size")
def _shape(tested: _Tested) -> None:
    """Pictures of every size give a Heatmap of (H, W) float32 in [0, 1], for the class that was asked for."""
    for height, width in _SIZES:
        for label in (0, 2):
            found = tested.map(textured(1, height, width)[0], label)
            _check_map(found, height, width)
            expect(found.class_name == f"class {label}", f"the class 'class {label}'", repr(found.class_name))


@PROMISES.promise("small pictures")
def _small(tested: _Tested) -> None:
    """Tiny pictures are explained, or refused with a TellapartError."""
    for height, width in ((1, 1), (2, 3), (1, 20)):
        with may_refuse():
            _check_map(tested.map(textured(1, height, width)[0]), height, width)


@PROMISES.promise("values are finite")
def _finite(tested: _Tested) -> None:
    """What is found before it is scaled is finite, of black, white and noisy pictures too."""
    pictures = {
        "textured": textured(1, 18, 22)[0],
        "black": np.zeros((18, 22, 3), np.uint8),
        "white": np.full((18, 22, 3), 255, np.uint8),
    }
    for what, image in pictures.items():
        values = np.asarray(tested.cls(tested.options, 3)._values(_network(), image, 1), dtype=np.float64)
        expect(bool(np.isfinite(values).all()), f"finite values of a {what} picture", "values that are not")


@PROMISES.promise("deterministic")
def _deterministic(tested: _Tested) -> None:
    """The same seed gives the same map, and torch's own generator is left alone."""
    image, before = textured(1, 18, 22)[0], torch.get_rng_state()
    first = tested.map(image)
    expect(bool(torch.equal(torch.get_rng_state(), before)), "torch's global generator as it was", "it was used")
    expect_equal(tested.map(image).values, first.values, "the same map of the same seed")


@PROMISES.promise("pictures are not changed")
def _untouched(tested: _Tested) -> None:
    """The picture that is handed in stays as it is."""
    image = textured(1, 18, 22)[0]
    before = image.copy()
    tested.map(image)
    expect_equal(image, before, "the picture as it was")


@PROMISES.promise("the classifier is not changed")
def _classifier(tested: _Tested) -> None:
    """The network answers the same after it was explained."""
    images = textured(3, 16, 16)
    before = _network().predict(list(images))
    tested.map(images[0])
    expect_equal(_network().predict(list(images)), before, "the answers as they were")


@PROMISES.promise("classifiers that are no networks")
def _any(tested: _Tested) -> None:
    """A classifier without gradients is explained, or refused with a RunError."""
    try:
        found = tested.cls(tested.options, 3)(ExplainedModel(*tiny_neighbors(), "knn"), textured(1, 18, 22)[0], 1)
    except RunError as error:
        expect(len(error.message) > 10, "an error that says what is needed", repr(error.message))
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
