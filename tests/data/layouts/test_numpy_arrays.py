"""NumPy arrays of images and labels."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from tellapart.data.identity import identify
from tellapart.data.reader import ImageReader
from tellapart.data.scan import scan
from tellapart.errors import DataError

DRAW = np.random.default_rng(0)


def pixels(*shape):
    return DRAW.integers(0, 256, shape, np.uint8)


def read(table):
    with ImageReader(table) as reader:
        return [reader.get(locator) for locator in table.paths]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    ("train", "test"),
    [
        (("x_train", "y_train"), ("x_test", "y_test")),
        (("X_train", "Y_train"), ("X_val", "Y_val")),
        (("train_images", "train_labels"), ("test_images", "test_labels")),
        (("images-train", "labels-train"), ("images-test", "labels-test")),
    ],
)
def test_the_usual_names(tmp_path, save, train, test):
    arrays = {train[0]: pixels(6, 4, 5), train[1]: np.arange(6) % 3, test[0]: pixels(3, 4, 5), test[1]: np.arange(3)[:, None]}
    save(tmp_path / "set.npz", **arrays)
    for path in (tmp_path / "set.npz", tmp_path):
        table = scan(path)
        assert table.classes == ("0", "1", "2") and table.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2]
        assert table.frame["split"].tolist() == ["train"] * 6 + ["valid" if "val" in test[0] else "test"] * 3
        expected = [*arrays[train[0]], *arrays[test[0]]]
        assert all(np.array_equal(image, other) for image, other in zip(read(table), expected, strict=True))
        assert not table.problems and identify(table).fingerprint == identify(scan(path)).fingerprint


@pytest.mark.parametrize(("shape", "seen"), [((4, 5, 6, 3), (5, 6, 3)), ((4, 3, 5, 6), (5, 6, 3)), ((4, 5, 6, 1), (5, 6))])
def test_shapes(tmp_path, shape, seen):
    images = pixels(*shape)
    np.save(tmp_path / "images.npy", np.asfortranarray(images))
    np.save(tmp_path / "labels.npy", np.array(["cat", "dog", "cat", "dog"]))
    table = scan(tmp_path)
    assert table.classes == ("cat", "dog") and "6×5" in table.layout and "split" not in table.frame
    expected = images.transpose(0, 2, 3, 1) if shape[1] == 3 else images
    assert all(image.shape == seen for image in read(table))
    assert np.array_equal(np.stack(read(table)), expected.reshape(4, *seen))


def test_test_images_without_labels_and_labels_as_floats(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=pixels(3, 4, 4), y_train=np.array([0.0, 1.0, -1.0]), x_test=pixels(2, 4, 4))
    table = scan(tmp_path / "a.npz")
    assert table.classes == ("0", "1") and sorted(table.labels.tolist()) == [-1, -1, 0, 1]
    assert [p.kind for p in table.problems] == ["unlabeled row"]


def test_they_train(tmp_path):
    from tellapart.data.summary import summarize

    np.savez(tmp_path / "a.npz", images=pixels(4, 8, 8, 3), labels=[0, 1, 0, 1])
    assert summarize(scan(tmp_path / "a.npz")).headers.sizes == {(8, 8): 4}


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"images": np.zeros((2, 4, 4), np.float32), "labels": [0, 1]}, "expected uint8 of shape"),
        ({"images": pixels(2, 4), "labels": [0, 1]}, "expected uint8 of shape"),
        ({"images": pixels(2, 4, 4, 7), "labels": [0, 1]}, "expected uint8 of shape"),
        ({"images": pixels(3, 4, 4), "labels": [0, 1]}, "expected 3 labels"),
        ({"images": pixels(3, 4, 4), "labels": np.eye(3)}, "expected 3 labels"),
        ({"images": pixels(2, 4, 4)}, "its labels are missing"),
        ({"images": pixels(2, 4, 4), "labels": np.array([{}, 1], dtype=object)}, "holds Python objects"),
        ({"images": np.array([pixels(2, 2), pixels(3, 3), "x"], dtype=object), "labels": [0, 1, 1]}, "holds Python objects"),
        ({"weights": pixels(2, 4, 4), "bias": [0, 1]}, "no arrays of images and labels"),
    ],
)
def test_arrays_that_are_refused(tmp_path, arrays, told):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=told) as caught:
        scan(tmp_path / "a.npz")
    assert caught.value.hint or "labels" in told


def test_damaged_files_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", images=pixels(4, 4, 4), labels=[0, 1, 0, 1])
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[:200])
    with pytest.raises(DataError, match="not a readable archive"):
        scan(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:  # a header that promises more than is there
        header = b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000, 100, 100), }"
        archive.writestr("images.npy", header.ljust(127) + b"\n" + bytes(64))
        archive.writestr("labels.npy", b"\x93NUMPY\x07")
    with pytest.raises(DataError, match="the header promises 10,000,000,000,000 bytes, the file holds 64"):
        scan(tmp_path / "a.npz")


def test_two_files_in_a_folder_and_columns(tmp_path):
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", images=pixels(2, 4, 4), labels=[0, 1])
    with pytest.raises(DataError, match=r"holds a\.npz and b\.npz") as caught:
        scan(tmp_path)
    named = caught.value.hint.removeprefix("give one of them: ")
    assert len(scan(named)) == 2
    with pytest.raises(DataError, match="no columns"):
        scan(named, label_column="x")
