"""Archives and tables that promise too much, point elsewhere, or hold one name twice: an error, or a named problem."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from seeds import containers, loose_images

from tellapart.data.left_out import left_out
from tellapart.data.reader import ImageReader
from tellapart.data.scan import scan
from tellapart.errors import DataError, ImageError, SystemLimitError, TellapartError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def zipped(files: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return target.getvalue()


def tarred(files: list[tuple[tarfile.TarInfo | str, bytes]]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, content in files:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


IMAGES = list(loose_images().items())


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("ending", [".zip", ".tar", ".tar.gz"])
def test_two_members_of_one_name_are_named(tmp_path: Path, ending: str):
    twice = [*IMAGES, (IMAGES[0][0], IMAGES[1][1])]
    content = zipped(twice) if ending == ".zip" else tarred(twice)
    table = scan(written(tmp_path / f"a{ending}", gzip.compress(content) if ending == ".tar.gz" else content))
    (problem,) = table.problems
    assert problem.kind == "repeated name" and problem.where == IMAGES[0][0] and "the last of them is read" in str(problem)
    assert "repeated name 1" in left_out(table).summary()
    with ImageReader(table) as reader:
        assert reader.get(f"a{ending}::{IMAGES[0][0]}") == IMAGES[1][1]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_folder_that_is_listed_twice_is_no_problem(tmp_path: Path):
    assert not scan(written(tmp_path / "a.zip", zipped([("real/", b""), *IMAGES, ("real/", b"")]))).problems


@pytest.mark.parametrize("name", ["/etc/passwd.png", "../out.png", "real/../../out.png", "C:\\x.png", "..\\out.png"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_member_that_points_outside_ends_it(tmp_path: Path, name: str, pack):
    path = written(tmp_path / ("a.zip" if pack is zipped else "a.tar"), pack([*IMAGES, (name, IMAGES[0][1])]))
    with pytest.raises(DataError, match="points outside the archive"):
        scan(path)


def test_links_and_devices_of_a_tar_are_named_and_never_followed(tmp_path: Path):
    odd = [
        special("real/link.png", tarfile.SYMTYPE, "/etc/passwd"), special("real/up.png", tarfile.SYMTYPE, "../../secret.png"),
        special("real/hard.png", tarfile.LNKTYPE, "/etc/passwd"), special("real/self.png", tarfile.SYMTYPE, "self.png"),
        special("real/fifo.png", tarfile.FIFOTYPE), special("real/zero.png", tarfile.CHRTYPE),
    ]  # fmt: skip
    (tmp_path / "secret.png").write_bytes(IMAGES[0][1])
    table = scan(written(tmp_path / "a.tar", tarred([*IMAGES, *((info, b"") for info in odd)])))
    assert {problem.where for problem in table.problems} == {info.name for info in odd}
    assert len(table) == len(IMAGES)


def test_a_header_of_a_tar_that_states_gigabytes_is_refused(tmp_path: Path):
    content = bytearray(tarred([*IMAGES, (special("real/x.png", tarfile.XHDTYPE), b"9 a=bcde\n")]))
    start = content.index(b"real/x.png\0")
    content[start + 124 : start + 136] = b"%011o\0" % (2**32)
    content[start + 148 : start + 156] = b" " * 8
    content[start + 148 : start + 156] = b"%06o\0 " % sum(content[start : start + 512])
    with pytest.raises(DataError, match="a header states 4,294,967,296 bytes"):
        scan(written(tmp_path / "a.tar", bytes(content)))


def test_a_link_of_a_zip_is_text_and_no_image(tmp_path: Path):
    target = io.BytesIO(zipped(IMAGES))
    with zipfile.ZipFile(target, "a") as archive:
        info = zipfile.ZipInfo("real/link.png")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    table = scan(written(tmp_path / "a.zip", target.getvalue()))
    with ImageReader(table) as reader:
        assert reader.get("a.zip::real/link.png") == b"/etc/passwd"


def test_a_bomb_in_a_zip_is_named(tmp_path: Path):
    content = zipped([*IMAGES, ("real/bomb.png", bytes(2**27))], zipfile.ZIP_DEFLATED)
    table = scan(written(tmp_path / "a.zip", content))
    with ImageReader(table) as reader, pytest.raises(ImageError, match="a decompression bomb"):
        reader.get("a.zip::real/bomb.png")


def test_members_that_share_their_bytes_give_no_more_than_they_say(tmp_path: Path):
    """Overlapping entries: each local header may lie inside the data of another."""
    content = bytearray(zipped(IMAGES))
    places = [place for place in range(len(content)) if content[place : place + 4] == b"PK\x01\x02"]
    for place in places[1:]:
        content[place + 42 : place + 46] = content[places[0] + 42 : places[0] + 46]
    with pytest.raises(TellapartError):
        table = scan(written(tmp_path / "a.zip", bytes(content)))
        with ImageReader(table) as reader:
            for path in table.paths:
                reader.get(path)


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz"])
def test_a_compressed_bomb_stops_where_the_cache_is_full(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch):
    import bz2
    import lzma

    monkeypatch.setenv("TELLAPART_CACHE_GIB", "0.05")
    pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[ending]
    path = written(tmp_path / f"a.tar.{ending}", pack(bytes(2**27)))
    with pytest.raises(SystemLimitError, match="TELLAPART_CACHE_GIB|cache"):
        scan(path)
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file() and file.stat().st_size > 4096]


def test_an_array_of_objects_is_not_unpickled(tmp_path: Path):
    target = io.BytesIO()
    np.savez(target, images=np.array([{"a": 1}] * 4, dtype=object), labels=np.arange(4) % 2)
    with pytest.raises(DataError, match="Python objects, which are code"):
        scan(written(tmp_path / "a.npz", target.getvalue()))


@pytest.mark.parametrize(
    "shape", ["(1000000, 1000, 1000, 3)", "(9223372036854775807, 8, 8, 3)", "(-1, 8, 8, 3)", "(12, 8, 8)", "(" * 500]
)
def test_a_header_that_promises_too_much_is_refused(tmp_path: Path, shape: str):
    target = io.BytesIO()
    np.savez(target, images=np.zeros((12, 8, 8, 3), np.uint8), labels=np.arange(12) % 2)
    with zipfile.ZipFile(io.BytesIO(target.getvalue())) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    files["images.npy"] = b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text.encode() + bytes(12 * 8 * 8 * 3)
    with pytest.raises(DataError, match="images.npy"):
        scan(written(tmp_path / "a.npz", zipped(list(files.items()))))


def test_a_bomb_in_a_parquet_file_is_refused(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"image": [bytes(70 * 2**20), b"x"], "label": ["a", "b"]})
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd", use_dictionary=False)
    with pytest.raises(DataError, match=r"a\.parquet: .* bytes that unpack to .*: a decompression bomb"):
        scan(tmp_path / "a.parquet")


@pytest.mark.parametrize("kind", ["dictionary", "nested", "beginnings", "labels", "labels of a dictionary"])
def test_a_parquet_file_in_which_many_rows_share_one_value_is_refused(tmp_path: Path, kind: str):
    """The footer states 1 MB, the rows hold 200 MB."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows, large = 200, bytes(2**20)
    small, shared = [b"x"] * rows, pa.array([large] * 2)
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), shared[:1])
    images: object = pa.array(small) if "labels" in kind else shared
    options: dict[str, object] = {}
    if kind == "nested":
        images = pa.StructArray.from_arrays([shared, pa.array(["a"] * rows)], ["bytes", "path"])
    if kind in ("dictionary", "beginnings"):  # plain values in the schema
        options["store_schema"] = False
    if kind == "beginnings":
        images = shared.cast(pa.binary())
        options |= {"use_dictionary": False, "column_encoding": {"image": "DELTA_BYTE_ARRAY"}}
    labels: object = ["a", "b"] * (rows // 2)
    if "labels" in kind:
        labels = pa.DictionaryArray.from_arrays(shared.indices, pa.array(["x" * 2**20]))
        options["store_schema"] = kind != "labels"
    pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / "a.parquet", compression="zstd", **options)
    assert (tmp_path / "a.parquet").stat().st_size < 2**20
    with pytest.raises(DataError, match=r"a\.parquet: .* bytes that unpack to .*: a decompression bomb"):
        scan(tmp_path / "a.parquet")


