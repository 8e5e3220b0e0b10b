"""Residuals against scipy's correlation, their statistics against plain computations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import correlate2d
from scipy.stats import pearsonr

from tellapart.errors import RecipeError
from tellapart.features._blocks import to_planes
from tellapart.features._residuals import KERNELS, quantized, residuals
from tellapart.features.noise_residual import NoiseResidual


def _residuals(images: np.ndarray, kernel: str) -> list[np.ndarray]:
    """In gray levels."""
    return [r / KERNELS[kernel][1] for r in residuals(to_planes(images).astype(np.int16), kernel)]


IMAGES = np.random.default_rng(0).integers(0, 256, (3, 14, 19, 3), dtype=np.uint8)


@pytest.mark.parametrize("kernel", KERNELS)
def test_residuals_are_scipys(kernel: str) -> None:
    weights, scale = KERNELS[kernel]
    found = _residuals(IMAGES, kernel)
    assert len(found) == (1 if weights.shape[0] == weights.shape[1] else 2)
    for residual, turned in zip(found, (weights, weights.T), strict=False):
        expected = correlate2d(IMAGES[1, :, :, 2].astype(float), turned, mode="valid") / scale
        np.testing.assert_allclose(residual[1, 2], expected, rtol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_predictor_foretells_a_ramp(kernel: str) -> None:
    """A first difference leaves the slope; all others leave nothing of a plane. Weights sum to 0."""
    ramp = (np.arange(12)[:, None] * 3 + np.arange(12) * 2).astype(np.uint8)[None, :, :, None]
    left = [1.0 * np.unique(r) for r in _residuals(ramp, kernel)]
    assert [list(v) for v in left] == ([[2.0], [3.0]] if kernel == "first" else [[0.0]] * len(left))
    assert KERNELS[kernel][0].sum() == 0


def test_the_extremes_of_the_largest_kernel_do_not_overflow() -> None:
    weights, scale = KERNELS["wide"]
    worst = np.where(weights > 0, 255, 0).astype(np.uint8)[None, :, :, None]
    assert _residuals(worst, "wide")[0].item() == pytest.approx(255 * weights[weights > 0].sum() / scale)
    assert _residuals(255 - worst, "wide")[0].item() == pytest.approx(255 * weights[weights < 0].sum() / scale)


def test_quantising_rounds_and_cuts_off() -> None:
    r = np.array([-9000, -16, -4, 0, 9, 26, 90], np.int16)  # in tenths of a gray level
    assert quantized(r, 10, 1.0, 2).tolist() == [0, 0, 2, 2, 3, 4, 4]
    assert quantized(r, 10, 2.0, 2).tolist() == [0, 1, 2, 2, 2, 3, 4]


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 12])
def test_half_a_level_is_rounded_to_even(scale: int) -> None:
    r = np.arange(-600, 601, dtype=np.int16)
    np.testing.assert_array_equal(quantized(r, scale, 1.0, 100), np.clip(np.rint(r / scale), -100, 100) + 100)


def test_the_shares_moments_and_correlations_are_those_of_the_residual() -> None:
    found = NoiseResidual(NoiseResidual.Options(kernels=["square"], most=3))(IMAGES)
    (residual,) = _residuals(IMAGES, "square")
    r = residual[2].astype(float)  # (C, h, w)
    counts = [np.bincount(np.clip(np.rint(c), -3, 3).astype(int).ravel() + 3, minlength=7) / c.size for c in r]
    np.testing.assert_allclose(found[2, :21], np.concatenate(counts), atol=1e-6)
    second = (r**2).mean(axis=(1, 2))
    moments = [np.log(np.abs(r).mean(axis=(1, 2))), np.log(second) / 2, np.log((r**4).mean(axis=(1, 2)) / second**2)]
    np.testing.assert_allclose(found[2, 21:30], np.concatenate(moments), atol=1e-3)
    right = [(c[:, :-1] * c[:, 1:]).mean() / (c**2).mean() for c in r]
    below = [(c[:-1] * c[1:]).mean() / (c**2).mean() for c in r]
    np.testing.assert_allclose(found[2, 30:36], right + below, atol=1e-4)
    between = [pearsonr(r[a].ravel(), r[b].ravel()).statistic for a, b in ((0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose(found[2, 36:], between, atol=5e-3)  # ours takes the mean for 0, which a high pass nearly has


@pytest.mark.parametrize("images", [np.zeros((2, 9, 9, 3), np.uint8), IMAGES[:, :5, :5], IMAGES[..., :1]])
def test_flat_tiny_and_gray_images_are_finite(images: np.ndarray) -> None:
    found = NoiseResidual(NoiseResidual.Options())(images)
    channels = images.shape[3]
    assert np.isfinite(found).all()
    assert found.shape[1] == 8 * (channels * (9 + 3 + 2) + channels * (channels - 1) // 2)


def test_a_picture_smaller_than_the_kernel_is_an_error() -> None:
    with pytest.raises(RecipeError, match=r"'wide' needs images of at least 5 pixels a side, found 4×9"):
        NoiseResidual(NoiseResidual.Options())(np.zeros((1, 4, 9, 3), np.uint8))
