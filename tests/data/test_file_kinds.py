"""Files that are something else than their name says."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile

import pytest

from tellapart.data.scan import scan
from tellapart.errors import DataError


def tar_bytes() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("a/1.png", "b/1.png"):
            info = tarfile.TarInfo(name)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
    return file.getvalue()


def zip_bytes() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("a/1.png", "b/1.png"):
            archive.writestr(name, b"x")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("x.tar", gzip.compress(tar_bytes()), "compressed with gzip"),
        ("x.tar", zip_bytes(), "a zip archive"),
        ("x.zip", tar_bytes(), "an uncompressed tar archive"),
        ("x.tar.gz", tar_bytes(), "an uncompressed tar archive"),
        ("x.tgz", zip_bytes(), "a zip archive"),
        ("x.tar.zst", gzip.compress(tar_bytes()), "compressed with gzip"),
    ],
)
def test_it_is_named_and_renaming_helps(tmp_path, monkeypatch, name, content, found):
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"found a file that is {found}") as caught:
        scan(tmp_path / name)
    right = caught.value.hint.removeprefix("rename it to ")
    (tmp_path / name).rename(right)
    assert scan(right).classes == ("a", "b")


@pytest.mark.parametrize(
    ("content", "found", "advice"),
    [
        (b"\n<!DOCTYPE html><html>log in</html>", "a web page", "download it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer", "git lfs pull"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(90), "a 7z archive", "unpack it"),
        (b"Rar!\x1a\x07\x01\x00" + bytes(90), "a RAR archive", "unpack it"),
        (b"\x89HDF\r\n\x1a\n" + bytes(90), "an HDF5 file", "as parquet"),
    ],
)
@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
def test_what_is_no_archive_is_named(tmp_path, name, content, found, advice):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=found) as caught:
        scan(tmp_path / name)
    assert advice in caught.value.hint
