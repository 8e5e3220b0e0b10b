"""Cheap measures of pixels against plain references; when they are a leak and when a notice."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

import tellapart as ta
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks._pixel_stats import DRAWN, GRID, STROKES, TRACES, measure_pixels
from tellapart.checks.pixels import Pixels
from tellapart.types import ImageTable


def measure(pixels: np.ndarray) -> dict[str, float]:
    return dict(zip(TRACES, measure_pixels(pixels).tolist(), strict=True))


def test_colors_and_contrast_are_those_of_pillow(tiles: np.ndarray) -> None:
    gray = np.asarray(Image.fromarray(tiles[7]).convert("L")).astype(float)
    found = measure(tiles[7])
    np.testing.assert_allclose([found[f"mean {c}"] for c in ("red", "green", "blue")], tiles[7].mean((0, 1)), rtol=1e-5)
    assert found["contrast"] == pytest.approx(gray.std(), rel=0.01)
    steps = np.abs(np.diff(gray, axis=1)).sum() + np.abs(np.diff(gray, axis=0)).sum()
    assert found["sharpness"] == pytest.approx(steps / (2 * 128 * 127), rel=0.02)


def test_strokes_are_found_where_they_are_and_as_scipy_does(tiles: np.ndarray) -> None:
    plain = np.full((90, 90, 3), 90, np.uint8)
    plain[80:82, 65:85] = 255  # a line of writing at the lower right
    found = measure(plain)
    assert found["thin strokes, lower right"] == pytest.approx(40 / 900)
    assert all(found[name] == 0 for name in STROKES if name != "thin strokes, lower right")
    pixels = tiles[3][:90, :90]
    hats = [
        f(pixels[..., c], size=(5, 5), mode="reflect") for c in range(3) for f in (ndimage.white_tophat, ndimage.black_tophat)
    ]
    inner = (np.max(hats, axis=0) > 72)[30:60, 60:88]  # away from the border, which the two treat differently
    from tellapart.checks._pixel_stats import _strokes

    np.testing.assert_array_equal(_strokes(pixels)[30:60, 60:88], inner)


@pytest.mark.parametrize("width", [1, 4])
def test_a_border_is_plain_and_as_wide_as_it_is(tiles: np.ndarray, width: int) -> None:
    pixels = tiles[11].copy()
    before = measure(pixels)
    pixels[:width], pixels[-width:], pixels[:, :width], pixels[:, -width:] = 0, 0, 0, 0
    found = measure(pixels)
    assert found["plain border"] == 1 > before["plain border"]
    assert found["frame width"] == pytest.approx(width / 128) and found["brightness of the border"] < 0


def test_the_grid_of_a_jpeg_shows_and_that_of_a_shifted_one_does_not(tiles: np.ndarray) -> None:
    target = io.BytesIO()
    Image.fromarray(tiles[20]).save(target, "JPEG", quality=20)
    saved = np.asarray(Image.open(target))
    name = GRID
    assert measure(saved)[name] > measure(tiles[20])[name] + 0.2
    assert measure(saved[3:, 5:])[name] < measure(saved)[name] - 0.2


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 40, 3), (2, 2, 3), (3, 3, 3), (15, 17, 3)])
def test_tiny_pictures_have_nan_where_there_is_nothing_to_measure(shape: tuple[int, ...]) -> None:
    found = measure(np.full(shape, 7, np.uint8))
    assert found["mean red"] == 7 and found["contrast"] == 0
    assert np.isfinite(found["thin strokes, upper left"]) == (min(shape[:2]) >= 3)


def bordered(tiles: np.ndarray, classes: tuple[str, str]) -> ImageTable:
    labels = np.arange(120) % 2
    pictures = tiles[:120, :64, :64].copy()
    pictures[labels == 1, :3], pictures[labels == 1, -3:], pictures[labels == 1, :, :3] = 255, 255, 255
    pictures[labels == 1, :, -3:] = 255
    return ta.from_arrays(pictures, [classes[label] for label in labels])


def test_what_is_drawn_is_a_leak_where_one_class_is_no_real_thing(tiles: np.ndarray) -> None:
    found = Pixels()(DatasetView(bordered(tiles, ("real", "fake"))))
    assert found.severity == "leak" and "plain border: higher in 'fake'" in found.summary
    assert {c["by"] for c in found.details["carriers"]} & set(DRAWN)
    assert found.is_issue.sum() > 100 and 0 <= found.scores.min() and found.scores.max() <= 1


def test_between_things_it_is_a_notice(tiles: np.ndarray) -> None:
    found = Pixels()(DatasetView(bordered(tiles, ("apple", "pear"))))
    assert found.severity == "notice" and "plain border: higher in 'pear'" in found.summary


def test_one_class_or_no_label_is_skipped(tiles: np.ndarray) -> None:
    for labels in (["a"] * 4, [None] * 4, ["a", "b", None, None]):
        found = Pixels()(DatasetView(ta.from_arrays(tiles[:4], labels)))
        assert found.severity == ("fine" if "b" in labels else "skipped") and not found.is_issue.any()


def test_unreadable_files_count_for_nothing(tiles: np.ndarray) -> None:
    target = io.BytesIO()
    Image.fromarray(tiles[0]).save(target, "PNG")
    good = target.getvalue()
    table = ta.from_bytes([good] * 30 + [good[:80]] * 30, ["real"] * 30 + ["fake"] * 30)
    evidence = DatasetView(table)
    found = Pixels()(evidence)
    assert found.severity == "skipped" and len(evidence.unreadable) == 30
