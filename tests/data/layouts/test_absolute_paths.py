"""Tables whose ids are absolute paths."""

from __future__ import annotations

import pytest

from tellapart.data.reader import ImageReader
from tellapart.data.scan import scan
from tellapart.errors import DataError


def read(table):
    with ImageReader(table) as reader:
        return [reader.get(locator) for locator in table.paths]


def test_images_in_other_folders(tree):
    images, other = tree("a/1.png", "b/1.png"), tree("1.png")
    rows = f"path,label\n{images}/a/1.png,x\n{images}/b/1.png,y\n{other}/1.png,x\n"
    table = scan(tree(files={"train.csv": rows}))
    expected = [images / "a/1.png", images / "b/1.png", other / "1.png"]
    assert table.ids.tolist() == list(map(str, expected)) and table.labels.tolist() == [0, 1, 0]
    assert read(table) == [path.read_bytes() for path in expected] and not table.problems


def test_a_missing_one_is_not_replaced_by_a_namesake(tree):
    images = tree("a/1.png", "b/2.png")
    rows = f"path,label\n{images}/a/1.png,x\n{images}/b/2.png,y\n{images}/b/1.png,y\n{images}/gone/1.png,y\n"
    table = scan(tree("b/1.png", files={"train.csv": rows}))
    assert len(table) == 2 and [(p.kind, p.where) for p in table.problems] == [
        ("missing file", "train.csv:4"),
        ("missing file", "train.csv:5"),
        ("image without a row", "./"),
    ]


def test_paths_below_the_table_are_exact(tree):
    top = tree("a/1.png", "b/1.png")
    rows = f"path,label\n{top}/a/1.png,x\n{top}/b/1,y\n{top}/1.png,y\n"
    (top / "train.csv").write_text(rows)
    table = scan(top)
    assert table.paths.tolist() == ["a/1.png", "b/1.png"] and table.root == str(top)
    assert [p.where for p in table.problems] == ["train.csv:4"]


def test_relative_paths_beside_absolute_ones(tree):
    images = tree("1.png")
    top = tree("near/2.png", files={"train.csv": f"path,label\n{images}/1.png,x\nnear/2.png,y\n"})
    assert len(read(scan(top))) == 2


def test_paths_of_another_machine_are_searched_for(tree):
    top = tree("a/1.png", "b/1.png", files={"train.csv": "path,label\n/gone/a/1.png,x\nC:\\gone\\b\\1.png,y\n"})
    assert scan(top).paths.tolist() == ["a/1.png", "b/1.png"]


def test_a_table_in_an_archive_leads_nowhere_outside(tree, pack):
    images = tree("1.png", "2.png")
    top = tree("x.png", files={"train.csv": f"path,label\n{images}/1.png,x\n{images}/2.png,y\n"})
    with pytest.raises(DataError, match="none of 2 ids"):
        scan(pack(top, "zip"))


def test_only_regular_files(tree):
    top = tree("1.png", files={"train.csv": "path,label\n1.png,x\n/dev/null,y\n"})
    table = scan(top, least=1)
    assert len(table) == 1 and [p.kind for p in table.problems] == ["missing file"]
