"""Identity is content: what changes it and what does not, and what is read to know it."""

from __future__ import annotations

import gzip
import os
import shutil
import sqlite3
import struct
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tellapart as ta
from tellapart.data import digest_store
from tellapart.data.cache import CorruptImages, PixelCache
from tellapart.data.digest_store import DigestStore
from tellapart.data.identity import current_digests, digest_of, identify
from tellapart.data.reader import ImageReader
from tellapart.data.scan import scan
from tellapart.errors import DataError
from tellapart.recipe.schema import Inputs

INPUTS = Inputs(size=8, mode="rgb")


def write(path: Path, seed: int) -> Path:
    """A PPM image of 8 × 8 random pixels; all have the same size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"P6 8 8 255\n" + np.random.default_rng(seed).bytes(192))
    return path


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    for seed, name in enumerate(("cat/1.ppm", "cat/2.ppm", "dog/1.ppm", "dog/2.ppm")):
        write(tmp_path / "data" / name, seed)
    return tmp_path / "data"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The locators that are read from now on; every file counts as settled."""
    monkeypatch.setattr(digest_store, "SETTLED_NS", -(10**12))
    found: list[str] = []
    get = ImageReader.get

    def counted(reader: ImageReader, locator: str) -> bytes | np.ndarray:
        found.append(locator)
        return get(reader, locator)

    monkeypatch.setattr(ImageReader, "get", counted)
    return found


def taken(read: list[str]) -> list[str]:
    """What was read since the last call."""
    found = sorted(read)
    read.clear()
    return found


def identity(path: Path) -> str:
    return identify(scan(path)).fingerprint


# --- what counts ------------------------------------------------------------------------------------------------------


def as_zip(top: Path) -> Path:
    with zipfile.ZipFile(top.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for path in top.rglob("*.ppm"):
            archive.write(path, path.relative_to(top.parent))
    return top.with_suffix(".zip")


def as_tar(top: Path) -> Path:
    with tarfile.open(top.with_suffix(".tar"), "w") as archive:
        archive.add(top, "elsewhere")
    return top.with_suffix(".tar")


def touched(top: Path) -> Path:
    os.utime(top / "cat" / "1.ppm")
    return top


def moved(top: Path) -> Path:
    return top.rename(top.parent / "moved")


def copied(top: Path) -> Path:
    return Path(shutil.copytree(top, top.parent / "copy", copy_function=shutil.copyfile))


@pytest.mark.parametrize("change", [touched, copied, moved, as_zip, as_tar], ids=lambda change: change.__name__)
def test_the_same_images_are_the_same_data(top: Path, change: Callable[[Path], Path]) -> None:
    before = identity(top)
    assert identity(change(top)) == before


def test_one_changed_byte_is_other_data(top: Path) -> None:
    before, path = identity(top), top / "cat" / "1.ppm"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert identity(top) != before


def test_names_and_labels_count(top: Path) -> None:
    before = identity(top)
    (top / "cat" / "1.ppm").rename(top / "cat" / "3.ppm")
    assert identity(top) != before
    (top / "cat" / "3.ppm").rename(top / "dog" / "3.ppm")
    assert identity(top) != before


def test_scanning_reads_nothing_and_has_no_identity(top: Path, read: list[str]) -> None:
    table = scan(top)
    with pytest.raises(DataError, match=r"has not been read[\s\S]*tellapart.identify"):
        _ = table.fingerprint
    assert not taken(read) and ta.identify(table).fingerprint


def test_the_same_pixels_in_memory_and_in_an_idx_file(tmp_path: Path, top: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 5), dtype=np.uint8)
    folder = tmp_path / "idx"
    folder.mkdir()
    images, labels = struct.pack(">HBB3I", 0, 8, 3, *pixels.shape), struct.pack(">HBBI", 0, 8, 1, 3)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(images + pixels.tobytes(), mtime=0))
    (folder / "train-labels-idx1-ubyte").write_bytes(labels + bytes([0, 1, 0]))
    expected = [digest_of(image) for image in pixels]
    assert identify(scan(folder)).digests.tolist() == expected
    assert ta.from_arrays(pixels, [0, 1, 0]).digests.tolist() == expected
    assert digest_of(pixels[0]) != digest_of(pixels[0].reshape(5, 4))


def test_rows_of_a_parquet_table_have_the_digests_of_the_files(tmp_path: Path, top: Path) -> None:
    paths = sorted(top.rglob("*.ppm"))
    frame = pd.DataFrame({"image": [path.read_bytes() for path in paths], "label": ["cat", "cat", "dog", "dog"]})
    (tmp_path / "table").mkdir()
    frame.to_parquet(tmp_path / "table" / "all.parquet")
    table = identify(scan(tmp_path / "table" / "all.parquet"))
    assert table.digests.tolist() == identify(scan(top)).digests.tolist()
    assert table.digests.tolist() == ta.from_bytes([path.read_bytes() for path in paths], [0, 0, 1, 1]).digests.tolist()


def test_an_image_that_cannot_be_read_has_no_digest(top: Path) -> None:
    table = scan(top)
    (top / "dog" / "1.ppm").unlink()
    assert [bool(digest) for digest in identify(table).digests] == [True, True, False, True]
    assert ta.identify(table.take(np.arange(0))).digests.shape == (0,)


# --- what is read -----------------------------------------------------------------------------------------------------


