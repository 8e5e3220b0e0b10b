"""The from-scratch architectures together: shapes, images that are too small, gradients, names of weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tellapart import registry
from tellapart.errors import RecipeError
from tellapart.nets.base import HeadedNet, Normalize

#: Net → options that make it small, and the least side of a square image.
SMALL: dict[str, tuple[dict[str, Any], int]] = {
    "mlp": ({"widths": [12, 8]}, 1),
    "staged": ({"stages": [{"widths": [4, 4], "pool_norm": True}, {"widths": [8], "stride": 2}]}, 6),
    "vgg": ({"groups": [[4, 4], [8], [8]], "dense": [16], "flip_maps": True, "rotate_maps": 3}, 8),
    "bottleneck": ({"depth": 4, "last": 32, "hidden": 16}, 7),
    "resnet_cifar": ({"depth": 20}, 2),
    "inception_resnet_v1": ({"blocks": [1, 1, 1], "embedding": 16}, 75),
}
#: Net → first and last weight of its small trunk, and how many tensors this has.
NAMES = {
    "mlp": ("1.0.weight", "2.1.weight", 12),
    "staged": ("0.0.weight", "1.1.weight", 28),
    "vgg": ("0.0.weight", "2.1.weight", 24),
    "bottleneck": ("0.0.weight", "4.0.2.weight", 161),
    "resnet_cifar": ("0.0.weight", "3.2.second.1.weight", 114),
    "inception_resnet_v1": ("0.0.0.weight", "6.3.weight", 224),
}
NO_FLIPS = {"staged": "none", "vgg": False}
NETS = pytest.mark.parametrize("net", SMALL)


def build(net: str, shape: tuple[int, ...], classes: int, **options: object) -> HeadedNet:
    kind = registry.find("nets", net)
    return kind.build(shape, classes, kind.Options.model_validate({"net": net, **options}))


def images(net: str, channels: int = 3, count: int = 2, larger: int = 4) -> torch.Tensor:
    """A batch that the small version of a net takes, not square."""
    side = max(28, SMALL[net][1])
    return torch.rand(count, channels, side, side + larger)


def test_every_net_here_is_registered() -> None:
    assert set(SMALL) <= set(registry.names("nets"))


@NETS
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("classes", [2, 7])
def test_logits_have_one_column_a_class(net: str, channels: int, classes: int) -> None:
    x = images(net, channels)
    assert build(net, tuple(x.shape[1:]), classes, **SMALL[net][0]).eval()(x).shape == (2, classes)


@pytest.mark.parametrize("net", ["mlp", "staged", "bottleneck", "resnet_cifar"])
def test_the_defaults_take_small_gray_pictures(net: str) -> None:
    assert build(net, (1, 28, 28), 10).eval()(torch.rand(1, 1, 28, 28)).shape == (1, 10)


@NETS
def test_an_answer_is_always_the_same(net: str) -> None:
    x = images(net)
    body = build(net, tuple(x.shape[1:]), 3, **SMALL[net][0]).eval()
    with torch.no_grad():
        assert torch.equal(body(x), body(x))
        planes = body(x)
        body.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        torch.testing.assert_close(body(x.contiguous(memory_format=torch.channels_last)), planes, atol=1e-4, rtol=1e-4)


@NETS
def test_every_parameter_learns(net: str) -> None:
    """Nothing is cut off, and no layer that works in place breaks the backward pass."""
    torch.manual_seed(0)
    x = images(net, count=4)
    body = build(net, tuple(x.shape[1:]), 3, **SMALL[net][0])
    body(x).square().sum().backward()
    idle = [name for name, p in body.named_parameters() if p.grad is None or not p.grad.any() or not p.grad.isfinite().all()]
    assert not idle


@NETS
def test_every_parameter_is_in_one_group_of_depths(net: str) -> None:
    body = build(net, tuple(images(net).shape[1:]), 3, **SMALL[net][0])
    grouped = [id(p) for group in body.groups() for p in group]
    assert len(grouped) == len(set(grouped)) and set(grouped) == {id(p) for p in body.parameters()}
    assert len(body.groups()) >= 3


@pytest.mark.parametrize("net", [net for net, (_, least) in SMALL.items() if least > 1])
def test_images_too_small_are_an_error_that_names_both_sizes(net: str) -> None:
    options, least = SMALL[net]
    build(net, (3, least, least), 3, **options)
    small = least - 1
    with pytest.raises(RecipeError, match=rf"{small}×{small} images are too small .* at least {least}×{least}") as caught:
        build(net, (3, small, small), 3, **options)
    assert caught.value.hint is not None and "inputs.size" in caught.value.hint


@pytest.mark.parametrize("net", [net for net in SMALL if net != "mlp"])
def test_feature_vectors_are_for_the_mlp(net: str) -> None:
    with pytest.raises(RecipeError, match=f"net: {net} takes images, not feature vectors"):
        build(net, (64,), 3)


@NETS
def test_the_names_of_a_trunks_weights_do_not_change(net: str) -> None:
    """Runs on disk, and runs that start from their trunks, rest on these names; dropout and random layers keep them."""
    known = set(registry.find("nets", net).Options.model_fields)
    random = {k: v for k, v in {"dropout": 0.3, "rotate_maps": 5}.items() if k in known}
    certain = {k: v for k, v in {"dropout": 0, "rotate_maps": 0, "flip_maps": NO_FLIPS.get(net)}.items() if k in known}
    shape = tuple(images(net).shape[1:])
    for changed in (random, certain):
        names = list(build(net, shape, 3, **{**SMALL[net][0], **changed}).trunk.state_dict())
        weights = [name for name in names if name.endswith("weight")]
        assert (weights[0], weights[-1], len(names)) == NAMES[net]


def test_normalize_gives_zero_mean_and_unit_variance() -> None:
    images = torch.randint(0, 256, (50, 2, 9, 9), dtype=torch.uint8)
    values = images.float()
    layer = Normalize(values.mean((0, 2, 3)), 1 / values.std((0, 2, 3)))
    out = layer(images)
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std((0, 2, 3)), torch.ones(2), atol=1e-5, rtol=0)
