"""Scores of maps: a true one, a wrong one, noise; and the filling of gaps by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.explainers.faithfulness import faithfulness, fill_from_neighbors, mask_iou, noise_map, pointing_game


class Reddish:
    """Its probability of class 1 is the share of red in one square."""

    classes = ("other", "red")

    def predict(self, images):
        shares = np.array([np.clip((i[16:24, 4:12, 0].mean() - i[16:24, 4:12, 1].mean()) / 255, 0, 1) for i in images])
        return np.stack([1 - shares, shares], axis=1)


@pytest.fixture
def picture() -> np.ndarray:
    pixels = np.full((32, 32, 3), 100, np.uint8)
    pixels[16:24, 4:12] = (250, 5, 5)
    return pixels


def test_a_true_map_is_better_than_a_wrong_one(picture: np.ndarray) -> None:
    true = np.zeros((32, 32))
    true[16:24, 4:12] = 1
    subject: object = Reddish()
    right, wrong, noise = (faithfulness(subject, picture, m, 1) for m in (true, 1 - true, noise_map(32, 32, 0)))  # pyright: ignore[reportArgumentType]
    assert right.deletion < noise.deletion < wrong.deletion
    assert right.insertion > noise.insertion > wrong.insertion
    assert right.road > 0.3 and wrong.road == pytest.approx(-right.road, abs=0.05)
    # the square is 1/16 of the picture: by the first of 16 steps it is gone, or there
    p, bare = 245 / 255, 15 / 255  # of the mean color, (109, 94, 94), something is left
    assert right.deletion == pytest.approx((p + bare) / 32 + bare * 15 / 16, abs=1e-3)
    assert right.insertion > p * 15 / 16


def test_gaps_are_filled_from_neighbors() -> None:
    """A plane stays a plane away from the rim; one missing pixel is the weighted mean of its eight neighbors."""
    y, x = np.mgrid[:9, :9]
    plane = np.repeat((10 * y + 5 * x)[:, :, None], 3, axis=2).astype(np.uint8)
    rng = np.random.default_rng(0)
    gap = np.array([4 * 9 + 4, 4 * 9 + 5, 5 * 9 + 4])
    found = fill_from_neighbors(plane, gap, rng).astype(int)
    assert np.abs(found - plane).max() <= 9  # the noise: sd 2.55
    assert (np.delete(found.reshape(-1, 3), gap, axis=0) == np.delete(plane.reshape(-1, 3), gap, axis=0)).all()
    image = np.zeros((3, 3, 3), np.uint8)
    image[0, 1], image[0, 0] = 120, 120
    filled = np.mean([fill_from_neighbors(image, np.array([4]), rng)[1, 1] for _ in range(200)])
    assert filled == pytest.approx(120 / 6 + 120 / 12, abs=1)


def test_pointing_and_overlap() -> None:
    mask = np.zeros((4, 4), bool)
    mask[1:3, 1:3] = True
    values = np.zeros((4, 4))
    assert not pointing_game(values, mask)
    values[1, 1] = 1
    assert pointing_game(values, mask) and not pointing_game(1 - values, mask)
    assert mask_iou(mask.astype(float), mask) == 1 and mask_iou(1.0 - mask, mask) == 0
    assert np.isnan(mask_iou(values, np.zeros((4, 4), bool)))
