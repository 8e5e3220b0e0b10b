"""A table of test images: the column that holds the sample's ids names the row, the one whose cells are files the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.data.test_images import AskedIds, find_test_images
from tellapart.errors import DataError
from tellapart.workflows._sample_submission import read_sample


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "t").mkdir()
    for i in range(6):
        Image.fromarray(np.full((4, 4, 3), 40 * i, np.uint8)).save(tmp_path / "t" / f"pic{5 - i}.png")
    return tmp_path


def _find(top: Path, table: str, ids: list[str], **more):
    (top / "test.csv").write_text(table)
    return find_test_images(AskedIds(ids, more.pop("column", "id"), "s.csv:{}".format), top / "test.csv", **more)


TABLE = "id,path\n" + "".join(f"{i},t/pic{5 - i}.png\n" for i in range(6))


@pytest.mark.parametrize("id_column", [None, "path"])
@pytest.mark.parametrize("column", ["id", "image_id"])
def test_two_id_columns_are_told_apart_by_their_cells(top, id_column, column) -> None:
    found = _find(top, TABLE, ["3", "0"], id_column=id_column, column=column)
    assert found.table.paths.tolist() == ["t/pic2.png", "t/pic5.png"] and found.table.ids.tolist() == ["3", "0"]
    assert found.unused == 4 and found.notes == ("test.csv: 'id' names the rows, 'path' the images",)


@pytest.mark.parametrize("ids", [["pic2", "pic5"], ["pic2.png", "pic5.png"], ["t/pic2.png", "t/pic5.png"]])
def test_ids_with_and_without_ending_and_folder(top, ids) -> None:
    assert _find(top, TABLE, ids).table.paths.tolist() == ["t/pic2.png", "t/pic5.png"]


def test_columns_that_name_different_images_are_refused_and_the_option_decides(top) -> None:
    table = "id,image,other\n" + "".join(f"{i},pic{i}.png,pic{5 - i}.png\n" for i in range(6))
    with pytest.raises(DataError, match="the columns 'image' and 'other' name different images") as caught:
        _find(top, table, ["0"])
    assert caught.value.hint == "choose the one that names the images: --id-column image"
    assert _find(top, table, ["0"], id_column="image").table.paths.tolist() == ["t/pic0.png"]
    assert _find(top, table, ["0"], id_column="other").table.paths.tolist() == ["t/pic5.png"]


def test_columns_that_name_different_rows_are_refused_and_the_hint_leads_out(top) -> None:
    table = "a,b,image\n" + "".join(f"{i},{5 - i},pic{i}.png\n" for i in range(6))
    with pytest.raises(DataError, match="could be named by 'a' or 'b', with different results") as caught:
        _find(top, table, ["0"])
    assert caught.value.hint == "rename the column that holds the sample's ids to 'id', as in the sample"
    assert _find(top, table.replace("a,b", "a,id"), ["0"]).table.paths.tolist() == ["t/pic5.png"]


@pytest.mark.parametrize("first", ["", "Unnamed: 0", "index"])
@pytest.mark.parametrize("start", [0, 1])
def test_a_running_number_before_the_id_is_passed_over_and_copied(tmp_path, first, start) -> None:
    sample = tmp_path / "s.csv"
    sample.write_text(f"{first},image,label\n" + "".join(f"{i + start},x{i},0.5\n" for i in range(3)))
    form = read_sample(sample, None, (), ["real", "fake"])
    assert (form.id_column, form.ids, form.answers) == ("image", ["x0", "x1", "x2"], ("label",))
    assert form.notes == (f"s.csv: the ids are the column 'image'; copied as given: {first!r}",)
    assert form.filled({"label": ["a", "b", "c"]}).splitlines()[1] == f"{start},x0,a"


@pytest.mark.parametrize(
    ("header", "row", "ids"),
    [("id,image,label", "{0},x{0},1", "id"), ("index,label", "{0},0.5", "index"), (",real,fake", "{0},0,0", "")],
)
def test_a_number_that_is_the_id_stays_the_id(tmp_path, header, row, ids) -> None:
    (tmp_path / "s.csv").write_text("\n".join([header, *(row.format(i) for i in range(3))]) + "\n")
    assert read_sample(tmp_path / "s.csv", None, (), ["real", "fake"]).id_column == ids


def test_further_columns_are_copied_when_the_answer_is_named(tmp_path) -> None:
    (tmp_path / "s.csv").write_text("id,Usage,label\nx,Public,0.5\ny,Private,0.5\n")
    form = read_sample(tmp_path / "s.csv", None, ("label",), ["real", "fake"])
    assert form.filled({"label": ["1", "2"]}) == "id,Usage,label\nx,Public,1\ny,Private,2\n"
