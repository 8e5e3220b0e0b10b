"""Color spaces against scikit-image and matplotlib, histograms and moments against numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import rgb_to_hsv
from scipy.stats import moment
from skimage.color import rgb2lab

from tellapart.errors import RecipeError
from tellapart.features.color_histogram import ColorHistogram, to_color_space
from tellapart.recipe import load as recipes

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 9, 11, 3), dtype=np.uint8)


def _interleaved(planar: np.ndarray) -> np.ndarray:
    return planar.transpose(0, 2, 3, 1)


def test_hsv_is_matplotlibs() -> None:
    np.testing.assert_allclose(_interleaved(to_color_space(IMAGES, "hsv")), rgb_to_hsv(IMAGES / 255), atol=1e-4)


def test_lab_is_scikit_images() -> None:
    low, high = np.array([0, -110, -110]), np.array([100, 110, 110])
    found = _interleaved(to_color_space(IMAGES, "lab")) * (high - low) + low
    np.testing.assert_allclose(found, rgb2lab(IMAGES), atol=0.6)  # OpenCV interpolates the cube root in a table


def test_no_color_leaves_the_range_of_its_space() -> None:
    corners = np.stack(np.meshgrid([0, 255], [0, 255], [0, 255]), axis=-1).reshape(1, 4, 2, 3).astype(np.uint8)
    lab = rgb2lab(corners)
    assert np.abs(lab[..., 1:]).max() < 110


@pytest.mark.parametrize("space", ["rgb", "hsv", "lab"])
def test_histograms_of_channels(space: str) -> None:
    found = ColorHistogram(ColorHistogram.Options(space=space, bins=8, root=False, moments=False))(IMAGES)
    x = to_color_space(IMAGES, space)
    for image, row in zip(x, found, strict=True):
        expected = [np.histogram(channel, 8, (0, 1))[0] / 99 for channel in image]
        np.testing.assert_allclose(row.reshape(3, 8), expected, atol=1e-6)


def test_the_joint_histogram_is_numpys() -> None:
    found = ColorHistogram(ColorHistogram.Options(bins=4, joint=True, moments=False))(IMAGES)
    x = to_color_space(IMAGES, "hsv").reshape(4, 3, -1)
    expected = np.stack([np.histogramdd(image.T, 4, [(0, 1)] * 3)[0].ravel() / 99 for image in x])
    np.testing.assert_allclose(found, np.sqrt(expected), atol=1e-6)


def test_moments_are_scipys() -> None:
    found = ColorHistogram(ColorHistogram.Options(space="rgb", bins=2))(IMAGES)[:, 6:]
    x = (IMAGES / 255).reshape(4, -1, 3)
    expected = np.hstack([x.mean(axis=1), x.std(axis=1), np.cbrt(moment(x, 3, axis=1))])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_cells_are_described_by_themselves() -> None:
    found = ColorHistogram(ColorHistogram.Options(space="rgb", bins=4, cells=2))(IMAGES)
    shares, moments = found[:, : 4 * 12].reshape(4, 4, 12), found[:, 4 * 12 :].reshape(4, 4, 9)
    # cells end at ⌈side / 2⌉
    for cell, (rows, columns) in enumerate([(a, b) for a in (slice(5), slice(5, 9)) for b in (slice(6), slice(6, 11))]):
        alone = ColorHistogram(ColorHistogram.Options(space="rgb", bins=4))(IMAGES[:, rows, columns])
        np.testing.assert_allclose(shares[:, cell], alone[:, :12], atol=1e-6)
        np.testing.assert_allclose(moments[:, cell], alone[:, 12:], atol=1e-5)


def test_more_cells_than_pixels_are_zeros() -> None:
    found = ColorHistogram(ColorHistogram.Options(cells=4))(IMAGES[:, :2, :2])
    assert np.isfinite(found).all() and found.shape == (4, 16 * (3 * 16 + 9))


def test_gray_images_have_one_channel() -> None:
    gray = IMAGES[..., :1]
    found = ColorHistogram(ColorHistogram.Options(space="lab", bins=16, root=False))(gray)
    assert found.shape == (4, 16 + 3)
    np.testing.assert_allclose(found[0, :16], np.histogram(gray[0] / 255, 16, (0, 1))[0] / 99, atol=1e-6)


def test_a_joint_histogram_is_bounded() -> None:
    content = {"features": {"descriptors": [{"color_histogram": {"bins": 32, "joint": True}}]}, "classifier": {"family": "lda"}}
    with pytest.raises(RecipeError, match="at most 16 bins"):
        recipes.parse(content)
