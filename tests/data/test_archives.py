"""Reading encoded images by locator."""

from __future__ import annotations

import io
import random
import tarfile
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from tellapart.data.archives import open_archive
from tellapart.data.locator import parse_locator
from tellapart.data.reader import ImageReader
from tellapart.data.scan import scan
from tellapart.errors import DataError, ImageError
from tellapart.types import ImageTable


def table_at(root, *paths):
    """A table of the given locators."""
    frame = pd.DataFrame({"id": paths, "path": paths, "label": 0, "size": 1})
    return ImageTable(frame, ("a", "b"), str(root))


def write_zip(path, *names, content=b"x"):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


def write_tar(path, *names, content=b"x", mode="w"):
    with tarfile.open(path, mode) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_many_threads_read_what_one_reads(tree, pack, kind):
    top = tree(*[f"{c}/{i}.png" for c in "ab" for i in range(40)])
    table = scan(pack(top, kind))
    order = list(table.paths) * 5
    random.Random(0).shuffle(order)
    expected = {p: (top.parent / p.partition("::")[2]).read_bytes() for p in table.paths}
    with ImageReader(table) as reader, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(reader.get, order)) == [expected[p] for p in order]


@pytest.mark.parametrize(
    "locator", ["../secret.png", "a/../../secret.png", "/etc/hostname", "a.zip::../x.png", "a\\..\\..\\x.png"]
)
def test_locators_that_escape_are_refused(tree, locator):
    top = tree("a/1.png", files={"../secret.png": "x"})
    with ImageReader(table_at(top)) as reader, pytest.raises(ImageError, match="points outside"):
        reader.get(locator)


def test_vanished_files_and_rows(tree, pack):
    top = tree("a/1.png", "b/1.png")
    table = scan(top)
    (top / "a/1.png").unlink()
    pack(top, "zip")
    pack(top, "tar")
    with ImageReader(table) as reader, pytest.raises(ImageError, match=r"^a/1\.png: the file or row is gone"):
        reader.get("a/1.png")
    with ImageReader(table_at(top.parent)) as reader:
        for locator in (
            "data.zip::data/a/1.png",
            "data.tar::data/a/1.png",
            "no.zip::x.png",
            "memory#0",
            "no.parquet#1",
        ):
            with pytest.raises(ImageError, match="is gone") as caught:
                reader.get(locator)
            assert caught.value.path == locator


def test_a_folder_in_place_of_a_file(tree):
    with ImageReader(table_at(tree("a/1.png"))) as reader, pytest.raises(ImageError, match="is a folder, not a regular file"):
        reader.get("a")


@pytest.mark.parametrize("write", [write_zip, write_tar])
@pytest.mark.parametrize("name", ["../evil.png", "a/../../evil.png", "/abs/evil.png", "C:\\evil.png", "..\\evil.png"])
def test_archives_with_members_outside_are_refused(tmp_path, write, name):
    path = write(tmp_path / f"bad.{'zip' if write is write_zip else 'tar'}", "a/1.png", name)
    with pytest.raises(DataError, match="points outside the archive"):
        scan(path)
    with ImageReader(table_at(tmp_path)) as reader, pytest.raises(ImageError, match="points outside"):
        reader.get(f"{path.name}::a/1.png")


@pytest.mark.parametrize("name", ["a.7z", "a.rar"])
def test_archives_of_other_kinds_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match="are not read") as caught:
        scan(tmp_path / name)
    assert f"7z x {tmp_path / name}" in caught.value.hint


def test_broken_archives(tmp_path):
    for name in ("a.zip", "a.tar"):
        (tmp_path / name).write_bytes(b"this is no archive" * 100)
        with pytest.raises(DataError, match=f"{name}: not a readable archive"):
            scan(tmp_path / name)
    whole = write_tar(tmp_path / "cut.tar", "a/1.png", "b/1.png", content=bytes(5000))
    whole.write_bytes(whole.read_bytes()[:7500])
    with pytest.raises((DataError, ImageError)):
        table = scan(whole)
        with ImageReader(table) as reader:
            for path in table.paths:
                reader.get(path)


