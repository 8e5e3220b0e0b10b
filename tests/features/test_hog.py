"""HOG against scikit-image's, and shared votes against a plain loop over pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from skimage import data
from skimage.feature import hog as reference
from skimage.transform import resize

from tellapart.errors import RecipeError
from tellapart.features.hog import HOG

RANDOM = np.random.default_rng(0)
PHOTO = (np.asarray(resize(data.astronaut(), (45, 52), anti_aliasing=True)) * 255).astype(np.uint8)
IMAGES = np.stack([PHOTO, PHOTO[::-1], RANDOM.integers(0, 256, PHOTO.shape, dtype=np.uint8)])


def _describe(images: np.ndarray, **options: Any) -> np.ndarray:
    return HOG(HOG.Options(**options))(images)


@pytest.mark.parametrize(("cell", "block", "orientations"), [(8, 2, 9), (4, 2, 8), (5, 3, 12), (7, 1, 4)])
@pytest.mark.parametrize("channels", [1, 3])
def test_equal_to_scikit_image(cell: int, block: int, orientations: int, channels: int) -> None:
    images = IMAGES[..., :channels]
    found = _describe(images, cell=cell, block=block, orientations=orientations)
    assert found.dtype == np.float32
    for row, image in zip(found, images, strict=True):
        wanted = reference(
            image if channels == 3 else image[..., 0], orientations, (cell, cell), (block, block), "L2-Hys",
            channel_axis=-1 if channels == 3 else None,
        )  # fmt: skip
        np.testing.assert_allclose(row, wanted, atol=1e-4)


def test_shared_votes_are_those_of_a_loop_over_pixels() -> None:
    cell, bins = 6, 8
    image = IMAGES[0, :24, :18, :1]
    x = image[..., 0].astype(float)
    cells = np.zeros((4, 3, bins))
    for r in range(24):
        for c in range(18):
            down = x[r + 1, c] - x[r - 1, c] if 0 < r < 23 else 0.0
            right = x[r, c + 1] - x[r, c - 1] if 0 < c < 17 else 0.0
            place = np.rad2deg(np.arctan2(down, right)) % 180 / (180 / bins) - 0.5
            for i, j in np.ndindex(4, 3):
                near = [max(0, 1 - abs(at + 0.5 - (k + 0.5) * cell) / cell) for at, k in ((r, i), (c, j))]
                low = int(np.floor(place))
                for b, share in ((low, 1 - (place - low)), (low + 1, place - low)):
                    cells[i, j, b % bins] += np.hypot(down, right) * share * near[0] * near[1] / cell**2
    norm = np.sqrt((cells**2).sum(-1, keepdims=True) + 1e-10)
    clipped = np.minimum(cells / norm, 0.2)
    wanted = clipped / np.sqrt((clipped**2).sum(-1, keepdims=True) + 1e-10)
    found = _describe(image[None], cell=cell, block=1, orientations=bins, shared=True)
    np.testing.assert_allclose(found[0], wanted.ravel(), atol=1e-4)


def test_signed_tells_a_light_edge_on_the_left_from_one_on_the_right() -> None:
    edge = np.zeros((1, 8, 8, 1), np.uint8)
    edge[:, :, 4:] = 200
    pair = np.concatenate([edge, edge[:, :, ::-1]])
    unsigned, signed = (_describe(pair, cell=8, block=1, orientations=4, signed=s) for s in (False, True))
    np.testing.assert_allclose(unsigned[0], unsigned[1])
    assert signed.argmax(axis=1).tolist() == [0, 2]


def test_of_a_color_picture_the_strongest_channel_counts() -> None:
    picture = np.zeros((1, 16, 16, 3), np.uint8)
    picture[:, :, 8:, 2] = 255  # upright, strong, in blue
    picture[:, 8:, :, 0] = 40  # lying, weak, in red
    alone = np.zeros_like(picture)
    alone[:, :, 8:, 2] = 255
    near = slice(7, 9)  # where both are, blue wins: only the lying edge elsewhere remains
    found, blue = (_describe(x[:, :, near.start - 4 : near.stop + 4], cell=4, block=1) for x in (picture, alone))
    assert found.shape == blue.shape == (1, 4 * 2 * 9)
    np.testing.assert_allclose(found.reshape(4, 2, 9)[[0, 3]], blue.reshape(4, 2, 9)[[0, 3]], atol=1e-6)
    assert not np.allclose(found, blue)


@pytest.mark.parametrize("shared", [False, True])
def test_each_row_depends_on_its_own_image(shared: bool) -> None:
    whole = _describe(IMAGES, shared=shared)
    np.testing.assert_allclose(whole[1:2], _describe(IMAGES[1:2], shared=shared), atol=1e-6)


def test_flat_and_absent_images_are_finite() -> None:
    assert not _describe(np.full((2, 16, 16, 1), 77, np.uint8)).any()
    assert _describe(np.empty((0, 16, 24, 1), np.uint8)).shape == (0, 2 * 36)


def test_images_smaller_than_a_block_are_refused() -> None:
    with pytest.raises(RecipeError, match="hog with cell 8 and block 2 needs images of at least 16 pixels a side, found 12×40"):
        _describe(np.zeros((1, 12, 40, 1), np.uint8))
