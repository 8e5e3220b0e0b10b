"""Colors: each part against torchvision's functions, and drawn as its ColorJitter draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.colors import rgb_to_hsv
from scipy import stats
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as reference

from tellapart import registry
from tellapart.augmentations import _warp
from tellapart.augmentations.base import Pipeline
from tellapart.augmentations.color_jitter import ColorJitter

UNCHANGED = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}


def _color(images: Tensor, **changes: float) -> Tensor:
    """With fixed parameters."""
    drawn = torch.tensor([list((UNCHANGED | changes).values())]).repeat(len(images), 1)
    matrices = ColorJitter(ColorJitter.Options()).matrix(drawn, _warp.mean_color(images))
    return _warp.to_bytes(_warp.mix_channels(images, matrices))


def _distance(ours: Tensor, theirs: Tensor) -> float:
    return (ours.float() - theirs.float()).abs().max().item()


def _hue(images: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 → (B, H, W), HSV's hue as a share of the circle."""
    return torch.from_numpy(rgb_to_hsv(images.permute(0, 2, 3, 1).numpy() / 255)[..., 0])


def test_no_change_is_exact(detailed: Tensor) -> None:
    assert torch.equal(_color(detailed), detailed)


@pytest.mark.parametrize("factor", [0.0, 0.7, 1.15, 3.0])
@pytest.mark.parametrize("part", ["brightness", "contrast", "saturation"])
def test_parts_are_those_of_torchvision(detailed: Tensor, part: str, factor: float) -> None:
    """To a level or two: torchvision cuts fractions off, also of a luma that it then multiplies; 3 reaches both bounds."""
    expected = getattr(reference, f"adjust_{part}")(detailed, factor)
    assert _distance(_color(detailed, **{part: factor}), expected) <= max(1, factor - 1)


@pytest.mark.parametrize("share", [1 / 3, -1 / 3])
def test_a_third_of_the_circle_is_torchvisions_hue(detailed: Tensor, share: float) -> None:
    assert _distance(_color(detailed, hue=share), reference.adjust_hue(detailed, share)) <= 1


@pytest.mark.parametrize("share", [-0.1, -0.03, 0.05, 0.1, 0.5])
def test_hues_turn_by_as_much_as_torchvisions(detailed: Tensor, share: float) -> None:
    """Not the same pixels: one keeps the largest and smallest channel, the other the sum of the channels."""
    vivid = detailed.amax(1) - detailed.amin(1) > 60
    shifts = []
    for after in (_color(detailed, hue=share), reference.adjust_hue(detailed, share)):
        turned = _hue(after)[vivid] - _hue(detailed)[vivid] - share
        shifts.append(((turned + 0.5) % 1 - 0.5).abs().max().item())
    assert shifts[0] < 0.04 and shifts[1] < 0.01
    sums = _color(detailed, hue=share).float().sum(1) - detailed.float().sum(1)
    assert sums.abs().max() <= 2


def test_gray_is_torchvisions(detailed: Tensor) -> None:
    out = Pipeline([{"grayscale": {"probability": 1}}])(detailed, torch.Generator())
    assert _distance(out, reference.rgb_to_grayscale(detailed, num_output_channels=3)) <= 1
    assert torch.equal(out[:, 0], out[:, 1]) and torch.equal(out[:, 0], out[:, 2])


def test_gray_changes_its_share_of_the_images(detailed: Tensor) -> None:
    many = detailed[:1, :, :4, :4].expand(4000, -1, -1, -1)
    changed = (Pipeline([{"grayscale": {"probability": 0.2}}])(many, torch.Generator()) != many).flatten(1).any(1)
    assert abs(changed.float().mean() - 0.2) < 0.03


def test_gray_images_are_the_red_of_gray_pictures(detailed: Tensor) -> None:
    """One channel, or three equal ones."""
    one = detailed[:, :1]
    chain = [{"color_jitter": {"contrast": 0.5, "saturation": 0.5, "hue": 0.3}}, {"grayscale": {}}, {"color_jitter": {}}]
    flat, full = (Pipeline(chain)(images, torch.Generator().manual_seed(0)) for images in (one, one.expand(-1, 3, -1, -1)))
    assert flat.shape == one.shape
    assert _distance(flat, full[:, :1]) <= 1
    only_hue = Pipeline([{"color_jitter": {"brightness": 0, "contrast": 0, "hue": 0.5, "saturation": 1}}])
    assert torch.equal(only_hue(one, torch.Generator()), one)


def test_parameters_are_drawn_as_by_torchvision() -> None:
    torch.manual_seed(0)
    wanted = {"brightness": 0.4, "contrast": 1.5, "saturation": 0.2, "hue": 0.1}
    transform = v2.ColorJitter(**wanted)
    theirs = [transform.make_params([]) for _ in range(2000)]
    ours = ColorJitter(ColorJitter.Options(**wanted)).draw(10_000, torch.Generator().manual_seed(0))
    for column, part in zip(ours.T, wanted, strict=True):
        sample = np.array([float(t[f"{part}_factor"]) for t in theirs])
        assert stats.ks_2samp(column.numpy(), sample).pvalue > 1e-3
    assert np.abs(np.corrcoef(ours.T.numpy()) - np.eye(4)).max() < 0.05  # independent of one another


def test_colors_in_a_row_are_one_matrix(smooth: Tensor) -> None:
    chain = [{"color_jitter": {"hue": 0.1}}, {"grayscale": {"probability": 0.5}}, {"color_jitter": {"contrast": 0.3}}]
    together = Pipeline(chain)(smooth, torch.Generator().manual_seed(0))
    generator, one_by_one = torch.Generator().manual_seed(0), smooth
    for entry in chain:
        one_by_one = Pipeline([entry])(one_by_one, generator)
    assert _distance(together, one_by_one) <= 3  # rounded once instead of three times
    assert _distance(together, smooth) > 20


@pytest.mark.parametrize("first", ["rotate", "color_jitter"])
def test_geometry_and_color_change_places(smooth: Tensor, first: str) -> None:
    """But for the contrast, whose mean is that of the sampled image."""
    entries = [{"rotate": {"degrees": 40}}, {"color_jitter": {"contrast": 0}}]
    chain = entries if first == "rotate" else entries[::-1]
    together = Pipeline(chain)(smooth, torch.Generator().manual_seed(0))
    generator, one_by_one = torch.Generator().manual_seed(0), smooth
    for entry in chain:
        one_by_one = Pipeline([entry])(one_by_one, generator)
    assert _distance(together, one_by_one) <= 2


def test_every_color_option_matters(detailed: Tensor) -> None:
    nothing = {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}
    kind = registry.find("augmentations", "color_jitter")
    for part in nothing:
        changed = kind(kind.Options(**nothing | {part: 0.3}))(detailed, torch.Generator().manual_seed(1))
        assert not torch.equal(changed, detailed), part
