"""Labels in a table below, or in metadata.jsonl, are never passed over in favor of folder names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tellapart.data.scan import scan
from tellapart.errors import DataError
from tellapart.workflows.check import read_or_list


@pytest.fixture
def rows(tmp_path: Path) -> list[tuple[str, str]]:
    """Twenty images in two folders that are no classes, and their labels."""
    found = []
    for batch in ("batch1", "batch2"):
        (tmp_path / "images" / batch).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (4, 4), (i, i, len(found))).save(tmp_path / "images" / batch / f"{batch}_{i}.png")
            found.append((f"{batch}/{batch}_{i}.png", ("cat", "dog")[i % 2]))
    return found


def test_a_table_in_a_folder_beside_the_images(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "train.csv").write_text("id,label\n" + "".join(f"{i},{c}\n" for i, c in rows))
    with pytest.raises(DataError, match=r"the labels could be in the folder names or in labels/train\.csv") as caught:
        scan(tmp_path)
    assert "--label-column folder" in caught.value.hint and "--label-column label" in caught.value.hint
    assert scan(tmp_path, label_column="label").classes == ("cat", "dog")
    assert scan(tmp_path, label_column="folder").classes == ("batch1", "batch2")


def test_metadata_among_the_images_is_read(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    lines = [json.dumps({"file_name": i, "label": c}) for i, c in rows]
    (tmp_path / "images" / "metadata.jsonl").write_text("\n".join(lines))
    table = scan(tmp_path / "images")
    assert [table.classes[n] for n in table.labels] == [label for _, label in rows]
    assert "the folder names could hold labels too" in table.notes[0]


def test_one_folder_of_images_and_a_table_beside_it(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for i in range(4):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / "images" / f"{i}.png")
    (tmp_path / "labels" / "train.csv").write_text("id,label\n0,a\n1,b\n2,a\n3,b\n")
    assert scan(tmp_path).labels.tolist() == [0, 1, 0, 1]


def test_check_does_not_list_the_images_without_labels(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "train.csv").write_text("id,label\n" + "".join(f"{i},{c}\n" for i, c in rows))
    with pytest.raises(DataError, match="the labels could be in"):
        read_or_list(lambda: scan(tmp_path, least=1), tmp_path)
    assert len(read_or_list(lambda: scan(tmp_path / "images" / "batch1", least=1), tmp_path / "images" / "batch1")) == 10
