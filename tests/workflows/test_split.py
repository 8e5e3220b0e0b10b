"""`tellapart split`: what shows the same stays on one side, and the CSV is read as DATA."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tellapart.checks.review import write_rows
from tellapart.data.memory import from_arrays
from tellapart.data.scan import scan
from tellapart.errors import DataError, SplitError
from tellapart.workflows.split import images_location, split_dataset, write_split


@pytest.fixture
def folder(tiles, damages, tmp_path):
    """Sixty pictures in two classes, and beside ten of them a damaged copy in the other class."""
    draw = np.random.default_rng(4)
    pictures = tiles[draw.permutation(len(tiles))[:60]]
    kinds = list(damages.values())
    for number, pixels in enumerate(pictures):
        where = tmp_path / "photos" / ("real", "fake")[number % 2]
        where.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(where / f"{number:02}.png")
    for number in range(10):
        copy = kinds[number % len(kinds)](pictures[number], draw)
        Image.fromarray(copy).save(tmp_path / "photos" / ("fake", "real")[number % 2] / f"copy-{number:02}.png")
    return tmp_path / "photos"


def test_twins_stay_together_and_the_csv_is_data(folder, tmp_path):
    found = split_dataset(scan(folder), shares={"train": 60, "valid": 20, "test": 20}, seed=3)
    assert found.near == 10 and found.exact == 0 and found.groups == 10 and found.largest == 2
    path = write_rows(write_split(found), tmp_path / "split.csv")
    again = scan(path, images=images_location(found.table))
    assert len(again) == 70 and again.classes == ("fake", "real")
    frame = again.frame.assign(number=[name.rpartition("/")[2].removeprefix("copy-") for name in again.ids])
    twins = frame.groupby("number").filter(lambda of: len(of) > 1)
    assert len(twins) == 20
    assert (twins.groupby("number")["split"].nunique() == 1).all() and (twins.groupby("number")["group"].nunique() == 1).all()
    assert again.split_counts() == pytest.approx({"train": 42, "valid": 14, "test": 14}, abs=4)


def test_the_same_seed_cuts_the_same(folder):
    one, other, third = (
        split_dataset(scan(folder), near_duplicates=False, seed=seed).table.frame["split"].tolist() for seed in (1, 1, 2)
    )
    assert one == other != third


def test_groups_and_twins_are_joined():
    """A twin of a member joins its group; the group's name stays."""
    images = np.random.default_rng(0).integers(30, 220, (40, 24, 24, 3)).astype(np.uint8)
    images[10] = images[0]
    groups = ["p", "p"] + [""] * 38
    found = split_dataset(from_arrays(images, [0, 1] * 20, ["a", "b"], groups=groups), near_duplicates=False)
    frame = found.table.frame
    assert frame["group"].iloc[[0, 1, 10]].tolist() == ["p", "p", "p"] and set(frame["group"]) == {"p", ""}
    assert frame["split"].iloc[[0, 1, 10]].nunique() == 1 and found.groups == 1 and found.largest == 3


def test_a_given_split_that_tears_twins_is_refused_or_cut_anew(tiles):
    images = np.concatenate([tiles[:30], tiles[:1]])
    split = ["train"] * 20 + ["test"] * 11
    table = from_arrays(images, [0, 1] * 15 + [0], ["a", "b"], split=split)
    with pytest.raises(SplitError, match="separates duplicates: 1 images, for example '0' and '30'") as caught:
        split_dataset(table)
    assert "--overwrite" in str(caught.value.hint)
    anew = split_dataset(table, overwrite=True).table.frame["split"]
    assert anew.iloc[0] == anew.iloc[30] and anew.tolist() != split
    whole = from_arrays(images[:30], [0, 1] * 15, ["a", "b"], split=split[:30])
    assert split_dataset(whole).table.frame["split"].eq("test").tolist() == [part == "test" for part in split[:30]]


def test_images_without_names_cannot_be_written():
    images = np.random.default_rng(0).integers(0, 255, (40, 24, 24, 3)).astype(np.uint8)
    with pytest.raises(DataError, match="which a CSV cannot reference"):
        write_split(split_dataset(from_arrays(images, [0, 1] * 20, ["a", "b"]), near_duplicates=False))


def test_labels_with_commas_and_unlabeled_rows_survive(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (24, 24, 24, 3)).astype(np.uint8)
    rows = ["id,label"]
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).save(tmp_path / f"ü {number}.png")
        rows.append(f"ü {number}.png," + ('"real, raw"' if number % 2 else "fake"))
    (tmp_path / "train.csv").write_text("\n".join(rows), encoding="utf-8")
    found = split_dataset(scan(tmp_path), near_duplicates=False)
    written = write_split(found)
    assert set(written["label"]) == {"real, raw", "fake"} and isinstance(written, pd.DataFrame)
    path = write_rows(written, tmp_path / "out" / "split.csv")
    again = scan(path, images=tmp_path)
    assert len(again) == 24 and again.frame["split"].tolist() == found.table.frame["split"].tolist()
