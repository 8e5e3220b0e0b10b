"""Blur, downscaling, noise, compression and erasing: against scipy, Pillow and torchvision, drawn per image."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats
from torch import Tensor
from torchvision.transforms import v2

from tellapart import registry
from tellapart.augmentations import _kernels

FILTERS = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
PARTIAL = pytest.mark.parametrize("name", ["blur", "downscale", "noise", "jpeg", "webp", "random_erasing"])


def _apply(name: str, images: Tensor, seed: int = 0, probability: float = 1, **options: object) -> Tensor:
    kind = registry.find("augmentations", name)
    made = kind.Options(**options, probability=probability)
    return kind(made)(images, torch.Generator().manual_seed(seed))


def _changed(out: Tensor, images: Tensor) -> Tensor:
    return (out != images).flatten(1).any(1)


@PARTIAL
def test_it_changes_its_share_of_the_images(name: str, detailed: Tensor) -> None:
    strong = {"blur": {"sigma": (1, 2)}, "downscale": {"factor": (0.3, 0.6)}}.get(name, {})
    many = detailed[:, :, :12, :12].repeat(50, 1, 1, 1)
    share = _changed(_apply(name, many, probability=0.25, **strong), many).float().mean().item()
    assert stats.binomtest(round(share * 400), 400, 0.25).pvalue > 1e-4
    assert torch.equal(_apply(name, detailed, probability=0), detailed)
    assert _changed(_apply(name, detailed, **strong), detailed).all()


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5])
def test_blur_is_that_of_scipy(detailed: Tensor, sigma: float) -> None:
    out = _apply("blur", detailed, sigma=(sigma, sigma)).numpy()
    expected = ndimage.gaussian_filter(detailed.numpy().astype(float), sigma, mode="mirror", truncate=5, axes=(2, 3))
    assert np.abs(out - expected).max() < 0.51


def test_each_image_is_blurred_by_a_width_of_its_own(detailed: Tensor) -> None:
    same = detailed[:1].repeat(20, 1, 1, 1)
    detail = _apply("blur", same, sigma=(0.2, 3)).float().diff().flatten(1).std(1)
    assert len(detail.unique()) == 20


@pytest.mark.parametrize("up", FILTERS)
@pytest.mark.parametrize("down", FILTERS)
def test_downscale_is_that_of_pillow(detailed: Tensor, down: str, up: str) -> None:
    """Pillow rounds and bounds the small picture; that is what is left between them."""
    matrices = [
        _kernels.downscale_upscale(side, torch.full((8,), float(small)), (down, up)) for side, small in ((48, 29), (64, 38))
    ]
    out = _kernels.filtered(detailed, *matrices).permute(0, 2, 3, 1).numpy()
    for made, image in zip(out, detailed.permute(0, 2, 3, 1).numpy(), strict=True):
        expected = Image.fromarray(image).resize((38, 29), FILTERS[down]).resize((64, 48), FILTERS[up])
        difference = np.abs(made.astype(float) - np.asarray(expected))
        assert difference.max() <= 2 and difference.mean() < 0.5


def test_downscale_by_one_is_no_change(detailed: Tensor) -> None:
    assert torch.equal(_apply("downscale", detailed, factor=(1, 1)), detailed)


def test_downscale_draws_kernels_for_each_image(detailed: Tensor) -> None:
    same = detailed[:1].repeat(200, 1, 1, 1)
    out = _apply("downscale", same, factor=(0.5, 0.5))
    assert len(out.flatten(1).unique(dim=0)) == 16
    assert len(_apply("downscale", same, factor=(0.5, 0.5), kernels=["bicubic"]).flatten(1).unique(dim=0)) == 1


def test_noise_is_normal_and_of_each_images_strength() -> None:
    gray = torch.full((40, 3, 64, 64), 128, dtype=torch.uint8)
    noise = _apply("noise", gray, sigma=(2, 12)).float() - 128
    sigma = noise.flatten(1).std(1)
    assert 2 <= sigma.min() < 4 and 10 < sigma.max() <= 12.3
    assert stats.kstest(((sigma - 2) / 10).clamp(0, 1).numpy(), "uniform").pvalue > 1e-3
    standard = (noise / sigma[:, None, None, None]).flatten().numpy()
    assert abs(standard.mean()) < 0.01 and abs(stats.kurtosis(standard)) < 0.05
    channels = noise[0].flatten(1)
    assert torch.corrcoef(channels).fill_diagonal_(0).abs().max() < 0.05


@pytest.mark.parametrize(("name", "options"), [("jpeg", {"subsampling": "4:2:0"}), ("webp", {"method": 0})])
@pytest.mark.parametrize("times", [1, 2])
def test_compression_is_pillows(detailed: Tensor, name: str, options: dict[str, object], times: int) -> None:
    out = _apply(name, detailed, quality=(40, 40), times=(times, times)).permute(0, 2, 3, 1).numpy()
    for made, image in zip(out, detailed.permute(0, 2, 3, 1).numpy(), strict=True):
        for _ in range(times):
            file = io.BytesIO()
            Image.fromarray(image).save(file, name.upper(), quality=40, **options)
            image = np.asarray(Image.open(file).convert("RGB"))
        np.testing.assert_array_equal(made, image)


def test_qualities_and_times_are_drawn_for_each_image(smooth: Tensor) -> None:
    same = smooth[:1].repeat(60, 1, 1, 1)
    assert 20 < len(_apply("jpeg", same, quality=(50, 90)).flatten(1).unique(dim=0)) <= 41
    assert len(_apply("jpeg", same, quality=(50, 90), times=(1, 3)).flatten(1).unique(dim=0)) > 41


@pytest.mark.parametrize("fill", ["black", "mean", "noise"])
def test_random_erasing_fills_one_rectangle(detailed: Tensor, fill: str) -> None:
    out = _apply("random_erasing", detailed, area=(0.1, 0.2), fill=fill)
    for made, image in zip(out, detailed, strict=True):
        erased = (made != image).any(0)
        rows, columns = erased.any(1).nonzero()[:, 0], erased.any(0).nonzero()[:, 0]
        inside = made[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert 0.08 < inside[0].numel() / (48 * 64) < 0.22
        if fill == "black":
            assert (inside == 0).all()
        elif fill == "mean":
            assert (inside.float() - image.float().mean((1, 2))[:, None, None]).abs().max() <= 0.5
        else:
            assert inside.float().std() > 60


def test_rectangles_are_drawn_as_by_torchvision() -> None:
    torch.manual_seed(0)
    transform = v2.RandomErasing(p=1, scale=(0.05, 0.4), ratio=(0.3, 2.0))
    theirs = [transform.make_params([torch.zeros(3, 60, 90)]) for _ in range(2000)]
    kind = registry.find("augmentations", "random_erasing")
    erasing = kind(kind.Options(area=(0.05, 0.4), ratio=(0.3, 2.0)))
    ours = erasing._rectangles(10_000, (60, 90), torch.Generator().manual_seed(0))
    for sample, name in zip(ours, ("i", "j", "h", "w"), strict=True):
        assert stats.ks_2samp(sample.numpy(), np.array([float(t[name]) for t in theirs])).pvalue > 1e-3, name
