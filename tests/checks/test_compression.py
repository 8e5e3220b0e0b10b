"""Traces of an earlier JPEG in the pixels: found in another format, a leak where one class means "not real"."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image

import tellapart as ta
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.compression import Compression, trace_separation
from tellapart.checks.pixels import Pixels
from tellapart.types import ImageTable


def old_jpegs(tiles: np.ndarray, classes: tuple[str, str], quality: int = 85, count: int = 160) -> ImageTable:
    """Every second image was a JPEG once; all are arrays of pixels now."""
    pictures = tiles[:count, :64, :64].copy()
    for row in range(1, count, 2):
        file = io.BytesIO()
        Image.fromarray(pictures[row]).save(file, "JPEG", quality=quality)
        pictures[row] = np.asarray(Image.open(file).convert("RGB"))
    return ta.from_arrays(pictures, [classes[row % 2] for row in range(count)])


@pytest.mark.parametrize("quality", [95, 60])
def test_an_old_jpeg_is_a_leak_between_real_and_fake(tiles: np.ndarray, quality: int) -> None:
    found = Compression()(DatasetView(old_jpegs(tiles, ("real", "fake"), quality)))
    assert found.severity == "leak" and "higher in 'fake'" in found.summary and "remove the" not in found.advice
    assert len(re.findall(r"AUROC \d\.\d+ \[\d\.\d+, \d\.\d+\] n=160", found.summary)) == found.summary.count("AUROC") == 2


def test_between_things_it_is_a_notice(tiles: np.ndarray) -> None:
    assert Compression()(DatasetView(old_jpegs(tiles, ("apple", "pear")))).severity == "notice"


def test_equal_compression_is_fine_and_one_class_is_skipped(tiles: np.ndarray) -> None:
    assert Compression()(DatasetView(ta.from_arrays(tiles[:120], ["real", "fake"] * 60))).severity == "fine"
    assert Compression()(DatasetView(ta.from_arrays(tiles[:20], ["real"] * 20))).severity == "skipped"


def test_a_grid_is_no_writing(tiles: np.ndarray) -> None:
    """Strong compression leaves thin lines at the borders of blocks; they are reported as compression."""
    found = Pixels()(DatasetView(old_jpegs(tiles, ("real", "fake"), quality=5)))
    assert "writing" not in found.summary and "8×8" not in found.summary


def test_edited_copies_of_the_other_class_are_said_to_be_what_they_are(tiles: np.ndarray) -> None:
    """Each image stands beside a copy in the other class: what is learned from one is wrong for the other."""
    pictures = np.concatenate([tiles[:100, :64, :64]] * 2)
    table = ta.from_arrays(np.maximum(pictures, 1) - 1 + np.arange(200)[:, None, None, None].astype(np.uint8) // 100,
                           ["real"] * 100 + ["fake"] * 100)  # fmt: skip
    found = Pixels()(DatasetView(table))
    assert found.severity == "notice" and "far below one half" in found.summary and "near_duplicates" in found.advice
    assert not found.is_issue.any()


def test_too_few_images_have_no_score() -> None:
    table = ta.from_arrays(np.zeros((4, 8, 8), np.uint8), ["a", "b"] * 2)
    assert trace_separation(np.zeros((4, 3)), table, np.arange(4)) is None
