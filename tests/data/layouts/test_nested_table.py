"""Tables in another folder than the images."""

from __future__ import annotations

import pytest

from tellapart.data.scan import scan
from tellapart.errors import DataError

TABLE = "id,label\n1.png,cat\n2.png,dog\n"


def test_it_is_read_where_no_folder_names_a_class(tree, pack):
    top = tree("images/1.png", "images/2.png", files={"labels/train.csv": TABLE})
    for path in (top, pack(top, "zip")):
        table = scan(path)
        assert table.classes == ("cat", "dog") and len(table) == 2 and not table.problems


def test_train_and_test_tables(tree):
    files = {"labels/train.csv": TABLE, "labels/test.csv": "id\n3.png\n"}
    table = scan(tree("images/1.png", "images/2.png", "images/3.png", files=files))
    assert sorted(table.labels.tolist()) == [-1, 0, 1]


def test_images_elsewhere_and_columns(tree):
    top, images = tree(files={"x/labels.csv": "picture,verdict\n1,a\n2,b\n", "y.md": ""}), tree("1.png", "2.png")
    assert scan(top / "x" / "labels.csv", images=images, id_column="picture", label_column="verdict").classes == ("a", "b")


def test_beside_class_folders_the_user_chooses(tree):
    top = tree("images/a/1.png", "images/b/2.png", files={"labels/train.csv": TABLE})
    with pytest.raises(DataError, match=r"could be in the folder names or in labels/train\.csv") as caught:
        scan(top)
    assert "--label-column folder (from the folder names) or --label-column label (from labels/train.csv)" in caught.value.hint
    assert scan(top, label_column="label").classes == ("cat", "dog")
    assert scan(top, label_column="folder").classes == ("a", "b")


@pytest.mark.parametrize("table", ["id,label\n7.png,x\n8.png,y\n", "id,boxes\n1.png,4\n", "no table", "", 'id,label\n"', "\0"])
def test_a_table_that_labels_no_image_is_no_source(tree, table):
    assert scan(tree("a/1.png", "b/2.png", files={"extra/notes.csv": table})).classes == ("a", "b")
