"""Local binary patterns against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.feature import local_binary_pattern

from tellapart.errors import RecipeError
from tellapart.features.lbp import LBP

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 17, 22, 3), dtype=np.uint8)


def _expected(channel: np.ndarray, points: int, radius: float, method: str) -> np.ndarray:
    """scikit-image's patterns where the circle lies within the picture."""
    edge = int(np.ceil(radius))
    return local_binary_pattern(channel, points, radius, method)[edge:-edge, edge:-edge].astype(int)


@pytest.mark.parametrize(("points", "radius"), [(8, 1.0), (8, 2.0), (12, 1.5), (16, 3.0)])
@pytest.mark.parametrize(("invariant", "method"), [(True, "uniform"), (False, "nri_uniform")])
def test_histograms_are_scikit_images(points: int, radius: float, invariant: bool, method: str) -> None:
    found = LBP(LBP.Options(points=points, radius=radius, invariant=invariant))(IMAGES)
    bins = points + 2 if invariant else points * (points - 1) + 3
    assert found.dtype == np.float32 and found.shape == (3, 3 * bins)
    for image, row in zip(IMAGES, found, strict=True):
        for c, ours in enumerate(row.reshape(3, bins)):
            theirs = np.bincount(_expected(image[..., c], points, radius, method).ravel(), minlength=bins)
            # bins of uniform patterns are numbered otherwise with `nri_uniform`; the last one is the rest in both
            same = (ours, theirs / theirs.sum()) if invariant else (np.sort(ours[:-1]), np.sort(theirs[:-1] / theirs.sum()))
            np.testing.assert_allclose(*same, atol=1e-6)
            assert ours[-1] == pytest.approx(theirs[-1] / theirs.sum(), abs=1e-6)


def test_which_pixels_share_a_pattern_is_scikit_images() -> None:
    """Bin by bin, not only as a multiset: a single bright pixel turns each neighbor's pattern into a known one."""
    image = np.zeros((1, 5, 5, 1), np.uint8)
    image[0, 2, 2] = 200
    found = LBP(LBP.Options(invariant=True))(image)[0]
    # 8 dark pixels see 8 neighbors as bright; the bright one sees none
    np.testing.assert_allclose(found, np.eye(10)[8] * 8 / 9 + np.eye(10)[0] / 9, atol=1e-6)


def test_a_flat_picture_has_one_pattern() -> None:
    """Interpolated neighbors of equal pixels are equal to the bit, at any brightness."""
    flat = np.arange(256, dtype=np.uint8)[:, None, None, None] * np.ones((1, 6, 6, 1), np.uint8)
    found = LBP(LBP.Options(points=8, radius=1.3, invariant=True))(flat)
    np.testing.assert_array_equal(found, np.tile(np.eye(10, dtype=np.float32)[8], (256, 1)))


def test_turning_the_picture_changes_nothing_if_invariant() -> None:
    describe = LBP(LBP.Options(invariant=True, radius=2.0))
    np.testing.assert_allclose(describe(np.rot90(IMAGES, axes=(1, 2))), describe(IMAGES), atol=2e-3)
    loose = LBP(LBP.Options(radius=2.0))
    assert np.abs(loose(np.rot90(IMAGES, axes=(1, 2))) - loose(IMAGES)).max() > 1e-3


def test_cells_are_those_of_the_parts() -> None:
    """Four cells of a picture whose inner part is 16×20: each is described as that quarter of the patterns."""
    found = LBP(LBP.Options(cells=2, of="gray"))(np.zeros((2, 18, 22, 3), np.uint8)).reshape(2, 4, 59)
    np.testing.assert_allclose(found.sum(axis=2), 1)
    image = np.zeros((1, 18, 22, 1), np.uint8)
    image[0, :9, :11] = np.random.default_rng(0).integers(0, 256, (9, 11, 1), dtype=np.uint8)
    assert (LBP(LBP.Options(cells=2))(image).reshape(4, 59)[:, :-1].max(axis=1) < 1).tolist() == [True, False, False, False]


def test_gray_weighs_the_channels() -> None:
    gray = np.random.default_rng(1).integers(0, 256, (2, 12, 12, 1), dtype=np.uint8)
    same = np.repeat(gray, 3, axis=3)
    np.testing.assert_allclose(LBP(LBP.Options(of="gray"))(same), LBP(LBP.Options())(gray), atol=2e-2)
    assert LBP(LBP.Options(of="gray"))(same).shape == (2, 59)


def test_a_picture_smaller_than_the_circle_is_an_error() -> None:
    with pytest.raises(RecipeError, match=r"at least 7 pixels a side, found 6×9"):
        LBP(LBP.Options(radius=3.0))(np.zeros((1, 6, 9, 3), np.uint8))