def test_a_name_that_occurs_twice_is_a_problem(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of the name too
        archives = [write_zip(tmp_path / "a.zip", "a/1.png", "b/1.png", "b/1.png")]
    archives.append(write_tar(tmp_path / "a.tar", "a/1.png", "b/1.png", "b/1.png"))
    for path in archives:
        assert [(p.kind, p.where) for p in scan(path).problems] == [("repeated name", "b/1.png")]


def test_encrypted_zip_is_refused(tmp_path):
    path = write_zip(tmp_path / "a.zip", "a/1.png")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the directory's "encrypted" bit
    path.write_bytes(content)
    with pytest.raises(DataError, match="encrypted"):
        scan(path)


def test_a_damaged_member_is_named(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a/1.png", "b/1.png"):
            archive.writestr(name, random.Random(name).randbytes(2000))
    content = bytearray(path.read_bytes())
    content[500:700] = bytes(200)
    path.write_bytes(content)
    table = scan(path)
    with ImageReader(table) as reader:
        assert len(reader.get("a.zip::b/1.png")) == 2000
        with pytest.raises(ImageError, match=r"a\.zip::a/1\.png: cannot be read"):
            reader.get("a.zip::a/1.png")


def test_zip_written_on_windows(tmp_path):
    path = tmp_path / "w.zip"
    info = zipfile.ZipInfo("x")
    info.filename = "data\\a\\1.png"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, b"1")
        archive.writestr("data/b/1.png", b"2")
    table = scan(path)
    assert table.ids.tolist() == ["a/1.png", "b/1.png"]
    with ImageReader(table) as reader:
        assert [reader.get(p) for p in table.paths] == [b"1", b"2"]


def test_tar_with_dots_links_and_long_names(tmp_path):
    path = tmp_path / "l.tar"
    long = "b/" + "n" * 150 + ".png"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in (("./a/1.png", b"one"), (f"./{long}", b"two")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, kind, target in (
            ("./b/hard.png", tarfile.LNKTYPE, "./a/1.png"),
            ("./b/soft.png", tarfile.SYMTYPE, "../a/1.png"),
            ("./b/dead.png", tarfile.SYMTYPE, "/etc/hostname"),
            ("./b/pipe.png", tarfile.FIFOTYPE, ""),
        ):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            archive.addfile(link)
    table = scan(path)
    assert table.ids.tolist() == ["a/1.png", "b/hard.png", long, "b/soft.png"]
    with ImageReader(table) as reader:
        assert [reader.get(p) for p in table.paths] == [b"one", b"one", b"two", b"one"]
    assert [(p.kind, p.where) for p in table.problems] == [("missing file", "b/dead.png"), ("missing file", "b/pipe.png")]


def test_a_changed_tar_is_indexed_anew(tmp_path):
    path = write_tar(tmp_path / "a.tar", "a/1.png", "b/1.png")
    scan(path)
    write_tar(path, "a/1.png", "b/1.png", "c/1.png", content=b"longer")
    assert scan(path).classes == ("a", "b", "c")


def test_awkward_names_of_loose_files(tree):
    names = ("a/1#2.png", "a/x::y.png", "b/memory#3.png", "b/é ü.png")
    top = tree(*names)
    table = scan(top)
    with ImageReader(table) as reader:
        assert [reader.get(p) for p in table.paths] == [(top / n).read_bytes() for n in sorted(names)]
    assert parse_locator("b.zip/1.png") == ("", "b.zip/1.png", None)


def test_reader_can_be_closed_twice_and_used_again(tree, pack):
    table = scan(pack(tree("a/1.png", "b/1.png"), "tar"))
    reader = ImageReader(table)
    first = reader.get(table.paths[0])
    reader.close()
    reader.close()
    assert reader.get(table.paths[0]) == first
    reader.close()


def test_no_permission(tree, monkeypatch):
    top = tree("a/1.png", "b/1.png")

    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    with ImageReader(scan(top)) as reader:
        monkeypatch.setattr("tellapart.data.reader.read_bytes", refuse)
        with pytest.raises(ImageError, match="no permission"):
            reader.get("a/1.png")
    monkeypatch.undo()
    archive = write_zip(top.parent / "a.zip", "a/1.png")
    monkeypatch.setattr("tellapart.data.archives.ZipArchive", refuse)
    with pytest.raises(DataError, match="no permission"):
        open_archive(str(archive))


def test_the_index_of_memory_rows_survives_take():
    from tellapart.data.memory import from_bytes

    table = from_bytes([b"0", b"1", b"2"], ["a", "b", "a"]).take(np.array([2, 1]))
    with ImageReader(table) as reader:
        assert [reader.get(p) for p in table.paths] == [b"2", b"1"]


def test_a_member_that_unpacks_to_far_more_than_its_size_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("small.bmp", b"\0" * 2**20)
        zipped.writestr("bomb.png", b"\0" * (65 << 20))
    archive = open_archive(str(tmp_path / "bomb.zip"))
    assert len(archive.read("small.bmp")) == 2**20
    with pytest.raises(ValueError, match="decompression bomb"):
        archive.read("bomb.png")
    archive.close()
