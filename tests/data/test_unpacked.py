"""Compressed tars, unpacked into the cache."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil

import pyarrow as pa
import pytest

from tellapart.data import cache_dir
from tellapart.data.identity import identify
from tellapart.data.reader import ImageReader
from tellapart.data.scan import scan
from tellapart.errors import DataError, SystemLimitError

COMPRESS = {
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tbz2": bz2.compress,
    ".tar.xz": lzma.compress,
    ".txz": lzma.compress,
    ".tar.zst": lambda content: pa.Codec("zstd").compress(content, asbytes=True),
    ".tzst": lambda content: pa.Codec("zstd").compress(content, asbytes=True),
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def plain(tree, pack):
    """An uncompressed tar."""
    return pack(tree("train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png"), "tar")


def read(table):
    with ImageReader(table) as reader:
        return [reader.get(locator) for locator in table.paths]


@pytest.mark.parametrize("ending", COMPRESS)
def test_a_compressed_tar_says_what_the_tar_says(cache, plain, ending):
    packed = plain.with_name(f"data{ending}")
    packed.write_bytes(COMPRESS[ending](plain.read_bytes()))
    table, expected = scan(packed), scan(plain)
    assert table.ids.tolist() == expected.ids.tolist() and table.split_counts() == expected.split_counts()
    assert table.paths[0] == f"data{ending}::data/test/a/3.png" and read(table) == read(expected)
    assert identify(table).fingerprint == identify(expected).fingerprint  # the same files, however they are packed


def test_two_compressed_streams_in_one_file(cache, plain):
    content, packed = plain.read_bytes(), plain.with_name("data.tar.zst")
    packed.write_bytes(b"".join(COMPRESS[".tar.zst"](part) for part in (content[:700], content[700:])))
    assert read(scan(packed)) == read(scan(plain))


def test_it_is_unpacked_once_by_content(cache, plain, tmp_path, monkeypatch):
    packed = plain.with_name("data.tar.gz")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    table = scan(packed)
    assert [entry.path.suffix for entry in cache_dir.entries()] == [".tar"]
    monkeypatch.setattr("tellapart.data.unpacked._unpack", None)  # a second time is an error
    os.utime(packed, (1, 1))
    other = tmp_path / "copy.tgz"
    shutil.copy(packed, other)
    assert read(scan(packed)) == read(scan(other)) == read(table)
    monkeypatch.undo()
    monkeypatch.setenv("TELLAPART_CACHE", str(cache))
    cache_dir.clear()
    assert not cache_dir.entries() and read(table)  # unpacked again


def test_another_file_of_the_same_name_is_another_entry(cache, tree, pack):
    for number, names in enumerate((("a/1.png", "b/1.png"), ("c/1.png", "d/1.png"))):
        packed = pack(tree(*names), "tar")
        target = cache.parent / "same.tar.gz"
        target.write_bytes(gzip.compress(packed.read_bytes()))
        os.utime(target, (1, 1))
        assert scan(target).classes == (("a", "b"), ("c", "d"))[number]


@pytest.mark.parametrize("ending", COMPRESS)
def test_damaged_files_are_named_and_leave_nothing(cache, plain, ending):
    packed = plain.with_name(f"data{ending}")
    whole = COMPRESS[ending](plain.read_bytes())
    packed.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=rf"data{ending}: (cannot be unpacked|not a readable archive)") as caught:
        scan(packed)
    assert caught.value.hint == "is the download complete?"
    assert not [path for path in cache.iterdir() if path.suffix != ".lock"]


def test_more_than_the_cache_may_hold(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("TELLAPART_CACHE_GIB", "0.05")
    packed = tmp_path / "bomb.tar.gz"
    with gzip.open(packed, "wb", compresslevel=1) as file:
        for _ in range(80):
            file.write(bytes(1 << 20))
    with pytest.raises(SystemLimitError, match="the unpacked archive needs") as caught:
        scan(packed)
    assert "unpack the archive yourself" in caught.value.hint
    assert not [path for path in cache.iterdir() if path.suffix != ".lock"]


def test_images_of_a_table_and_of_predictions(cache, tree, pack):
    from tellapart.inference.image_sources import open_sources
    from tellapart.inference.image_sources.base import UniqueImages

    images = pack(tree("1.png", "2.png"), "tar")
    packed = images.with_name("images.tar.xz")
    packed.write_bytes(lzma.compress(images.read_bytes()))
    top = tree(files={"train.csv": "id,label\n1,a\n2,b\n"})
    assert len(read(scan(top / "train.csv", images=packed))) == 2
    assert [one.name for one in UniqueImages(open_sources([packed])) if hasattr(one, "name")] == [
        f"{packed}::data/1.png",
        f"{packed}::data/2.png",
    ]
