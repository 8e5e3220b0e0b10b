"""Folders of classes at unequal depth."""

from __future__ import annotations

import pytest

from tellapart.data.scan import scan
from tellapart.errors import DataError


def classes(table):
    return dict(zip(table.ids, (table.classes[n] for n in table.labels), strict=True))


def test_a_name_at_two_depths_is_a_class(tree):
    table = scan(tree("cat/1.png", "dog/1.png", "more/cat/2.png", "more/dog/3.png", "more/bird/4.png"))
    assert table.classes == ("bird", "cat", "dog") and set(table.frame["source"]) == {"", "more"}
    assert "the last folder of each path" in table.layout
    deep = scan(tree("a/cat/1.png", "a/dog/1.png", "b/2024/cat/2.png", "b/2024/dog/3.png"))
    assert deep.classes == ("cat", "dog") and set(deep.frame["source"]) == {"a", "b/2024"}


def test_images_and_folders_in_one_class(tree):
    assert scan(tree("cat/1.png", "cat/siam/2.png", "dog/pug/3.png", "dog/beagle/4.png")).classes == ("cat", "dog")


def test_equal_depth_is_the_first_folder(tree):
    assert scan(tree("cat/day/1.png", "cat/night/2.png", "dog/day/3.png")).classes == ("cat", "dog")


def test_a_folder_in_a_folder_is_one_class(tree):
    assert scan(tree("cat/1.png", "dog/dog/1.png")).classes == ("cat", "dog")


def test_what_could_be_both_is_an_error_and_the_option_leads_out(tree):
    top = tree("car/1.png", "pets/cat/2.png", "pets/dog/3.png")
    with pytest.raises(
        DataError, match=r"first folder \(2 classes: car, pets\) or the last \(3 classes: car, cat, dog\)"
    ) as caught:
        scan(top)
    assert "--label-column first-folder or --label-column last-folder" in caught.value.hint
    assert scan(top, label_column="first-folder").classes == ("car", "pets")
    assert scan(top, label_column="last-folder").classes == ("car", "cat", "dog")


def test_inside_splits(tree):
    paths = [f"{part}/{name}/1.png" for part in ("train", "test") for name in ("car", "pets/cat", "pets/dog")]
    table = scan(tree(*paths), label_column="last-folder")
    assert table.classes == ("car", "cat", "dog") and table.split_counts() == {"train": 3, "test": 3}


def test_real_and_fake_at_any_depth_need_no_option(tree):
    top = tree("real/1.png", "fake/gan/a/1.png", "fake/gan/b/2.png", "fake/sd/3.png")
    assert scan(top).classes == ("fake", "real") and scan(top, label_column="folder").classes == ("fake", "real")
    assert scan(top, label_column="last-folder").classes == ("a", "b", "real", "sd")
