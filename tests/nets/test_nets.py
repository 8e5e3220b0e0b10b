"""Architectures: shapes, sizes as counted by hand, and errors in words."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tellapart import registry
from tellapart.errors import RecipeError
from tellapart.nets._contract import Normalise


def _build(net: str, shape: tuple[int, int, int], classes: int, **options: object) -> nn.Module:
    kind = registry.find("nets", net)
    return kind.build(shape, classes, kind.Options.model_validate({"net": net, **options}))


def _count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("net", registry.names("nets"))
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 33, 47)])
def test_logits_have_one_column_a_class(net: str, shape: tuple[int, int, int]) -> None:
    assert _build(net, shape, 7).eval()(torch.rand(2, *shape)).shape == (2, 7)


def test_the_mlp_of_row_c2_has_its_number_of_parameters() -> None:
    """SYSTEMS row C2: 784-150-150-75-10 with batch norm has 153,235 parameters, counted there with biases everywhere.

    Ours drops the three biases that batch norm makes idle: 150 + 150 + 75 fewer.
    """
    assert _count(_build("mlp", (1, 28, 28), 10, widths=[150, 150, 75])) == 153_235 - 375


def test_staged_is_what_its_options_say() -> None:
    stages = [{"widths": [8, 8], "dropout": 0.1}, {"widths": [16], "kernel": 5, "stride": 2, "pool": 1, "batch_norm": False}]
    net = _build("staged", (3, 32, 32), 4, stages=stages, dense=[20], ending="flatten")
    convolutions = 3 * 8 * 9 + 8 * 8 * 9 + (8 * 16 * 25 + 16)
    norms, dense, logits = 2 * 8 * 2, 16 * 8 * 8 * 20 + 20, 20 * 4 + 4
    assert _count(net) == convolutions + norms + dense + logits


@pytest.mark.parametrize("ending", ["average", "max"])
def test_global_pooling_takes_any_size(ending: str) -> None:
    net = _build("staged", (3, 64, 64), 4, ending=ending).eval()
    assert net(torch.rand(2, 3, 100, 72)).shape == (2, 4)


def test_an_image_too_small_for_the_poolings_is_an_error_in_words() -> None:
    with pytest.raises(RecipeError, match="6×6 images are too small"):
        _build("staged", (3, 6, 6), 4, stages=[{"widths": [4]}] * 4)


def test_normalise_gives_zero_mean_and_unit_variance() -> None:
    images = torch.randint(0, 256, (50, 2, 9, 9), dtype=torch.uint8)
    values = images.float()
    layer = Normalise(values.mean((0, 2, 3)), 1 / values.std((0, 2, 3)))
    out = layer(images)
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std((0, 2, 3)), torch.ones(2), atol=1e-5, rtol=0)
