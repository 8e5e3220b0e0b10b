"""Parquet tables with image bytes."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tellapart.data import reader as reader_module
from tellapart.data.reader import ImageReader
from tellapart.data.scan import scan
from tellapart.errors import DataError, ImageError

BLOBS = [b"blob %d" % i * (i + 1) for i in range(7)]


def structs(blobs):
    return pa.array([{"bytes": b, "path": "same.png"} for b in blobs])


def write(path, images, *, names=None, rows=3, **columns):
    """A parquet file of `image` and other columns; `names` become Hugging Face class names of `label`."""
    table = pa.table({"image": images, **columns})
    if names:
        features = {"label": {"names": names, "_type": "ClassLabel"}, "image": {"_type": "Image"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows)
    return path


def refused(path, **options):
    with pytest.raises(DataError) as caught:
        scan(path, **options)
    return str(caught.value)


def test_struct_and_plain_bytes_with_words_or_integers(tmp_path):
    structured = scan(write(tmp_path / "s.parquet", structs(BLOBS), label=[10, 9, 10, 9, 10, 9, 10]))
    plain = scan(write(tmp_path / "p.parquet", pa.array(BLOBS), target=list("babaaba")))
    assert structured.classes == ("9", "10") and plain.classes == ("a", "b")
    assert structured.ids.tolist() == [f"s-{i}" for i in range(7)] and structured.paths[6] == "s.parquet#6"
    for table in (structured, plain):
        assert table.frame["size"].tolist() == [len(b) for b in BLOBS] and table.has_files
        with ImageReader(table) as reader:
            assert [reader.get(p) for p in table.paths[::-1]] == BLOBS[::-1]
            with pytest.raises(ImageError, match="gone"):
                reader.get(f"{table.paths[0].partition('#')[0]}#7")


@pytest.mark.parametrize("kind", [None, "zip", "tar"])
def test_hugging_face_folder(tmp_path, pack, kind):
    top = tmp_path / "set"
    for name, labels in (
        ("train-00000-of-00002", [0, 1, 1]),
        ("train-00001-of-00002", [0, 0]),
        ("test-00000-of-00001", [1, 0]),
    ):
        write(top / "data" / f"{name}.parquet", structs(BLOBS[: len(labels)]), names=["dog", "cat"], label=labels)
    (top / "README.md").write_text("x")
    table = scan(pack(top, kind) if kind else top)
    assert table.classes == ("cat", "dog") and table.split_counts() == {"train": 5, "test": 2}
    assert table.ids[0] == "test-00000-of-00001-0" and table.labels.tolist() == [0, 1, 1, 0, 0, 1, 1]
    with ImageReader(table) as reader:
        assert [reader.get(p) for p in table.paths] == [*BLOBS[:2], *BLOBS[:3], *BLOBS[:2]]


def test_rows_without_image_or_label(tmp_path):
    images = pa.array([{"bytes": b, "path": None} for b in BLOBS[:3]] + [None, {"bytes": None, "path": "x"}])
    table = scan(write(tmp_path / "p.parquet", images, label=["a", "b", None, "a", "b"]))
    assert table.ids.tolist() == ["p-0", "p-1"]
    assert [(p.kind, p.where) for p in table.problems] == [
        ("missing image", "p.parquet#3"),
        ("missing image", "p.parquet#4"),
        ("unlabeled row", "p.parquet#2"),
    ]


def test_unlabeled_test_file(tmp_path):
    write(tmp_path / "train.parquet", structs(BLOBS[:4]), label=[0, 1, 0, 1])
    write(tmp_path / "test.parquet", structs(BLOBS[4:6]), label=[-1, -1])
    table = scan(tmp_path)
    assert table.labels.tolist() == [-1, -1, 0, 1, 0, 1] and table.problems == () and "split" not in table.frame


def test_columns(tmp_path):
    columns = {"fine_label": [0, 1, 2], "coarse_label": [0, 0, 1], "group": ["g", None, "h"], "key": ["x", "y", "z"]}
    path = write(tmp_path / "p.parquet", structs(BLOBS[:3]), **columns)
    told = refused(path)
    assert "'fine_label' or 'coarse_label'" in told and "--label-column" in told
    table = scan(path, label_column="coarse_label", id_column="key")
    assert table.ids.tolist() == ["x", "y", "z"] and table.frame["group"].tolist() == ["g", "", "h"]
    assert scan(path, label_column="fine_label", group="key").frame["group"].tolist() == ["x", "y", "z"]
    assert "no such column" in refused(path, label_column="no")
    assert "no such column" in refused(path, label_column="fine_label", id_column="no")
    assert "no such column" in refused(path, label_column="fine_label", group="no")


def test_same_names_in_two_folders(tmp_path):
    for part in ("a", "b"):
        write(tmp_path / part / "0.parquet", structs(BLOBS[:2]), label=[0, 1])
    assert scan(tmp_path).ids.tolist() == ["a/0-0", "a/0-1", "b/0-0", "b/0-1"]


def test_repeated_ids_are_refused(tmp_path):
    path = write(tmp_path / "p.parquet", structs(BLOBS[:3]), label=[0, 1, 1], key=["x", "y", "x"])
    told = refused(path, id_column="key")
    assert "p.parquet#2" in told and "p.parquet#0" in told and "'x'" in told


def test_unusable_files(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    assert "not a readable parquet" in refused(tmp_path / "x.parquet")
    whole = write(tmp_path / "d.parquet", structs(BLOBS), label=[0, 1, 0, 1, 0, 1, 0])
    content = bytearray(whole.read_bytes())
    content[4:60] = bytes(56)
    whole.write_bytes(content)
    assert "d.parquet: not a readable parquet" in refused(whole)
    assert "no label column" in refused(write(tmp_path / "a.parquet", structs(BLOBS[:2]), what=[0, 1]))
    path = tmp_path / "b.parquet"
    pq.write_table(pa.table({"image": ["a.png"], "label": [0]}), path)
    assert "no column of images" in refused(path)
    named = write(tmp_path / "c.parquet", structs(BLOBS[:2]), names=["cat"], label=[0, 1])
    assert "has no name" in refused(named)


def test_few_row_groups_are_kept(tmp_path, monkeypatch):
    table = scan(write(tmp_path / "p.parquet", structs(BLOBS), rows=1, label=[0, 1, 0, 1, 0, 1, 0]))
    monkeypatch.setattr(reader_module, "_KEPT_BYTES", 30)
    with ImageReader(table) as reader:
        for _ in range(2):
            assert [reader.get(p) for p in table.paths] == BLOBS
        (rows,) = reader._tables.values()
        assert len(rows._groups) < 7


def test_cifar10(shared_data):
    table = scan(shared_data("cifar10-train.parquet"))
    assert (table.counts()["all"] == 5000).all() and table.frame["size"].min() > 0