def test_many_equal_rows_are_no_bomb(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 300_000
    table = pa.table({"image": [b"y" * 60] * rows, "label": ["cat", "dog"] * (rows // 2)})
    pq.write_table(table, tmp_path / "a.parquet")
    assert len(scan(tmp_path / "a.parquet")) == rows


def test_labels_of_a_terabyte_are_refused_before_memory_is_asked_for(tmp_path: Path):
    target = io.BytesIO()
    np.savez(target, images=np.zeros((12, 8, 8, 3), np.uint8), labels=np.arange(12) % 2)
    with zipfile.ZipFile(io.BytesIO(target.getvalue())) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["labels.npy"] = files["labels.npy"].replace(b"(12,)", b"(1" + b"0" * 11 + b",)").replace(b" " * 10 + b"\n", b"\n")
    with pytest.raises(DataError, match="promises 800,000,000,000 bytes"):
        scan(written(tmp_path / "a.npz", zipped(list(files.items()))))


def test_a_line_of_json_that_is_nested_too_deep_is_refused(tmp_path: Path):
    deep = b'{"file_name": "real/1.png", "label": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"
    for name, content in IMAGES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="rows.jsonl"):
        scan(written(tmp_path / "rows.jsonl", deep))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'file,label\n"real/1.png,real\n' + b"real/3.png,real\n" * 1000, "never closed"),
        (b"file,label\nreal/1.png,\0real\n", "zero bytes"),
        (b"file,label\nreal/1.png,real,1,2\n", "expected 2 cells, found 4"),
    ],
)
def test_a_broken_table_says_where(tmp_path: Path, content: bytes, said: str):
    with pytest.raises(DataError, match=said):
        scan(written(tmp_path / "a.zip", zipped([*IMAGES, ("train.csv", content)])))


def test_a_shard_whose_labels_are_nested_is_refused(tmp_path: Path):
    files = [(f"{row}.png", IMAGES[row][1]) for row in range(12)]
    files += [(f"{row}.json", json.dumps({"label": [row]}).encode()) for row in range(12)]
    with pytest.raises(DataError, match="holds a list or an object"):
        scan(written(tmp_path / "a.tar", tarred(files)))


def test_sound_seeds_are_read(tmp_path: Path):
    for name, content in containers().items():
        if not name.endswith((".csv", ".jsonl", ".txt")):
            assert len(scan(written(tmp_path / name, content))) >= 12, name
