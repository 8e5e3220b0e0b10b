"""The quick net: any size and number of classes, sized by its options, residual, and trainable."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tellapart.errors import RecipeError
from tellapart.nets.base import HeadedNet
from tellapart.nets.quick import Quick, Residual


def _build(shape: tuple[int, ...], classes: int, **options: object) -> HeadedNet:
    return Quick.build(shape, classes, Quick.Options.model_validate({"net": "quick", **options}))


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 33, 47), (3, 128, 128)])
@pytest.mark.parametrize("classes", [2, 141])
def test_any_size_gives_a_vector_and_logits(shape: tuple[int, int, int], classes: int) -> None:
    body = _build(shape, classes, width=4).eval()
    images = torch.rand(2, *shape)
    assert body.trunk(images).shape == (2, 32)
    assert body(images).shape == (2, classes)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_number_of_parameters_is_as_counted_by_hand(depth: int) -> None:
    w = 6
    convolutions = 9 * (3 * w + w * 2 * w + 2 * w * 4 * w + 4 * w * 8 * w + (depth - 1) * ((4 * w) ** 2 + (8 * w) ** 2))
    norms = 2 * (w + 2 * w + depth * (4 * w + 8 * w))
    logits = 8 * w * 5 + 5
    body = _build((3, 32, 32), 5, width=w, depth=depth)
    assert sum(p.numel() for p in body.parameters()) == convolutions + norms + logits


def test_the_children_of_the_trunk_are_its_stages_and_every_parameter_is_in_a_group() -> None:
    body = _build((1, 28, 28), 10)
    groups = body.groups()
    assert len(body.trunk) == 5
    assert len(groups) == 5  # four stages with parameters, and the head
    assert {id(p) for group in groups for p in group} == {id(p) for p in body.parameters()}


def test_a_residual_unit_whose_change_is_zero_passes_its_input_on() -> None:
    unit = Residual(5).eval()
    x = torch.randn(2, 5, 6, 7)
    assert not torch.equal(unit(x), x)
    for parameter in unit.change[0].parameters():
        torch.nn.init.zeros_(parameter)
    assert torch.equal(unit(x), x)


def test_dropout_stands_before_the_logits_only_where_asked() -> None:
    images = torch.rand(4, 1, 16, 16)
    vectors = _build((1, 16, 16), 3).trunk(images)
    with_dropout, without = _build((1, 16, 16), 3, dropout=0.5).head, _build((1, 16, 16), 3).head
    assert not torch.equal(with_dropout(vectors), with_dropout(vectors))
    assert torch.equal(without(vectors), without(vectors))


@pytest.mark.parametrize("shape", [(3, 7, 32), (1, 32, 7)])
def test_a_side_below_eight_pixels_is_an_error_with_a_hint(shape: tuple[int, int, int]) -> None:
    with pytest.raises(RecipeError, match=f"at least 8 pixels, found {shape[1]}×{shape[2]}") as caught:
        _build(shape, 2)
    assert caught.value.hint is not None


def test_a_feature_vector_is_refused() -> None:
    with pytest.raises(RecipeError, match="quick takes images"):
        _build((300,), 2)


def test_it_learns_what_a_mean_cannot_tell() -> None:
    """Horizontal or vertical stripes with a random phase: the same pixels, turned."""
    torch.manual_seed(0)
    rows = (torch.arange(16) + torch.randint(4, (64, 1))).div(2, rounding_mode="floor") % 2
    lying = rows.float()[:, None, :, None].expand(64, 1, 16, 16)
    images, labels = torch.cat([lying, lying.transpose(2, 3)]), torch.arange(128) // 64
    body = _build((1, 16, 16), 2, width=4)
    parameters = list(body.parameters())
    for _ in range(40):
        gradients = torch.autograd.grad(F.cross_entropy(body(images), labels), parameters)
        with torch.no_grad():  # plain descent: torch.optim takes seconds to import
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(0.1 * gradient)
    assert (body.eval()(images).argmax(1) == labels).float().mean() > 0.95
