"""Promises of a net, tested with random weights on random images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tellapart.nets.base import HeadedNet, Net, NetOptions
from tellapart.plugins._promises import Promises, expect, may_refuse
from tellapart.recipe.load import check_options

PROMISES = Promises("net", options=True)
_CLASSES = 3


@dataclass(frozen=True)
class _Tested:
    """A net class, its options, and the input shape that it must accept."""

    cls: type[Net]
    options: NetOptions
    shape: tuple[int, ...]

    def body(self, seed: int = 0, classes: int = _CLASSES, shape: tuple[int, ...] | None = None) -> HeadedNet:
        """Return a net with random weights from a seed, in evaluation mode."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.cls.build(shape or self.shape, classes, self.options).eval()

    def images(self, count: int = 4, seed: int = 0) -> Tensor:
        """(count, …) float32, distributed as normalized images."""
        return torch.randn(count, *self.shape, generator=torch.Generator().manual_seed(seed))


def check_net(
    cls: type[Net],
    options: Mapping[str, Any] | None = None,
    *,
    shape: tuple[int, ...] = (3, 32, 32),
    only: str | None = None,
) -> None:
    """Test a net.

    Args:
        cls: The class.
        options: Options, as in a recipe under `classifier:`; `net` may be omitted. Make it small.
        shape: (C, H, W) of an input, or (D,), that it must accept; it may refuse other shapes with a RecipeError.
        only: Name of the promise to test; None: all of `promises("net")`.

    Raises:
        PluginError: A promise is broken; the message names it, the expected and the actual result.
        RecipeError: The options are not valid for this class.
    """
    checked = check_options(cls.Options, {"net": cls.__name__.lower(), **(options or {})}, cls.__name__)
    PROMISES.check(cls, _Tested(cls, checked, shape), only)


@PROMISES.promise("logits for every class")
def _logits(tested: _Tested) -> None:
    """A net gives (B, classes) finite logits, for two classes and for more."""
    for classes in (2, 3, 17):
        body = tested.body(classes=classes)
        expect(isinstance(body, HeadedNet), "a Body", type(body).__name__)
        with torch.inference_mode():
            found = body(tested.images())
        expect(tuple(found.shape) == (4, classes), f"(4, {classes}) logits", tuple(found.shape))
        expect(bool(found.isfinite().all()), "finite logits", "values that are not finite")


@PROMISES.promise("a backbone and a head")
def _trunk(tested: _Tested) -> None:
    """The backbone is a Sequential that gives (B, D), and the head applied to that gives the logits of the net."""
    body, images = tested.body(), tested.images()
    expect(isinstance(body.trunk, nn.Sequential), "a backbone that is a Sequential", type(body.trunk).__name__)
    with torch.inference_mode():
        vectors = body.trunk(images)
        expect(vectors.ndim == 2 and len(vectors) == 4, "(4, D) from the backbone", tuple(vectors.shape))
        _expect_near(body.head(vectors), body(images), "the logits of the net from the head applied to the backbone")


@PROMISES.promise("every parameter is in one group")
def _groups(tested: _Tested) -> None:
    """`groups()` holds every parameter exactly once, and no group is empty."""
    body = tested.body()
    groups, names = body.groups(), {id(p): name for name, p in body.named_parameters()}
    grouped = [id(p) for group in groups for p in group]
    expect(all(groups), "groups that are not empty", [len(group) for group in groups])
    missing = [name for key, name in names.items() if key not in grouped]
    expect(not missing, "every parameter in a group", f"none for {', '.join(missing[:5])}")
    twice = [name for key, name in names.items() if grouped.count(key) > 1]
    expect(not twice, "every parameter in one group", f"several with {', '.join(twice[:5])}")
    expect(set(grouped) <= set(names), "groups of the body's own parameters", "others")


@PROMISES.promise("every parameter is trained")
def _gradients(tested: _Tested) -> None:
    """A loss on the logits gives a gradient for every parameter with `requires_grad`, also in training mode."""
    body = tested.body().train()
    body(tested.images(8)).square().sum().backward()
    silent = [name for name, p in body.named_parameters() if p.requires_grad and p.grad is None]
    expect(not silent, "a gradient for every parameter", f"none for {', '.join(silent[:5])}")


@PROMISES.promise("rows depend on their own image alone")
def _alone(tested: _Tested) -> None:
    """In evaluation mode the logits of an image are the same alone, in a batch, and in another batch."""
    body, images = tested.body(), tested.images()
    with torch.inference_mode():
        together = body(images)
        _expect_near(torch.cat([body(images[i : i + 1]) for i in range(4)]), together, "the same logits alone")
        others = tested.images(seed=5)
        others[2] = images[2]
        _expect_near(body(others)[2], together[2], "the same logits in another batch")


@PROMISES.promise("deterministic")
def _deterministic(tested: _Tested) -> None:
    """The weights depend on torch's seed only, and evaluation mode is deterministic."""
    first, second = tested.body(), tested.body()
    states = first.state_dict(), second.state_dict()
    expect(states[0].keys() == states[1].keys(), "the same weights for the same seed", "other names")
    other = [name for name, value in states[0].items() if not torch.equal(value, states[1][name])]
    expect(not other, "the same weights for the same seed", f"different weights in {', '.join(other[:5])}")
    with torch.inference_mode():
        same = torch.equal(first(tested.images()), first(tested.images()))
    expect(same, "the same logits in a second call", "others")


@PROMISES.promise("the state dict is complete")
def _state(tested: _Tested) -> None:
    """A net with another seed gives the same logits after it loads the state dict."""
    first, other = tested.body(), tested.body(seed=9)
    other.load_state_dict(first.state_dict())
    with torch.inference_mode():
        _expect_near(other(tested.images()), first(tested.images()), "the same logits after loading the state")


@PROMISES.promise("inputs are not modified")
def _untouched(tested: _Tested) -> None:
    """The input is not modified, in training mode and in evaluation mode."""
    images = tested.images(8)
    before = images.clone()
    for body in (tested.body(), tested.body().train()):
        body(images)
        expect(torch.equal(images, before), "an unmodified input", "an input modified in place")


@PROMISES.promise("the memory format does not matter")
def _layout(tested: _Tested) -> None:
    """Inputs and weights in channels_last give the same logits; networks are trained in this format."""
    if len(tested.shape) != 3:
        return
    body, images = tested.body(), tested.images()
    with torch.inference_mode():
        wanted = body(images)
        form = torch.channels_last
        found = body.to(memory_format=form)(images.contiguous(memory_format=form))  # type: ignore[call-overload]
    _expect_near(found, wanted, "the same logits from channels_last")


@PROMISES.promise("other shapes")
def _shapes(tested: _Tested) -> None:
    """Gray, odd, tiny and flat inputs are accepted, or refused with a RecipeError when the net is built."""
    for shape in ((1, 32, 32), (3, 33, 29), (3, 40, 24), (3, 5, 7), (3, 1, 1), (1, 1, 1), (6,)):
        with may_refuse():
            body = tested.body(shape=shape)
            with torch.inference_mode():
                found = body(torch.zeros(2, *shape))
            expect(tuple(found.shape) == (2, _CLASSES), f"(2, {_CLASSES}) logits for {shape}", tuple(found.shape))


def _expect_near(found: Tensor, wanted: Tensor, what: str) -> None:
    gap = float((found - wanted).abs().max()) if found.shape == wanted.shape else float("inf")
    allowed = 1e-4 * max(1.0, float(wanted.abs().max()))
    expect(gap <= allowed, what, f"a difference of {gap:.3g}")
