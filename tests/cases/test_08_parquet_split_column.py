"""A split that the data set says itself is used, or named with the option that uses it: in CSV and parquet alike."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tellapart.data.layouts._csv import read_text_table
from tellapart.data.layouts._split_columns import FLAG_COLUMNS, SPLIT_COLUMNS, read_splits
from tellapart.data.scan import scan
from tellapart.errors import DataError

KINDS = ("csv", "parquet")


def png(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (2, 2), (number, 0, 0)).save(file, "PNG")
    return file.getvalue()


def make(top: Path, kind: str, columns: dict[str, list], files: list[str] | None = None) -> Path:
    """A data set of the given columns with labels a, b, a, b, …: a CSV beside its images, or a parquet file."""
    count = len(next(iter(columns.values())))
    names = files or [f"{row}.png" for row in range(count)]
    frame = pd.DataFrame({"label": ["ab"[row % 2] for row in range(count)], **columns})
    top.mkdir(parents=True)
    if kind == "parquet":
        frame.assign(image=[png(row) for row in range(count)]).to_parquet(top / "all.parquet")
        return top / "all.parquet"
    for row, name in enumerate(names):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(png(row))
    frame.assign(path=names).to_csv(top / "labels.csv", index=False)
    return top


def splits(path: Path, **options: str) -> list[str]:
    frame = scan(path, **options).frame
    return frame["split"].tolist() if "split" in frame else [""] * len(frame)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("column", "cells", "expected"),
    [
        ("split", ["train", "train", "validation", "test"], ["train", "train", "valid", "test"]),
        ("Set", ["Training", "Training", "val", "Testing"], ["train", "train", "valid", "test"]),
        ("subset", ["train", "train", "dev", "test"], ["train", "train", "valid", "test"]),
        ("Usage", ["Training", "Training", "PublicTest", "PrivateTest"], ["train", "train", "valid", "test"]),
        ("usage", ["train", "train", "Public", "Private"], ["train", "train", "valid", "test"]),
        ("PARTITION", ["train", "train", "train", "test"], ["train", "train", "train", "test"]),
        ("fold", ["train", "train", "valid", "valid"], ["train", "train", "valid", "valid"]),
        ("phase", ["TRAIN", "TRAIN", "TEST", "TEST"], ["train", "train", "test", "test"]),
        ("is_test", [0, 0, 1, 1], ["train", "train", "test", "test"]),
        ("is_valid", [False, False, True, True], ["train", "train", "valid", "valid"]),
        ("Is Train", ["yes", "yes", "no", "no"], ["train", "train", "test", "test"]),
    ],
)
def test_a_clear_column_is_used(tmp_path, kind, column, cells, expected):
    path = make(tmp_path / "data", kind, {column: cells})
    table = scan(path)
    assert splits(path) == expected and table.notes == () and f"splits from the column {column}" in table.layout
    assert splits(path, split_column="none") == [""] * 4


@pytest.mark.parametrize("kind", KINDS)
def test_flags_that_belong_together(tmp_path, kind):
    path = make(tmp_path / "data", kind, {"is_test": [0, 0, 0, 1], "is_valid": [0, 0, 1, 0]})
    assert splits(path) == ["train", "train", "valid", "test"]
    path = make(tmp_path / "both", kind, {"is_test": [0, 0, 0, 1], "is_valid": [0, 0, 1, 1]})
    with pytest.raises(DataError, match="test and valid") as caught:
        scan(path)
    assert "--split-column none" in str(caught.value) and splits(path, split_column="none") == [""] * 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("column", "cells", "expected"),
    [
        ("fold", [0, 1, 2, 3], ["train", "train", "train", "test"]),
        ("partition", [0, 0, 1, 2], ["train", "train", "valid", "test"]),
        ("split", [0, 0, 1, 1], ["train", "train", "test", "test"]),
        ("set", ["A", "A", "A", "B b"], ["train", "train", "train", "test"]),
    ],
)
def test_a_column_that_is_not_clear_is_named_with_an_option_that_uses_it(tmp_path, kind, column, cells, expected):
    path = make(tmp_path / "data", kind, {column: cells})
    (note,) = scan(path).notes
    assert f"the column {column!r}" in note and splits(path) == [""] * 4
    option = re.search(r'--split-column (?:"([^"]+)"|(\S+))', note)
    assert option is not None
    assert splits(path, split_column=option[1] or option[2]) == expected  # the option of the note leads out


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_split_at_all_is_not_named(tmp_path, kind):
    path = make(tmp_path / "data", kind, {"set": [f"set {i}" for i in range(30)], "usage": [""] * 30, "phase": ["x"] * 30})
    assert scan(path).notes == () and splits(path) == [""] * 30


@pytest.mark.parametrize("kind", KINDS)
def test_a_word_among_splits_that_is_none_is_an_error_whose_hints_lead_out(tmp_path, kind):
    path = make(tmp_path / "data", kind, {"subset": ["train", "train", "extra", "extra"]})
    with pytest.raises(DataError, match="'extra' in the column 'subset' is no split") as caught:
        scan(path)
    assert ("labels.csv:4" if kind == "csv" else "all.parquet#2") in str(caught.value)
    assert "--split-column subset=extra" in str(caught.value) and "--split-column none" in str(caught.value)
    assert splits(path, split_column="subset=extra") == ["train", "train", "test", "test"]
    assert splits(path, split_column="none") == [""] * 4
    assert splits(make(tmp_path / "control", kind, {"set": ["test", "control"] * 2})) == [""] * 4


@pytest.mark.parametrize("kind", KINDS)
def test_two_columns_that_say_different_things(tmp_path, kind):
    columns = {"phase": ["train", "train", "test", "test"], "split": ["train", "train", "train", "test"]}
    path = make(tmp_path / "data", kind, columns)
    (note,) = scan(path).notes
    assert splits(path) == columns["split"] and "--split-column phase uses it" in note
    assert splits(path, split_column="phase") == columns["phase"]


@pytest.mark.parametrize("kind", KINDS)
def test_options_that_name_nothing(tmp_path, kind):
    path = make(tmp_path / "data", kind, {"fold": [0, 1, 2, 3]})
    for option, told in (("no", "no such column"), ("no=1", "no such column"), ("fold=9", "there are 0, 1, 2, 3")):
        with pytest.raises(DataError, match=told):
            scan(path, split_column=option)


def test_folders_beside_a_table_are_splits(tmp_path):
    files = ["Train/0.png", "Train/1.png", "Valid/2.png", "Test/3.png"]
    path = make(tmp_path / "data", "csv", {"x": [0, 1, 2, 3]}, files)
    assert splits(path) == ["train", "train", "valid", "test"]
    assert "splits from the folders of the images" in scan(path).layout
    assert splits(path, split_column="none") == [""] * 4


def test_folders_that_are_not_used_are_named(tmp_path):
    path = make(tmp_path / "data", "csv", {"x": [0, 1, 2, 3]}, ["Train/0.png", "Train/1.png", "more/2.png", "Test/3.png"])
    (note,) = scan(path).notes
    assert "folders for train and test" in note and splits(path) == [""] * 4
    frame = pd.read_csv(path / "labels.csv").assign(split=["train", "train", "train", "test"])  # as the note says
    frame.to_csv(path / "labels.csv", index=False)
    assert splits(path) == ["train", "train", "train", "test"] and scan(path).notes == ()


def test_a_table_called_train_over_folders_of_splits(tmp_path):
    path = make(tmp_path / "data", "csv", {"x": [0, 1, 2, 3]}, ["Train/0.png", "Train/1.png", "Test/2.png", "Test/3.png"])
    (path / "labels.csv").rename(path / "train.csv")
    (note,) = scan(path).notes
    assert "used as train" in note and splits(path) == [""] * 4
    (path / "train.csv").rename(path / "labels.csv")  # as the note says
    assert splits(path) == ["train", "train", "test", "test"]


WORDS = {"train": ["train", "Training", "TRAIN"], "valid": ["val", "Valid", "dev"], "test": ["test", "Testing"], "": [""]}


@settings(max_examples=60, deadline=None)
@given(
    column=st.sampled_from(SPLIT_COLUMNS).flatmap(lambda name: st.sampled_from([name, name.upper(), name.title()])),
    cells=st.lists(st.sampled_from(sorted(WORDS)).flatmap(lambda s: st.tuples(st.just(s), st.sampled_from(WORDS[s])))),
)
def test_any_spelling_is_read(column, cells):
    text = f"id,{column}\nx,train\n" + "".join(f"{row},{cell}\n" for row, (_, cell) in enumerate(cells))
    table = read_text_table(text.encode(), "t.csv")
    found = read_splits(table, None, len(cells) + 1, ["id"], "")
    assert found.split.tolist() == ["train", *(split for split, _ in cells)] and found.columns == (column,)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(FLAG_COLUMNS)), st.lists(st.booleans(), min_size=1), st.sampled_from(["01", "FT", "ny"]))
def test_any_flag_is_read(column, answers, spelled):
    text = f"id,{column}\n" + "".join(f"{row},{spelled[answer]}\n" for row, answer in enumerate(answers))
    table = read_text_table(text.encode(), "t.csv")
    kind = FLAG_COLUMNS[column]
    other = "test" if kind == "train" else "train"
    found = read_splits(table, None, len(answers), ["id"], "")
    assert found.split.tolist() == [kind if answer else other for answer in answers]
