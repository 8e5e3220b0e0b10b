"""Lists of a path and a label in each line, without a header."""

from __future__ import annotations

import pytest

from tellapart.data.reader import ImageReader
from tellapart.data.scan import scan
from tellapart.errors import DataError


def labels(table):
    """Id → class."""
    return {name: table.classes[n] if n >= 0 else None for name, n in zip(table.ids, table.labels, strict=True)}


LINES = {"images/0.png": "cat", "images/1.png": "dog", "images/2.png": "cat"}


def text(delimiter: str) -> str:
    return "".join(f"{path}{delimiter}{label}\n" for path, label in LINES.items())


@pytest.mark.parametrize(
    ("name", "delimiter"),
    [("train.txt", " "), ("train.txt", "\t"), ("train.lst", "  "), ("train.csv", ","), ("list.txt", ";"), ("labels.tsv", "\t")],
)
def test_separators_and_names(tree, pack, name, delimiter):
    top = tree(*LINES, files={name: text(delimiter)})
    for path in (top, top / name, pack(top, "zip"), pack(top, "tar")):
        table = scan(path)
        assert labels(table) == LINES and not table.problems and not table.notes
        with ImageReader(table) as reader:
            assert all(reader.get(locator) for locator in table.paths)


def test_windows_lines_and_a_byte_order_mark(tree):
    assert labels(scan(tree(*LINES, files={"train.txt": "\ufeff" + text(" ").replace("\n", "\r\n")}))) == LINES


def test_the_names_of_the_files_are_the_splits(tree):
    files = {"train.txt": "1.png 0\n2.png 1\n", "val.txt": "3.png 0\n4.png 1\n", "test.txt": "5.png 1\n6.png 0\n"}
    table = scan(tree(*(f"all/{i}.png" for i in range(1, 7)), files=files))
    assert table.frame["split"].tolist() == ["train"] * 2 + ["valid"] * 2 + ["test"] * 2
    assert labels(table)["5.png"] == "1"


def test_test_images_without_labels(tree):
    table = scan(tree("1.png", "2.png", "3.png", files={"train.txt": "1.png a\n2.png b\n", "test.txt": "3.png\n"}))
    assert labels(table) == {"1.png": "a", "2.png": "b", "3.png": None} and not table.problems


def test_spaces_in_names(tree):
    images = ("my cat.png", "my dog.png", "bird.png")
    assert labels(scan(tree(*images, files={"train.txt": "my cat.png 0\nmy dog.png 1\nbird.png 1\n"}))) == dict(
        zip(images, "011", strict=True)
    )
    two = ("my cat.png", "my dog.png")  # every line has three words
    assert labels(scan(tree(*two, files={"train.txt": "my cat.png 0\nmy dog.png 1\n"}))) == dict(zip(two, "01", strict=True))
    assert set(labels(scan(tree(*two, files={"train.txt": "0 my cat.png\n1 my dog.png\n"}))).values()) == {"0", "1"}


def test_ids_without_an_ending(tree):
    top = tree("JPEGImages/2008_1.jpg", "JPEGImages/2008_2.jpg", files={"ImageSets/cat_train.txt": "2008_1  1\n2008_2 -1\n"})
    assert labels(scan(top)) == {"2008_1": "1", "2008_2": "-1"}


def test_a_running_number_is_no_label(tree):
    lines = "0\t1.000000\ta/1.png\n1\t0.000000\ta/2.png\n2\t0.000000\ta/3.png\n"
    assert labels(scan(tree("a/1.png", "a/2.png", "a/3.png", files={"train.lst": lines}))) == {
        "a/1.png": "1", "a/2.png": "0", "a/3.png": "0",
    }  # fmt: skip


def test_several_label_columns_are_chosen_by_number(tree):
    top = tree("1.png", "2.png", "3.png", "4.png", files={"train.txt": "1.png 0 x\n2.png 1 y\n3.png 1 x\n4.png 0 y\n"})
    with pytest.raises(DataError, match=r"column 2 \('0' in the first line\) or column 3 \('x' in the first line\)") as caught:
        scan(top)
    assert "--label-column 2" in caught.value.hint
    assert set(labels(scan(top, label_column="2")).values()) == {"0", "1"}
    assert set(labels(scan(top, label_column="3")).values()) == {"x", "y"}
    with pytest.raises(DataError, match="4: no such column; there are 1, 2, 3"):
        scan(top, label_column="4")


def test_absolute_paths_in_a_list(tree):
    images = tree("1.png", "2.png")
    top = tree(files={"train.txt": f"{images}/1.png 0\n{images}/2.png 1\n"})
    assert list(labels(scan(top)).values()) == ["0", "1"] and list(labels(scan(top / "train.txt")).values()) == ["0", "1"]


def test_images_elsewhere(tree):
    top, images = tree(files={"train.txt": "1.png 0\n2.png 1\n"}), tree("x/1.png", "x/2.png")
    assert len(scan(top / "train.txt", images=images)) == 2 and len(scan(top, images=images)) == 2


def test_problems_name_the_line(tree):
    table = scan(tree(*LINES, files={"train.txt": "images/9.png cat\n\n" + text(" ")}))
    assert [(p.kind, p.where) for p in table.problems] == [("missing file", "train.txt:1")]
    short = "".join(f"{i}.png\t{i % 2}\n" for i in range(9)) + "9.png\n"
    with pytest.raises(DataError, match=r"train\.txt:10: expected 2 cells as in line 1, found 1"):
        scan(tree(*(f"{i}.png" for i in range(10)), files={"train.txt": short}))
    with pytest.raises(DataError, match="duplicate id"):
        scan(tree("1.png", "2.png", files={"train.txt": "1.png 0\n2.png 1\n1.png 1\n"}))


def test_two_lists_that_could_be_it(tree):
    with pytest.raises(DataError, match=r"the labels could be in a\.txt or b\.txt") as caught:
        scan(tree("1.png", "2.png", files={"a.txt": "1.png 0\n2.png 1\n", "b.txt": "1.png 1\n2.png 0\n"}))
    assert "path of the table itself" in caught.value.hint


@pytest.mark.parametrize(
    "name_and_text",
    [
        ("README.txt", "2 cats and a dog, 2024\n"),
        ("classes.txt", "cat\ndog\n"),
        ("train.csv", "id,label\n1,cat\n2,dog\n"),
    ],
)
def test_other_text_is_no_list(tree, name_and_text):
    name, content = name_and_text
    top = tree("cat/1.png", "dog/2.png", files={name: content})
    assert scan(top).classes == ("cat", "dog") and "columns 1" not in scan(top).layout


def test_a_list_below_is_a_second_source_beside_class_folders(tree):
    top = tree("a/1.png", "b/2.png", files={"lists/train.txt": "a/1.png x\nb/2.png y\n"})
    with pytest.raises(DataError, match="labels could be in the folder names or in lists/train.txt"):
        scan(top)
    assert scan(top, label_column="2").classes == ("x", "y") and scan(top, label_column="folder").classes == ("a", "b")
