"""Layers that the architectures share: random mirrors and rotations of maps, and how small an image may be."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tellapart import registry
from tellapart.errors import RecipeError
from tellapart.nets._layers import RandomFlip, RandomRotation, conv_norm, he_normal, measured_width, rotated
from tellapart.nets.base import GlobalPool


@pytest.mark.parametrize("layer", [RandomFlip("both"), RandomRotation(20.0)])
def test_random_layers_act_in_training_only(layer: nn.Module) -> None:
    maps = torch.rand(8, 3, 7, 9)
    assert layer.eval()(maps) is maps
    torch.manual_seed(0)
    first = layer.train()(maps)
    assert first.shape == maps.shape and not torch.equal(first, maps)
    assert not torch.equal(layer(maps), first)
    torch.manual_seed(0)
    assert torch.equal(layer(maps), first)  # all that is random comes from torch's own generator


@pytest.mark.parametrize(("how", "ways"), [("none", 1), ("horizontal", 2), ("vertical", 2), ("both", 4)])
def test_each_map_has_its_own_toss(how: str, ways: int) -> None:
    torch.manual_seed(0)
    one = torch.arange(6.0).view(1, 1, 2, 3)
    flipped = RandomFlip(how)(one.expand(400, -1, -1, -1))  # type: ignore[arg-type]
    expected = {
        "none": [one],
        "horizontal": [one, one.flip(3)],
        "vertical": [one, one.flip(2)],
        "both": [one, one.flip(2), one.flip(3), one.flip(2, 3)],
    }[how]
    shares = [(flipped == way).all((1, 2, 3)).float().mean().item() for way in expected]
    assert sum(shares) == pytest.approx(1) and shares == pytest.approx([1 / ways] * ways, abs=0.1)


def test_a_quarter_turn_is_exact_and_counter_clockwise() -> None:
    maps = torch.rand(2, 3, 6, 6)
    turned = rotated(maps, torch.tensor([math.pi / 2, -math.pi]))
    torch.testing.assert_close(turned[0], maps[0].rot90(1, (1, 2)), atol=1e-5, rtol=0)
    torch.testing.assert_close(turned[1], maps[1].rot90(2, (1, 2)), atol=1e-5, rtol=0)


def test_oblong_maps_are_turned_not_sheared() -> None:
    """The square in the middle of a wide map turns like a square map; farther out the map repeats, reflected."""
    maps = torch.rand(1, 2, 11, 31)
    turned = rotated(maps, torch.tensor([math.pi / 2]))
    torch.testing.assert_close(turned[..., 10:21], maps[..., 10:21].rot90(1, (2, 3)), atol=1e-4, rtol=0)


def test_angles_stay_within_the_degrees_and_fill_them() -> None:
    """A point 20 pixels right of the middle moves up or down by 20 · tan of the angle."""
    torch.manual_seed(0)
    maps = torch.zeros(300, 1, 61, 61)
    maps[:, :, 30, 50] = 1
    turned = RandomRotation(30.0)(maps)
    places = torch.arange(61.0) - 30
    rows = (turned.sum(3)[:, 0] * places).sum(1) / turned.sum((1, 2, 3))
    columns = (turned.sum(2)[:, 0] * places).sum(1) / turned.sum((1, 2, 3))
    degrees = torch.rad2deg(torch.atan2(rows, columns))
    assert degrees.abs().max() <= 31 and degrees.min() < -28 and degrees.max() > 28 and abs(degrees.mean()) < 3


def test_borders_are_reflected() -> None:
    """A constant map stays as it is: no zeros come in at the corners."""
    maps = torch.full((4, 2, 8, 8), 3.0)
    torch.testing.assert_close(RandomRotation(45.0)(maps), maps)


def test_gradients_and_types_pass_through() -> None:
    maps = torch.rand(2, 2, 5, 5, dtype=torch.bfloat16, requires_grad=True)
    out = nn.Sequential(RandomFlip("both"), RandomRotation(3.0))(maps)
    out.sum().backward()
    assert out.dtype == torch.bfloat16 and maps.grad is not None and maps.grad.sum().item() > 0


def test_one_pooling_of_a_single_pixel_is_allowed_and_two_are_not() -> None:
    strides = nn.Sequential(*(nn.Conv2d(1, 1, 3, 2, 1) for _ in range(4)), GlobalPool())
    assert measured_width(strides, (1, 5, 5), "it") == 1  # 5 → 3 → 2 → 1 → 1
    with pytest.raises(RecipeError, match=r"net: it: 4×4 images .*: it needs at least 5×5"):
        measured_width(strides, (1, 4, 4), "it")  # 4 → 2 → 1 → 1 → 1


def test_a_shortcut_beside_a_stride_counts_once() -> None:
    kind = registry.find("nets", "resnet_cifar")
    options = kind.Options(net="resnet_cifar", depth=18)
    kind.build((3, 3, 3), 2, options)  # 3 → 2 → 1 → 1
    with pytest.raises(RecipeError, match=r"2×2 images .*: it needs at least 3×3"):
        kind.build((3, 2, 2), 2, options)


def test_a_net_that_no_image_suits_says_so() -> None:
    poolings = nn.Sequential(*(nn.MaxPool2d(2) for _ in range(11)), GlobalPool())
    with pytest.raises(RecipeError, match="images up to 1024×1024 are too small too"):
        measured_width(poolings, (1, 64, 64), "it")


def test_measuring_changes_nothing() -> None:
    trunk = nn.Sequential(conv_norm(3, 4, 3, 2, 1), nn.Flatten())
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    assert measured_width(trunk, (3, 8, 8), "it") == 64
    assert trunk.training and all(torch.equal(value, before[name]) for name, value in trunk.state_dict().items())
    assert not any(module._forward_pre_hooks for module in trunk.modules())


def test_he_keeps_the_variance_through_layers_of_relu() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(64, 64, 3, padding=1, padding_mode="circular") for _ in range(6)]
    net = nn.Sequential(*(nn.Sequential(layer, nn.ReLU()) for layer in layers))
    he_normal(net)
    with torch.no_grad():
        power = net(torch.randn(4, 64, 12, 12)).square().mean().item()
    assert 0.3 < power < 3 and not any(layer.bias.any() for layer in layers if layer.bias is not None)
