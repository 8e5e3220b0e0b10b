"""The steps of aligning, each against something simpler: the common size, the traces, the out-of-fold figure."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

import tellapart as ta
from tellapart.alignment import leakage
from tellapart.alignment.plan import common_size
from tellapart.features._jpeg_traces import COUNT, traces


def test_the_common_size_is_the_largest_there_is() -> None:
    rng = np.random.default_rng(0)
    for keep in (1.0, 0.9, 0.5):
        usable, labels = rng.integers(10, 30, (40, 2)), rng.integers(0, 3, 40)
        fitting = [
            (h * w, min(h, w), h, w)
            for h, w in itertools.product(range(8, 31), repeat=2)
            if all(np.mean((usable[labels == c] >= (h, w)).all(axis=1)) >= keep - 1e-9 for c in range(3))
        ]
        area, least, *_ = max(fitting)
        height, width = common_size(usable, labels, keep)
        assert (height * width, min(height, width)) == (area, least)


def test_many_heights_cost_little_area() -> None:
    usable = np.stack([np.arange(100, 2100)] * 2, axis=1)
    height, width = common_size(usable, np.zeros(2000, np.int64), 0.95)
    assert min(height, width) >= 190 and height * width >= 0.95 * 200 * 200


def picture(seed: int, side: int = 64) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.uniform(40, 215, (8, 8, 3)).astype(np.uint8))
    smooth = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC)).astype(float)
    return np.clip(smooth + rng.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)


def compressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


@pytest.mark.parametrize("quality", [95, 85, 60])
def test_traces_see_a_jpeg_and_nothing_else(quality: int) -> None:
    clean = np.array([traces(picture(i)) for i in range(40)])[:, 0]
    old = np.array([traces(compressed(picture(i), quality)) for i in range(40)])[:, 0]
    assert roc_auc_score([0] * 40 + [1] * 40, [*clean, *old]) > 0.97
    assert abs(clean.mean()) < 0.01, "a picture without a grid favors none"


def test_traces_follow_a_grid_that_was_cut() -> None:
    cut = [compressed(picture(i), 85)[3:, 5:] for i in range(20)]
    at_home = np.mean([traces(pixels, (5, 3))[0] for pixels in cut])
    elsewhere = np.mean([traces(pixels)[0] for pixels in cut])
    assert at_home > 0.05 and elsewhere < at_home / 5


def test_traces_of_gray_and_of_small_pictures() -> None:
    gray = np.repeat(picture(0)[:, :, :1], 3, axis=2)
    assert traces(gray)[COUNT] == 1 and traces(picture(0))[COUNT] == 0
    assert traces(gray[:12]).tolist() == [0, 0, 0, 1]


def test_the_figure_is_out_of_fold() -> None:
    """A number that says nothing scores chance, however often it is asked; one that says all scores 1."""
    rng, labels = np.random.default_rng(0), np.arange(600) % 2
    table = ta.from_arrays(np.zeros((600, 8, 8), np.uint8), labels.tolist())
    digests = np.array([str(i) for i in range(600)], dtype=object)
    dealt = leakage.assign_folds(table, digests, 0)
    assert dealt is not None and sorted(np.bincount(dealt)) == [120] * 5
    noise = leakage.class_auroc(table, rng.normal(size=(600, 5)), dealt)
    assert noise.low < 0.5 < noise.high or abs(noise.value - 0.5) < 0.08
    constant = leakage.class_auroc(table, np.full((600, 3), np.nan), dealt)
    assert constant.value == pytest.approx(0.5, abs=0.01)
    all_ = leakage.class_auroc(table, np.where(labels, 1.0, np.nan)[:, None], dealt)
    assert all_.value == 1, "that a number is missing is told, too"


def test_identical_files_share_a_fold() -> None:
    table = ta.from_arrays(np.zeros((200, 8, 8), np.uint8), (np.arange(200) % 2).tolist())
    twins = np.array([str(i // 4 * 2 + i % 2) for i in range(200)], dtype=object)
    dealt = leakage.assign_folds(table, twins, 0)
    assert dealt is not None
    for name in set(twins):
        assert len(set(dealt[twins == name])) == 1
    assert leakage.assign_folds(table.take(np.arange(4)), twins[:4], 0) is None, "too few for five folds"
    assert leakage.assign_folds(table.take(np.flatnonzero(table.labels == 0)), twins[::2], 0) is None, "one class"