def test_an_unchanged_file_is_read_once(top: Path, read: list[str]) -> None:
    first = identify(scan(top))
    assert taken(read) == sorted(first.paths)
    assert identify(scan(top)).fingerprint == first.fingerprint and not taken(read)
    os.utime(top / "cat" / "2.ppm")
    assert identify(scan(top)).fingerprint == first.fingerprint and taken(read) == ["cat/2.ppm"]
    assert identify(first) is first and not taken(read)


def test_members_of_an_unchanged_archive_are_read_once(top: Path, read: list[str]) -> None:
    archive = as_zip(top)
    first = identify(scan(archive))
    assert len(taken(read)) == 4
    assert identify(scan(archive)).fingerprint == first.fingerprint and not taken(read)
    os.utime(archive)
    assert identify(scan(archive)).fingerprint == first.fingerprint and len(taken(read)) == 4


def exchange_in_place(one: Path, other: Path) -> None:
    contents, times = [], []
    for path in (one, other):
        contents.append(path.read_bytes())
        times.append(path.stat().st_mtime_ns)
    for path, content, time in zip((one, other), reversed(contents), times, strict=True):
        path.write_bytes(content)
        os.utime(path, ns=(time, time))


def exchange_by_name(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    for path in (one, other):
        os.utime(path, ns=(10**18, 10**18))


@pytest.mark.parametrize("exchange", [exchange_in_place, exchange_by_name], ids=["inode kept", "another inode"])
def test_files_exchanged_with_their_times_kept_are_noticed(
    top: Path, read: list[str], exchange: Callable[[Path, Path], None]
) -> None:
    one, other = top / "cat" / "1.ppm", top / "dog" / "2.ppm"
    for path in (one, other):
        os.utime(path, ns=(10**18, 10**18))
    before = identify(scan(top))
    PixelCache().images(before, INPUTS)
    status = [(path.stat().st_size, path.stat().st_mtime_ns) for path in (one, other)]
    exchange(one, other)
    assert [(path.stat().st_size, path.stat().st_mtime_ns) for path in (one, other)] == status
    taken(read)
    after = identify(scan(top))
    assert taken(read) == ["cat/1.ppm", "dog/2.ppm"]
    assert after.digests.tolist() == before.digests[[3, 1, 2, 0]].tolist()
    pixels = [PixelCache().images(table, INPUTS).get() for table in (before, after)]
    assert (pixels[1] == pixels[0][[3, 1, 2, 0]]).all(), "no old pixels out of the cache"


def test_verify_files_trusts_nothing(top: Path, read: list[str]) -> None:
    first = identify(scan(top))
    taken(read)
    store = DigestStore()
    keys = _keys_of(store)
    store.add((key, bytes(16)) for key in keys)  # what a broken file system or a liar would lead to
    assert set(identify(scan(top)).digests) == {"00" * 16} and not taken(read)
    assert identify(scan(top), verify_files=True).digests.tolist() == first.digests.tolist()
    assert taken(read) == sorted(first.paths)
    assert identify(scan(top)).digests.tolist() == first.digests.tolist() and not taken(read), "the store is mended"
    assert identify(first, verify_files=True).fingerprint == first.fingerprint and len(taken(read)) == 4


def _keys_of(store: DigestStore) -> list[bytes]:
    with closing(sqlite3.connect(store.path)) as database:
        return [key for (key,) in database.execute("SELECT key FROM files")]


def test_a_wrong_digest_never_reaches_the_cache(top: Path, read: list[str]) -> None:
    identify(scan(top))
    store = DigestStore()
    store.add((key, bytes(16)) for key in _keys_of(store))
    with pytest.raises(CorruptImages, match=r"4 images cannot be decoded:[\s\S]*is not the one that was listed"):
        PixelCache().images(scan(top), INPUTS)


def test_a_file_that_has_just_changed_is_read_again(top: Path, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest_store, "SETTLED_NS", 10**18)
    identify(scan(top))
    taken(read)
    identify(scan(top))
    assert len(taken(read)) == 4 and not DigestStore().path.exists()


def test_a_file_that_changes_while_it_is_read_is_not_kept(top: Path, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    get = ImageReader.get

    def changing(reader: ImageReader, locator: str) -> bytes | np.ndarray:
        content = get(reader, locator)
        if locator == "cat/1.ppm":
            write(top / locator, 99)
        return content

    with monkeypatch.context() as patch:
        patch.setattr(ImageReader, "get", changing)
        identify(scan(top))
    taken(read)
    again = identify(scan(top))
    assert taken(read) == ["cat/1.ppm"] and again.digests[0] == digest_of((top / "cat" / "1.ppm").read_bytes())


def test_without_a_cache_everything_is_read(top: Path, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (top.parent / "file").write_text("in the way")
    monkeypatch.setenv("TELLAPART_CACHE", str(top.parent / "file" / "below"))
    first = identify(scan(top))
    assert identify(scan(top)).fingerprint == first.fingerprint and len(taken(read)) == 8


def test_current_digests_are_those_of_the_files(top: Path) -> None:
    table = identify(scan(top))
    assert (current_digests(table) == table.digests).all()
    write(top / "cat" / "2.ppm", 50)
    (top / "dog" / "1.ppm").unlink()
    now = current_digests(table)
    assert (now != table.digests).tolist() == [False, True, True, False] and now[2] == ""
