"""Where pixels come from: against scipy and torchvision, alone and fused; parameters spread as torchvision's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as reference

from tellapart import registry
from tellapart.augmentations import _warp, base
from tellapart.augmentations.affine import inverse_matrices
from tellapart.augmentations.base import Geometry, Pipeline
from tellapart.errors import RecipeError

MANY = 10_000


def _make(name: str, **options: object) -> Geometry:
    kind = registry.find("augmentations", name)
    return kind(kind.Options(**options))


def _draw(name: str, count: int, size: tuple[int, int], **options: object) -> Tensor:
    return _make(name, **options).draw(count, size, torch.Generator().manual_seed(3))[0]


def _middle(images: Tensor, share: float = 0.5) -> Tensor:
    """The part that no border reaches."""
    rows, columns = (int(side * (1 - share) / 2) for side in images.shape[2:])
    return images[:, :, rows:-rows, columns:-columns].float()


# --- sampling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zoom", [0.7, 1.3, 3.0, 9.0])
def test_sampling_is_that_of_scipy_with_the_image_mirrored(detailed: Tensor, zoom: float) -> None:
    """Also far outside, where the image is reflected several times."""
    angle = 0.4
    linear = zoom * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    shift = np.array([3.3, -8.6])
    matrix = torch.from_numpy(np.column_stack([linear, shift])).float().expand(len(detailed), -1, -1)
    out = _warp.warp(detailed, matrix, (40, 50))
    for made, image in zip(out.flatten(0, 1).numpy(), detailed.flatten(0, 1).numpy(), strict=True):
        rows = linear[::-1, ::-1]  # scipy counts (row, column)
        into, out_of = (np.array(shape) - 1 for shape in (image.shape, made.shape))
        offset = shift[::-1] + into / 2 - rows @ (out_of / 2)
        expected = ndimage.affine_transform(image.astype(float), rows, offset, made.shape, order=1, mode="mirror")
        np.testing.assert_allclose(made, expected, atol=0.02)


def test_sampling_whole_pixels_is_picking_them(detailed: Tensor) -> None:
    matrices, size = _make("random_crop", size=40, shift=9).draw(8, (48, 64), torch.Generator().manual_seed(0))
    matrices = _warp.compose(matrices, _draw("flip", 8, size, vertical=0.5))
    picked = _warp.gather(detailed, matrices, size)
    assert picked.shape == (8, 3, 40, 40)
    assert torch.equal(picked, _warp.to_bytes(_warp.warp(detailed, matrices, size)))


# --- against torchvision ----------------------------------------------------------------------------------------------


def test_rotate_turns_as_torchvision(smooth: Tensor) -> None:
    out = _make("rotate", degrees=30)(smooth, torch.Generator().manual_seed(3))
    matrices = _draw("rotate", 8, (48, 64), degrees=30)
    angles = torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0]).rad2deg().tolist()
    turned = [reference.rotate(i, a, InterpolationMode.BILINEAR) for i, a in zip(smooth.contiguous(), angles, strict=True)]
    assert max(map(abs, angles)) > 10
    assert (_middle(out) - _middle(torch.stack(turned))).abs().max() <= 1


@pytest.mark.parametrize(
    ("angle", "shift", "scale", "shear"), [(20, (5, -3), 1.2, 0), (-10, (0, 4), 0.9, 15), (0, (0, 0), 1, -25)]
)
def test_affine_is_that_of_torchvision(
    smooth: Tensor, angle: float, shift: tuple[int, int], scale: float, shear: float
) -> None:
    numbers = (math.radians(angle), *shift, scale, math.tan(math.radians(shear)))
    matrices = inverse_matrices(*(torch.full((8,), float(n)) for n in numbers))
    out = _warp.to_bytes(_warp.warp(smooth, matrices, (48, 64)))
    expected = reference.affine(
        smooth.contiguous(), angle, list(shift), scale, [shear, 0.0], interpolation=InterpolationMode.BILINEAR
    )
    assert (_middle(out) - _middle(expected)).abs().max() <= 1


def test_random_resized_crop_enlarges_the_window_that_torchvision_would(smooth: Tensor) -> None:
    out = _make("random_resized_crop", scale=(0.2, 0.6))(smooth, torch.Generator().manual_seed(3))
    for made, image, m in zip(
        out, smooth.contiguous(), _draw("random_resized_crop", 8, (48, 64), scale=(0.2, 0.6)), strict=True
    ):
        height, width = round(m[1, 1].item() * 48), round(m[0, 0].item() * 64)
        top, left = (m[1, 2].item() + (48 - height) / 2, m[0, 2].item() + (64 - width) / 2)
        assert top == round(top) and left == round(left)
        expected = reference.resized_crop(image, int(top), int(left), height, width, [48, 64])
        assert (_middle(made[None]) - _middle(expected[None])).abs().max() <= 1


# --- parameters -------------------------------------------------------------------------------------------------------


def _same(ours: Tensor, theirs: list[float]) -> bool:
    """Two samples of one distribution, by Kolmogorov and Smirnov."""
    return stats.ks_2samp(ours.numpy(), np.array(theirs)).pvalue > 1e-3


def test_angles_are_drawn_as_by_torchvision() -> None:
    torch.manual_seed(0)
    theirs = [v2.RandomRotation(25).make_params([])["angle"] for _ in range(2000)]
    matrices = _draw("rotate", MANY, (9, 9), degrees=25)
    angles = torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0]).rad2deg()
    assert _same(angles, theirs)
    assert not _same(angles * 0.9, theirs)


def test_affine_parameters_are_drawn_as_by_torchvision() -> None:
    torch.manual_seed(0)
    transform = v2.RandomAffine(degrees=20, translate=(0.2, 0.1), scale=(0.8, 1.3), shear=10)
    theirs = [transform.make_params([torch.zeros(3, 100, 100)]) for _ in range(2000)]
    matrices = _draw("affine", MANY, (100, 100), degrees=20, shift=0.1, scale=(0.8, 1.3), shear=10)
    forward = torch.linalg.inv(matrices[:, :, :2])
    scale = torch.linalg.det(forward).sqrt()
    angle = torch.atan2(forward[:, 1, 0], forward[:, 0, 0])
    upright = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()], 1).view(-1, 2, 2) @ forward
    shear = (-upright[:, 0, 1] / scale).atan().rad2deg()
    shift = -(forward @ matrices[:, :, 2:])[:, :, 0]
    assert _same(scale, [t["scale"] for t in theirs])
    assert _same(angle.rad2deg(), [t["angle"] for t in theirs])
    assert _same(shear, [t["shear"][0] for t in theirs])
    # torchvision's shifts are whole pixels
    assert stats.ks_2samp(shift[:, 1].round().numpy(), np.array([t["translate"][1] for t in theirs])).pvalue > 1e-3


def test_windows_are_drawn_as_by_torchvision() -> None:
    torch.manual_seed(0)
    transform = v2.RandomResizedCrop(10, scale=(0.3, 1), ratio=(0.5, 2))
    theirs = [transform.make_params([torch.zeros(3, 60, 90)]) for _ in range(2000)]
    m = _draw("random_resized_crop", MANY, (60, 90), scale=(0.3, 1), ratio=(0.5, 2))
    height, width = m[:, 1, 1] * 60, m[:, 0, 0] * 90
    assert _same(height.round(), [t["height"] for t in theirs])
    assert _same(width.round(), [t["width"] for t in theirs])
    assert _same((m[:, 0, 2] + (90 - width) / 2).round(), [t["left"] for t in theirs])
    assert _same((m[:, 1, 2] + (60 - height) / 2).round(), [t["top"] for t in theirs])


# --- fused ------------------------------------------------------------------------------------------------------------

CHAIN = [
    {"rotate": {"degrees": 10}},
    {"flip": {"vertical": 0.5}},
    {"affine": {"degrees": 8, "shift": 0.05}},
    {"random_crop": {"shift": 3}},
]


def test_a_chain_is_sampled_once_and_equals_one_after_another(smooth: Tensor) -> None:
    out = Pipeline(CHAIN)(smooth, torch.Generator().manual_seed(1))
    generator, one_by_one = torch.Generator().manual_seed(1), smooth
    for entry in CHAIN:
        one_by_one = Pipeline([entry])(one_by_one, generator)
    assert (_middle(out) - _middle(one_by_one)).abs().max() <= 2
    assert (_middle(out) - _middle(smooth)).abs().max() > 20


def test_a_chain_keeps_detail_that_repeated_sampling_blurs(detailed: Tensor) -> None:
    chain = [{"rotate": {"degrees": 20}}] * 4
    together = Pipeline(chain)(detailed, torch.Generator().manual_seed(1))
    generator, one_by_one = torch.Generator().manual_seed(1), detailed
    for entry in chain:
        one_by_one = Pipeline([entry])(one_by_one, generator)
    assert _middle(together).diff().std() > 1.3 * _middle(one_by_one).diff().std()


def test_exact_operations_stay_exact_in_a_chain(detailed: Tensor) -> None:
    out = Pipeline([{"flip": {"horizontal": 1}}, {"rotate90": {"degrees": [180]}}, {"center_crop": {"size": 40}}])(
        detailed, torch.Generator()
    )
    assert torch.equal(out, detailed.flip(2)[:, :, 4:44, 12:52])


@pytest.mark.parametrize("scale", [[1.2, 0.8], [0, 1]])
def test_bad_ranges_are_refused(scale: list[float]) -> None:
    with pytest.raises(RecipeError, match="augment: affine: scale"):
        Pipeline([{"affine": {"scale": scale}}])


def test_a_large_batch_is_done_in_parts_without_a_trace(detailed: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = [*CHAIN, {"color_jitter": {"contrast": 0.5}}, {"random_crop": {"size": 40}}]
    whole = Pipeline(chain)(detailed, torch.Generator().manual_seed(1))
    monkeypatch.setattr(base, "_AT_ONCE", 3 * 3 * 40 * 40)
    parts = Pipeline(chain)(detailed, torch.Generator().manual_seed(1))
    assert parts.is_contiguous(memory_format=torch.channels_last)
    # fused products of the last bit may differ with the size of a batch
    assert (whole.float() - parts.float()).abs().max() <= 1
