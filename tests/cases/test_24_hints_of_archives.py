"""Hints about archives and addresses name what is there, and following them helps."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from tellapart.data.scan import scan
from tellapart.errors import DataError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two classes of images."""
    for name in ("real", "fake"):
        (tmp_path / "s" / name).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (4, 4), (i, len(name), 0)).save(tmp_path / "s" / name / f"{i}.png")
    with zipfile.ZipFile(tmp_path / "ok.zip", "w") as archive:
        for path in sorted((tmp_path / "s").rglob("*.png")):
            archive.write(path, path.relative_to(tmp_path / "s"))
    return tmp_path


def test_an_archive_that_holds_archives(data: Path) -> None:
    with zipfile.ZipFile(data / "nested.zip", "w") as archive:
        archive.write(data / "ok.zip", "train.zip")
        archive.write(data / "ok.zip", "test.zip")
    with pytest.raises(DataError, match=r"no images in it \(files there: 2 \.zip\)") as caught:
        scan(data / "nested.zip")
    assert caught.value.hint.startswith(f"unpack {data / 'nested.zip'} first")
    with zipfile.ZipFile(data / "nested.zip") as archive:
        archive.extractall(data / "unpacked")
    with pytest.raises(DataError, match="no images in it") as caught:
        scan(data / "unpacked")
    named = caught.value.hint.removeprefix("give the archive itself: ").partition(",")[0]
    assert scan(named).classes == ("fake", "real")


def test_a_gzip_and_a_zip_called_tar(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELLAPART_CACHE", str(data / "cache"))
    with tarfile.open(data / "gz.tar", "w:gz") as archive:
        archive.add(data / "s", arcname=".")
    (data / "ok.zip").rename(data / "zip.tar")
    for name, kind in (("gz.tar", "compressed with gzip"), ("zip.tar", "a zip archive")):
        with pytest.raises(DataError, match=f"expected an uncompressed tar archive, found a file that is {kind}") as caught:
            scan(data / name)
        right = caught.value.hint.removeprefix("rename it to ")
        (data / name).rename(right)
        assert scan(right).classes == ("fake", "real")


@pytest.mark.parametrize(
    ("address", "told", "advice"),
    [
        ("s3://bucket/data", "an S3 store", "aws s3 sync s3://bucket/data DIR"),
        ("gs://bucket/data", "Google Cloud Storage", "gcloud storage cp -r gs://bucket/data DIR"),
        ("https://example.org/data.zip", "a web server", "curl -LO https://example.org/data.zip"),
        ("hf://datasets/a/b", "the Hugging Face hub", "snapshot_download"),
        ("file:///data", "an address", "pass the path without file://"),
        ("abfs://x@y/data", "another machine", "copy it to this machine first"),
    ],
)
def test_addresses_are_named_for_what_they_are(address: str, told: str, advice: str) -> None:
    for given in (address, Path(address)):
        with pytest.raises(DataError, match=told) as caught:
            scan(given)
        assert advice in caught.value.hint


def test_a_folder_with_a_colon_is_a_folder(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "s").rename(data / "s3:")
    monkeypatch.chdir(data)
    assert scan("s3:/").classes == ("fake", "real")
