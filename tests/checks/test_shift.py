"""Parts that can be told apart, by size, by pixels, by their classes; parts drawn by lot cannot."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

import tellapart as ta
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.shift import Shift

COUNT = 240


def pieces(tiles: np.ndarray, sides: np.ndarray, seed: int = 0) -> list[bytes]:
    """A PNG of each side."""
    draw, found = np.random.default_rng(seed), []
    for side in sides.tolist():
        target = io.BytesIO()
        top, left = draw.integers(128 - side + 1, size=2)
        Image.fromarray(tiles[draw.integers(len(tiles)), top : top + side, left : left + side]).save(target, "PNG")
        found.append(target.getvalue())
    return found


def parts_by_lot(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).choice(["train", "valid", "test"], COUNT, p=[0.6, 0.1, 0.3])


def test_parts_by_lot_cannot_be_told_apart(tiles: np.ndarray) -> None:
    table = ta.from_bytes(pieces(tiles, np.full(COUNT, 48)), ["a", "b"] * (COUNT // 2), split=parts_by_lot().tolist())
    found = Shift()(DatasetView(table))
    assert found.severity == "fine" and "train and valid and test" in found.summary and not found.is_issue.any()
    assert "test by file metadata" in found.details["comparisons"]


def test_a_third_of_the_test_images_of_another_size(tiles: np.ndarray) -> None:
    parts = parts_by_lot()
    other = (parts == "test") & (np.arange(COUNT) % 3 == 0)
    table = ta.from_bytes(pieces(tiles, np.where(other, 64, 48)), ["a", "b"] * (COUNT // 2), split=parts.tolist())
    found = Shift()(DatasetView(table))
    assert found.severity == "problem" and "train and test: size 64×64 occurs only in test" in found.summary
    assert found.is_issue[other].all() and not found.is_issue[parts == "train"].any()


def test_another_mix_of_classes_is_a_shift(tiles: np.ndarray) -> None:
    parts = parts_by_lot()
    draw = np.random.default_rng(3)
    labels = np.where(draw.random(COUNT) < np.where(parts == "test", 0.9, 0.3), "b", "a")
    found = Shift()(DatasetView(ta.from_bytes(pieces(tiles, np.full(COUNT, 48)), labels.tolist(), split=parts.tolist())))
    assert found.severity == "problem" and "class 'b' in" in found.summary


def test_images_without_label_and_part_are_a_part(tiles: np.ndarray) -> None:
    known = np.arange(COUNT) % 2 == 0
    table = ta.from_bytes(
        pieces(tiles, np.where(known, 48, 64)), ["ab"[i // 2 % 2] if k else None for i, k in enumerate(known)],
        split=["train" if k else "" for k in known],
    )  # fmt: skip
    found = Shift()(DatasetView(table))
    assert found.severity == "problem" and "in unlabeled" in found.summary
    assert found.is_issue[~known].all() and not found.is_issue[known].any()


def test_without_parts_it_is_skipped(tiles: np.ndarray) -> None:
    labels = ["a", "b"] * 10
    assert Shift()(DatasetView(ta.from_arrays(tiles[:20], labels))).severity == "skipped"
    assert Shift()(DatasetView(ta.from_arrays(tiles[:20], labels, split=["train"] * 20))).severity == "skipped"


def test_pixels_alone_tell_where_there_are_no_files(tiles: np.ndarray) -> None:
    parts = parts_by_lot()
    pictures = tiles[np.random.default_rng(5).integers(len(tiles), size=COUNT), :48, :48].copy()
    pictures[parts == "test"] //= 3
    found = Shift()(DatasetView(ta.from_arrays(pictures, ["a", "b"] * (COUNT // 2), split=parts.tolist())))
    assert found.severity == "problem" and ": higher in train" in found.summary
    assert "test by file metadata" not in found.details["comparisons"]
