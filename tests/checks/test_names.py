"""Names, numbers and folders that give the class away, and those that do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tellapart as ta
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.names import Names, _names_and_folders, name_features
from tellapart.types import ImageTable

PICTURE = np.zeros((1, 2, 2), np.uint8)


def table_of(ids: list[str], labels: list[str]) -> ImageTable:
    pictures = np.arange(len(ids) * 4, dtype=np.uint32).view(np.uint8).reshape(len(ids), 4, 4)  # no two are equal
    return ta.from_arrays(pictures, labels, ids=ids)


def labeled(make: str, count: int = 200) -> ImageTable:
    """`make`: a name with the fields {n} (a number by lot), {c} (its class), {b} (a number by class)."""
    draw = np.random.default_rng(4)
    labels = draw.integers(2, size=count)
    numbers = draw.permutation(100_000)[:count]
    ids = [make.format(n=n, c="ab"[k], b=int(k) * 50_000 + n // 2) for n, k in zip(numbers, labels, strict=True)]
    return table_of(ids, ["ab"[k] for k in labels])


@pytest.mark.parametrize(
    "make, said",
    [
        ("{c}x_{n:06d}.png", "a name that begins with 'ax'"),
        ("0{n:06d}_{c}z.jpg", "a name that ends in 'bz'"),
        ("{n:06d}-{c}-0.jpg", "first character"),
        ("img{b:06d}.png", "number in the name: "),
        ("deep/{c}7/{n}.png", "folder 'a7'"),
    ],
)
def test_what_gives_the_class_away_is_named(make: str, said: str) -> None:
    table = labeled(make)
    found = Names()(DatasetView(table))
    if said == "first character":  # a word in the middle: seen neither at the beginning nor at the end
        assert found.severity == "fine"
        return
    assert found.severity == "notice" and said in found.summary, found.summary
    assert found.is_issue.mean() > 0.5 and set(found.reasons) == set(np.flatnonzero(found.is_issue))


def test_names_by_lot_say_nothing() -> None:
    found = Names()(DatasetView(labeled("img_{n:06d}.png")))
    assert found.severity == "fine" and not found.is_issue.any() and not found.reasons


def test_positions_are_no_names() -> None:
    """Rows of a container are often sorted by class; that is no leak."""
    table = ta.from_arrays(np.repeat(PICTURE, 100, axis=0), ["a"] * 50 + ["b"] * 50)
    assert Names()(DatasetView(table)).severity == "skipped"


def test_folders_of_class_and_split_are_not_looked_at(tmp_path: Path) -> None:
    draw, names = np.random.default_rng(1), iter(np.random.default_rng(2).permutation(10_000))
    for split in ("train", "test"):
        for name in ("REAL", "FAKE"):
            for i in range(20):
                path = tmp_path / split / name / f"camera{i % 2}" / f"{next(names)}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(draw.integers(0, 255, (4, 4, 3), np.uint8)).save(path)
    table = ta.scan(tmp_path)
    _, folders = _names_and_folders(table)
    assert {tuple(of) for of in folders} == {("camera0",), ("camera1",)}
    assert Names()(DatasetView(table)).severity == "fine"


def test_unicode_names_and_names_of_many_digits() -> None:
    names = ["żółw_١٢", "żółw_13", "x" * 300, "9" * 40, "", "a.b.c"]
    columns = {c.name: c for c in name_features(names, [[] for _ in names])}
    prefix = columns["prefix"]
    assert prefix.words[prefix.values[0]] == "a name that begins with 'żółw'" and prefix.values[0] == prefix.values[1]
    number = columns["number in the name"].values
    assert number[1] == 13 and np.isnan(number[[2, 3, 4, 5]]).all()
    assert pd.notna(columns["length"].values).all()


def test_a_single_class_is_skipped() -> None:
    assert Names()(DatasetView(table_of(["q1", "q2"], ["a", "a"]))).severity == "skipped"
