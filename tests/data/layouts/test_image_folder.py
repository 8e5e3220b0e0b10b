"""metadata.jsonl and metadata.csv, as in Hugging Face's ImageFolder."""

from __future__ import annotations

import json

import pytest

from tellapart.data.reader import ImageReader
from tellapart.data.scan import scan
from tellapart.errors import DataError


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def labels(table):
    return {name: table.classes[n] if n >= 0 else None for name, n in zip(table.ids, table.labels, strict=True)}


ROWS = lines({"file_name": "1.png", "label": "cat"}, {"file_name": "2.png", "label": "dog"})


def test_one_file_for_all(tree, pack):
    top = tree("1.png", "2.png", files={"metadata.jsonl": ROWS})
    for path in (top, top / "metadata.jsonl", pack(top, "zip")):
        table = scan(path)
        assert labels(table) == {"1.png": "cat", "2.png": "dog"} and not table.problems
        with ImageReader(table) as reader:
            assert all(reader.get(locator) for locator in table.paths)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_one_file_in_each_split(tree, pack, kind):
    content = ROWS if kind == "jsonl" else "file_name,label\n1.png,cat\n2.png,dog\n"
    top = tree(*(f"{s}/{i}.png" for s in ("train", "test") for i in (1, 2)),
               files={f"{s}/metadata.{kind}": content for s in ("train", "test")})  # fmt: skip
    for path in (top, pack(top, "tar")):
        table = scan(path)
        assert table.ids.tolist() == ["train/1.png", "train/2.png", "test/1.png", "test/2.png"]
        assert table.frame["split"].tolist() == ["train", "train", "test", "test"] and table.classes == ("cat", "dog")
        assert not table.notes


def test_a_table_at_the_top_is_named_once(tree):
    table = scan(tree("a/1.png", "b/2.png", files={"metadata.csv": "file_name,label\na/1.png,x\nb/2.png,y\n"}))
    assert table.classes == ("x", "y") and len(table.notes) == 1 and "the folder names" in table.notes[0]


def test_values_of_all_kinds(tree):
    rows = lines(
        {"file_name": "1.png", "label": 10, "source": None, "boxes": [[1, 2]], "blurred": True},
        {"file_name": "2.png", "label": 9, "source": "web"},
        {"file_name": "3.png", "label": None},
    )
    table = scan(tree("1.png", "2.png", "3.png", files={"metadata.jsonl": "\ufeff" + rows.replace("\n", "\r\n\r\n")}))
    assert table.classes == ("9", "10") and table.frame["source"].tolist() == ["", "web"]
    assert [(p.kind, p.where) for p in table.problems] == [("unlabeled row", "metadata.jsonl:5")]


def test_another_name_and_columns_by_option(tree):
    rows = lines({"img": "1.png", "verdict": "real"}, {"img": "2.png", "verdict": "fake"})
    top = tree("1.png", "2.png", files={"facts.jsonl": rows})
    assert labels(scan(top, id_column="img", label_column="verdict")) == {"1.png": "real", "2.png": "fake"}
    assert labels(scan(top / "facts.jsonl", id_column="img", label_column="verdict"))["2.png"] == "fake"


def test_captions_are_no_labels(tree):
    rows = lines(*({"file_name": f"{c}/1.png", "text": f"a photo of a {c}"} for c in ("cat", "dog")))
    assert scan(tree("cat/1.png", "dog/1.png", files={"metadata.jsonl": rows})).classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (ROWS + "{broken\n", r"metadata\.jsonl:3: not JSON"),
        (ROWS + "[1]\n", r"metadata\.jsonl:3: expected a JSON object, found list"),
        (ROWS + '{"file_name": "1.png", "label": ["a", "b"]}\n', r"metadata\.jsonl:3: 'label' holds a list or an object"),
        (ROWS + '{"file_name": "1.png", "label": "cat"}\n', r"metadata\.jsonl:3: duplicate id"),
        (ROWS + "[" * 100_000, r"metadata\.jsonl:3: not JSON"),
    ],
)
def test_damaged_lines_are_named(tree, content, told):
    top = tree("1.png", "2.png", files={"metadata.jsonl": content})
    with pytest.raises(DataError, match=told):
        scan(top / "metadata.jsonl")
