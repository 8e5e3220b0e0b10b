"""Parquet files that are odd but whole: a sentence, or the images, never a traceback."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tellapart.data.reader import ImageReader
from tellapart.data.scan import scan
from tellapart.errors import DataError

LABELS = [0, 1, 0, 1]
BLOBS = [b"blob %d" % i for i in range(4)]
STRUCTS = [{"bytes": blob, "path": f"{i}.png"} for i, blob in enumerate(BLOBS)]


def written(folder, images, labels=LABELS, metadata=None):
    table = pa.table({"image": images, "label": labels})
    pq.write_table(
        table if metadata is None else table.replace_schema_metadata({"huggingface": metadata}), folder / "train.parquet"
    )
    return folder


@pytest.mark.parametrize("typed", [False, True])
def test_paths_instead_of_images(tmp_path, typed):
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()}) if typed else None
    images = pa.array([{"bytes": None, "path": f"{i}.png"} for i in range(4)], type=kind)
    with pytest.raises(DataError) as caught:
        scan(written(tmp_path, images))
    assert "train.parquet: the rows hold paths, not images (the first: '0.png')" in str(caught.value)
    assert "--images DIR" in str(caught.value)
    images, top = tmp_path / "images", tmp_path / "with-csv"  # the hint leads out
    images.mkdir(), top.mkdir()
    for i in range(4):
        (images / f"{i}.png").write_bytes(BLOBS[i])
    (top / "labels.csv").write_text("path,label\n" + "".join(f"{i}.png,{label}\n" for i, label in enumerate(LABELS)))
    assert len(scan(top / "labels.csv", images=images)) == 4


@pytest.mark.parametrize(
    "metadata",
    ["x", "null", "3", "[]", "\udcff".encode("utf-8", "surrogateescape"), "[" * 100_000]
    + [json.dumps({"info": of}) for of in (None, [], {"features": None}, {"features": {"label": None}})]
    + [json.dumps({"info": {"features": {"label": {"names": of}}}}) for of in (None, "ab", 3, {"a": {}})],
    ids=str,
)
def test_an_entry_that_cannot_be_read_is_no_entry(tmp_path, metadata):
    if "{}" in str(metadata):
        with pytest.raises(DataError, match="train.parquet#0: the label 0 has no name"):
            scan(written(tmp_path, STRUCTS, metadata=metadata))
    else:
        assert scan(written(tmp_path, STRUCTS, metadata=metadata)).classes == ("0", "1")


def test_class_names_as_a_list_and_as_a_mapping(tmp_path):
    for names in (["dog", "cat"], {"0": "dog", "1": "cat"}):
        metadata = json.dumps({"info": {"features": {"label": {"names": names}}}})
        assert scan(written(tmp_path, STRUCTS, [0, 1, 0, -1], metadata)).labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    "images",
    [
        pa.array(BLOBS, type=pa.binary()),
        pa.array(BLOBS, type=pa.large_binary()),
        pa.array(BLOBS, type=pa.binary_view()),
        pa.array(BLOBS, type=pa.binary(6)),
        pa.array(STRUCTS),
        pa.array([{"bytes": blob} for blob in BLOBS], type=pa.struct({"bytes": pa.large_binary()})),
    ],
    ids=lambda array: str(array.type),
)
def test_every_kind_of_bytes(tmp_path, images):
    table = scan(written(tmp_path, images))
    with ImageReader(table) as reader:
        assert [reader.get(path) for path in table.paths] == BLOBS


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (pa.nulls(4), "no row holds an image"),
        (pa.array([None] * 4, type=pa.struct({"bytes": pa.binary()})), "no row holds an image"),
        (pa.array(["0.png"] * 4), r"no column of images.*found image \(string\)"),
        (pa.array([{"path": "0.png"}] * 4), "no column of images"),
        (pa.array([[[0, 1], [2, 3]]] * 4), r"no column of images.*found image \(list"),
        (pa.array([{"bytes": [1, 2]}] * 4), "not a readable parquet file|no column of images"),
    ],
    ids=["null", "null structs", "strings", "paths", "lists", "lists as bytes"],
)
def test_columns_that_hold_no_images(tmp_path, images, told):
    with pytest.raises(DataError, match=told):
        scan(written(tmp_path, images))


def test_a_table_without_rows(tmp_path):
    with pytest.raises(DataError, match="the table has no rows"):
        scan(written(tmp_path, pa.array([], type=pa.binary()), pa.array([], type=pa.int64())))


def test_one_row_with_a_path_alone(tmp_path):
    table = scan(written(tmp_path, [*STRUCTS[:3], {"bytes": None, "path": "3.png"}]))
    assert [str(p) for p in table.problems] == ["train.parquet#3: the row holds no image, only the path '3.png'"]


def test_an_empty_cell_in_the_id_column(tmp_path):
    pq.write_table(pa.table({"image": BLOBS, "label": LABELS, "key": ["a", None, "c", "d"]}), tmp_path / "all.parquet")
    with pytest.raises(DataError, match="all.parquet#1: the 'key' cell is empty"):
        scan(tmp_path, id_column="key")
    assert len(scan(tmp_path)) == 4


def test_a_column_twice(tmp_path):
    table = pa.Table.from_arrays([pa.array(BLOBS), pa.array(LABELS), pa.array(LABELS)], names=["image", "label", "label"])
    pq.write_table(table, tmp_path / "all.parquet")
    with pytest.raises(DataError, match="duplicate column 'label'"):
        scan(tmp_path)
