"""MNIST-style IDX files."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from tellapart.data.reader import ImageReader
from tellapart.data.scan import scan
from tellapart.errors import DataError, ImageError


def idx(values: np.ndarray) -> bytes:
    """IDX bytes of a uint8 array."""
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def write_set(top: Path, stem: str, images: np.ndarray, labels, *, packed: bool = True, name: str = "{}-{}-{}-ubyte") -> None:
    """An image file and a label file."""
    top.mkdir(exist_ok=True, parents=True)
    for what, kind, values in (("images", "idx3", images), ("labels", "idx1", np.array(labels, np.uint8))):
        content = idx(values)
        path = top / (name.format(stem, what, kind) + (".gz" if packed else ""))
        path.write_bytes(gzip.compress(content, mtime=0) if packed else content)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["{}-{}-{}-ubyte", "{}-{}.{}-ubyte"])
def test_both_spellings_plain_and_packed(tmp_path, pixels, packed, name):
    write_set(tmp_path, "train", pixels, [3, 1, 0, 3, 1, 0], packed=packed, name=name)
    write_set(tmp_path, "t10k", pixels[:2] // 2, [0, 3], packed=packed, name=name)
    table = scan(tmp_path)
    assert table.ids.tolist() == [*[f"train-{i:05d}" for i in range(6)], "t10k-00000", "t10k-00001"]
    assert table.classes == ("0", "1", "3") and table.labels.tolist() == [2, 1, 0, 2, 1, 0, 0, 2]
    assert table.split_counts() == {"train": 6, "test": 2} and not table.has_files
    file = name.format("train", "images", "idx3") + (".gz" if packed else "")
    assert table.paths[3] == f"{file}#3" and table.frame["size"].eq(0).all()
    with ImageReader(table) as reader:
        assert all((reader.get(p) == e).all() for p, e in zip(table.paths, [*pixels, *(pixels[:2] // 2)], strict=True))
        with pytest.raises(ImageError, match="gone"):
            reader.get(f"{file}#6")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_in_an_archive_with_class_names(tmp_path, pixels, pack, kind):
    top = tmp_path / "clothes"
    write_set(top, "train", pixels, [0, 1, 0, 1, 2, 2])
    (top / "classes.txt").write_text("shirt\nboot\nbag\n")
    table = scan(pack(top, kind))
    assert table.classes == ("bag", "boot", "shirt") and table.labels.tolist() == [2, 1, 2, 1, 0, 0]
    assert "split" not in table.frame and table.paths[0] == f"clothes.{kind}::clothes/train-images-idx3-ubyte.gz#0"
    with ImageReader(table) as reader:
        assert (reader.get(table.paths[5]) == pixels[5]).all()


def test_unlabeled_test_images_and_a_spare_copy(tmp_path, pixels):
    write_set(tmp_path, "train", pixels, [0, 1, 0, 1, 0, 1])
    write_set(tmp_path, "train", pixels, [0, 1, 0, 1, 0, 1], packed=False)
    (tmp_path / "test-images-idx3-ubyte").write_bytes(idx(pixels))
    table = scan(tmp_path)
    assert len(table) == 12 and table.labels.tolist() == [0, 1] * 3 + [-1] * 6
    assert table.paths[0] == "train-images-idx3-ubyte#0"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda top, images, labels: images.write_bytes(images.read_bytes()[:-1]), "is the download complete"),
        (lambda top, images, labels: images.write_bytes(b"\0\0\x0d\x03" + images.read_bytes()[4:]), "0x00000d03"),
        (lambda top, images, labels: images.write_bytes(b"\0"), "not an IDX file of images"),
        (lambda top, images, labels: images.write_bytes(labels.read_bytes()), "not an IDX file of images"),
        (lambda top, images, labels: labels.write_bytes(idx(np.zeros(5, np.uint8))), "5 labels"),
        (lambda top, images, labels: labels.write_bytes(labels.read_bytes()[:-1]), "promises 6 labels"),
        (lambda top, images, labels: labels.write_bytes(gzip.compress(labels.read_bytes(), mtime=0)[:-9]), "unpacked"),
        (lambda top, images, labels: labels.unlink(), "expected train-labels-idx1-ubyte beside it"),
        (lambda top, images, labels: (top / "classes.txt").write_text("a\n"), "classes.txt, which has 1"),
        (lambda top, images, labels: (top / "classes.txt").write_text("a\na\n"), "duplicate class name"),
    ],
)
def test_damaged_files(tmp_path, pixels, damage, told):
    write_set(tmp_path, "train", pixels, [0, 1, 0, 1, 0, 1], packed=False)
    damage(tmp_path, tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte")
    with pytest.raises(DataError) as caught:
        scan(tmp_path)
    assert told in str(caught.value)


def test_truncated_gzip_of_images_is_noticed(tmp_path, pixels):
    write_set(tmp_path, "train", pixels, [0, 1, 0, 1, 0, 1])
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="is the download complete"):
        scan(tmp_path)


def test_flags_for_tables_are_refused(tmp_path, pixels):
    write_set(tmp_path, "train", pixels, [0, 1, 0, 1, 0, 1])
    with pytest.raises(DataError, match="no columns"):
        scan(tmp_path, group="photo")


def test_fashion_mnist_counts(shared_data):
    table = scan(shared_data("fashion-mnist"))
    assert (table.counts().loc[:, ["train", "test"]] == [6000, 1000]).all().all()
