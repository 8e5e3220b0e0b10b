"""What is named becomes a stream of images: the same as other readers find, in the same order, and bad names said so."""

from __future__ import annotations

import csv
import gzip
import io
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tellapart.data.listing import from_paths
from tellapart.data.scan import scan
from tellapart.errors import DataError, ImageError
from tellapart.inference.image_sources import open_source, open_sources
from tellapart.inference.image_sources.base import DEFAULT_OPTIONS, ImageRef, Source, SourceOptions
from tellapart.inference.image_sources.stdin import StandardInput


def items(*named: str | Path, options: SourceOptions = DEFAULT_OPTIONS) -> list[ImageRef]:
    return [one for source in open_sources(named, options) for one in source.items() if isinstance(one, ImageRef)]


def contents(found: Sequence[ImageRef]) -> dict[str, bytes | np.ndarray]:
    return {item.name: item.read() for item in found}


def why(item: ImageRef) -> str:
    with pytest.raises(ImageError) as caught:
        item.read()
    return caught.value.reason


# --- files, folders, patterns -----------------------------------------------------------------------------------------


def test_a_folder_holds_what_predict_finds_in_the_same_order(shots):
    (shots / "b" / "notes.txt").write_text("no image")
    (shots / "zz.JPG").write_bytes((shots / "b" / "01.png").read_bytes())
    found = items(shots, shots / "b" / "notes.txt")
    assert [item.name for item in found] == from_paths([shots, shots / "b" / "notes.txt"]).ids.tolist()
    assert len(found) == 13 and found[0].read() == Path(found[0].name).read_bytes()
    assert open_source(str(shots)).count() == 12


def test_hidden_files_and_links_in_a_circle(shots):
    (shots / "._01.png").write_bytes(b"of another system")
    (shots / "__MACOSX").mkdir()
    (shots / "__MACOSX" / "x.png").write_bytes(b"likewise")
    (shots / "a" / "up").symlink_to(shots)
    (shots / "beside").symlink_to(shots / "a")
    names = [item.name for item in items(shots)]
    assert not [name for name in names if "_01" in name or "MACOSX" in name or "up/" in name]
    assert len(names) == 11  # `beside` is `a` once more


def test_scan_check_and_predict_list_the_same_images(shots, tmp_path):
    one, top = (shots / "b" / "01.png").read_bytes(), tmp_path / "data"
    skipped = ("a/.hidden.png", "a/._01.png", ".git/x.png", "a/.ipynb_checkpoints/1.png", "__MACOSX/a/1.png", "b/@eaDir/x.png")
    listed = ("a/1.png", "a/z.JPG", "a/deep/2.png", "a-b/3.png", "b/4.png", "b/deep/er/5.png", "b/deep-er/6.png")
    for name in (*skipped, *listed, "mine/runs/figure.png"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(one)
    (top / "mine" / "runs" / "ledger.jsonl").touch()
    (top / "a" / "Thumbs.db").write_bytes(b"of Windows")
    (top / "a" / "dead.png").symlink_to(tmp_path / "nowhere")
    scanned = [f"{top}/{name}" for name in scan(top).ids]
    assert sorted(scanned) == sorted(f"{top}/{name}" for name in listed)
    assert [item.name for item in items(top) if not item.reason] == from_paths([top]).ids.tolist() == scanned
    assert [item.name for item in items(top) if item.reason] == [f"{top}/a/dead.png"]
    assert [problem.where for problem in from_paths([top]).problems] == [f"{top}/a/dead.png"]


def test_a_folder_whose_name_is_no_text_is_named(tmp_path):
    folder = tmp_path / "f" / os.fsdecode(b"\xff")
    folder.mkdir(parents=True)
    (folder / "x.png").write_bytes(b"x")
    (found,) = items(tmp_path / "f")
    assert found.name.endswith("\ufffd/") and "not valid UTF-8" in why(found)


def test_the_current_folder_gives_plain_names(shots, monkeypatch):
    monkeypatch.chdir(shots)
    assert [item.name for item in items(".")] == sorted(str(p.relative_to(shots)) for p in shots.rglob("*.png"))


def test_a_pattern(shots):
    assert [item.name for item in items(f"{shots}/a/*.png")] == sorted(map(str, (shots / "a").glob("*.png")))
    assert {item.name for item in items(f"{shots}/**/0*.png")} == set(map(str, shots.rglob("0*.png")))
    assert {item.name for item in items(f"{shots}/**")} == set(map(str, shots.rglob("*.png")))
    assert {item.name for item in items(f"{shots}/[ab]")} == {str(p) for p in shots.glob("[ab]/*.png")}
    with pytest.raises(DataError, match="no file matches"):
        items(f"{shots}/*.gif")


def test_brackets_in_a_name_that_exists_are_no_pattern(shots):
    odd = shots / "x[1].png"
    odd.write_bytes(b"bytes")
    assert contents(items(odd)) == {str(odd): b"bytes"}


def test_what_is_not_there_is_an_error_before_any_work(shots, tmp_path):
    (shots / "dead.png").symlink_to(tmp_path / "nowhere")
    for named, said in ((["nothing.png"], "no such file"), ([shots / "dead.png"], "a broken link"), ([], "no image was")):
        with pytest.raises(DataError, match=said):
            open_sources([shots, *named] if named else [])
    with pytest.raises(DataError, match="named twice"):
        open_sources(["-", shots, "-"])


def test_a_file_that_goes_away_or_is_too_large(shots, monkeypatch):
    found = items(shots)
    Path(found[0].name).unlink()
    assert why(found[0]) == "no such file"
    monkeypatch.setattr("tellapart.inference.image_sources.base.LARGEST_IMAGE", 10)
    assert "is larger than" in why(found[1])


def test_a_name_that_is_no_text_is_named(tmp_path):
    (tmp_path / "f").mkdir()
    with open(os.fsencode(tmp_path / "f") + b"/\xff.png", "wb") as file:  # noqa: PTH123
        file.write(b"x")
    (found,) = items(tmp_path / "f")
    assert found.name.endswith("\ufffd.png") and "not valid UTF-8" in why(found)


# --- archives and tables that hold images -----------------------------------------------------------------------------


def test_archives(shots, tmp_path):
    wanted = {p.relative_to(shots).as_posix(): p.read_bytes() for p in shots.rglob("*.png")}
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, content in wanted.items():
            archive.writestr(name, content)
        archive.writestr("readme.txt", "no image")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(shots, ".")
    for name in ("x.zip", "x.tar"):
        path = tmp_path / name
        assert contents(items(path)) == {f"{path}::{inside}": content for inside, content in wanted.items()}
        source = open_source(str(path))
        (first, *_) = (one for one in source.items() if isinstance(one, ImageRef))
        source.close()
        assert first.read()  # opened again where it is needed


def test_a_member_that_cannot_be_unpacked_is_one_bad_image(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.png", b"a" * 100)
        archive.writestr("b.png", b"b" * 100)
    whole = (tmp_path / "x.zip").read_bytes()
    (tmp_path / "x.zip").write_bytes(whole.replace(b"a" * 100, b"a" * 99 + b"!"))
    first, second = items(tmp_path / "x.zip")
    assert "cannot be unpacked" in why(first) and second.read() == b"b" * 100


@pytest.mark.parametrize("name", ["x.tar.gz", "x.zip", "x.parquet", "x-images-idx3-ubyte"])
def test_containers_that_are_none(tmp_path, name):
    (tmp_path / name).write_bytes(b"rubbish")
    with pytest.raises(DataError, match=name):
        items(tmp_path / name)


def test_parquet_rows(tmp_path):
    blobs = [bytes([n]) * 20 for n in range(7)]
    table = pa.table({"image": [{"bytes": b, "path": "x.png"} for b in [*blobs[:6], None]], "label": range(7)})
    pq.write_table(table, tmp_path / "p.parquet", row_group_size=3)
    found = items(tmp_path / "p.parquet")
    assert [item.name for item in found] == [f"{tmp_path}/p.parquet#{row}" for row in range(7)]
    assert [item.read() for item in found[:6]] == blobs[:6] and "no image" in why(found[6])
    assert open_source(str(tmp_path / "p.parquet")).count() == 7
    assert len(items(f"{tmp_path}/*.parquet")) == 7  # a pattern opens what it fits


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_rows(tmp_path, pack: Callable[[bytes], bytes]):
    pixels = np.random.default_rng(0).integers(256, size=(5, 4, 3), dtype=np.uint8)
    path = tmp_path / ("t10k-images-idx3-ubyte" + (".gz" if pack is not bytes else ""))
    path.write_bytes(pack(struct.pack(">IIII", 0x803, 5, 4, 3) + pixels.tobytes()))
    np.testing.assert_array_equal(np.stack([item.read() for item in items(path)]), pixels)


# --- tables that name images ------------------------------------------------------------------------------------------


def write(path: Path, rows: Sequence[Sequence[str]], encoding: str = "utf-8", delimiter: str = ",") -> Path:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


@pytest.mark.parametrize(("encoding", "delimiter"), [("utf-8", ","), ("utf-8-sig", ";"), ("utf-16", "\t")])
def test_a_table(shots, encoding, delimiter):
    rows = [["label", "image"], ["1", "a/00.png"], ["", ""], ["0", "b/01.png"], ["0", "03"], ["1", str(shots / "02.png")]]
    found = items(write(shots / "t.csv", rows, encoding, delimiter))
    assert [item.name for item in found] == ["a/00.png", "b/01.png", "03", str(shots / "02.png")]
    wanted = [shots / "a/00.png", shots / "b/01.png", shots / "a/03.png", shots / "02.png"]
    assert [item.read() for item in found] == [path.read_bytes() for path in wanted]


def test_a_table_of_images_elsewhere(shots, tmp_path):
    (tmp_path / "t").mkdir()
    table = write(tmp_path / "t" / "t.csv", [["id"], ["00"], ["01.png"]])
    wanted = [(shots / "a/00.png").read_bytes(), (shots / "b/01.png").read_bytes()]
    assert [item.read() for item in items(table, options=SourceOptions(images=shots))] == wanted
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for path in shots.rglob("*.png"):
            archive.write(path, path.relative_to(shots))
    assert [item.read() for item in items(table, options=SourceOptions(images=tmp_path / "x.zip"))] == wanted
    with pytest.raises(DataError, match="expected a folder"):
        items(table, options=SourceOptions(images=tmp_path / "none"))


def test_rows_that_name_nothing_are_bad_images(shots):
    (shots / "b" / "00.png").write_bytes(b"the second of this name")
    rows = [["id", "x"], ["00", "1"], ["none", "1"], ["", "1"], ["b/01.png", "1"]]
    found = items(write(shots / "t.csv", rows))
    assert "ambiguous: a/00.png and b/00.png" in why(found[0]) and "t.csv:2" in why(found[0])
    assert "no such image" in why(found[1]) and "t.csv:3" in why(found[1])
    assert found[2].name.endswith("t.csv:4") and "empty" in why(found[2])
    assert found[3].read() == (shots / "b/01.png").read_bytes()


def test_more_rows_than_are_looked_up_together(shots, monkeypatch):
    monkeypatch.setattr("tellapart.inference.image_sources.csv._AT_ONCE", 3)
    names = sorted(p.stem for p in shots.rglob("*.png"))
    found = items(write(shots / "t.csv", [["id"], *([n] for n in names)]))
    assert [Path(shots / item.name).name for item in found] == names
    assert [item.read() for item in found] == [next(shots.rglob(f"{n}.png")).read_bytes() for n in names]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "empty"),
        (b"id,id\n1,2\n", "duplicate column"),
        (b"a,b\n1,2\n", "no id column"),
        (b"id,name\n1,2\n", "could be"),
        (b"id,x\n1,2,3\n", r"t\.csv:2: expected 2 cells, found 3"),
        (b'id,x\n"1,2\n', "not a table"),
        (b"id,x\n\xff\xfe\xfd,2\n", "not UTF-8"),
    ],
)
def test_tables_that_are_none(tmp_path, text, said):
    (tmp_path / "t.csv").write_bytes(text)
    with pytest.raises(DataError, match=said):
        items(tmp_path / "t.csv")


def test_the_column_can_be_named(shots):
    table = write(shots / "t.csv", [["id", "file"], ["1", "a/00.png"]])
    assert [item.name for item in items(table, options=SourceOptions(id_column="file"))] == ["a/00.png"]


# --- standard input ---------------------------------------------------------------------------------------------------


def told(content: bytes, piece: int = 2**16) -> list[ImageRef]:
    """The images of standard input that gives so many bytes at a time."""
    stream = io.BytesIO(content)
    source: Source = StandardInput(SourceOptions(), open_source, lambda size: stream.read(min(size, piece)))
    return [one for one in source.items() if isinstance(one, ImageRef)]


@pytest.mark.parametrize("piece", [1, 7, 2**16])
@pytest.mark.parametrize("end", ["", "x"])
@pytest.mark.parametrize("separator", ["\n", "\0", "\r\n"])
def test_names_on_standard_input(shots, piece, separator, end):
    names = sorted(map(str, shots.rglob("*.png")))
    found = told((separator.join(names) + (separator if end else "") + separator).encode(), piece)
    assert [item.name for item in found] == names
    assert [item.read() for item in found] == [Path(name).read_bytes() for name in names]


def test_names_with_line_breaks_need_the_nul(tmp_path):
    odd = tmp_path / "a\nb ü.png"
    odd.write_bytes(b"content")
    assert contents(told(os.fsencode(odd) + b"\0")) == {str(odd): b"content"}


def test_containers_on_standard_input(shots, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.png", b"inside")
    found = told(f"{shots}/a\n{tmp_path}/x.zip\n".encode())
    assert [item.name for item in found] == [*sorted(map(str, (shots / "a").iterdir())), f"{tmp_path}/x.zip::a.png"]


def test_names_on_standard_input_that_are_none(shots):
    found = told(b"nothing.png\n-\n\xff\n" + os.fsencode(shots / "02.png"))
    assert [why(item) for item in found[:3]] == [
        "no such file or folder", "standard input cannot name itself", "the name is not valid UTF-8: rename it",
    ]  # fmt: skip
    assert found[3].read() == (shots / "02.png").read_bytes()
    assert told(b"") == [] == told(b"\n\n")


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "gif", "webp", "tif", "ppm", "avif", "jp2"])
@pytest.mark.parametrize("piece", [5, 2**16])
def test_one_image_on_standard_input(shots, tmp_path, kind, piece):
    from PIL import Image

    with Image.open(shots / "02.png") as picture:
        picture.save(tmp_path / f"x.{kind}")
    content = (tmp_path / f"x.{kind}").read_bytes()
    (found,) = told(content, piece)
    assert found.name == "-" and found.read() == content
    if kind in ("png", "jpg"):
        (cut,) = told(content[:20], piece)  # still an image, and a damaged one: no names
        assert cut.name == "-"


def test_a_name_that_begins_like_an_image(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("BMW.png", "P5.png", "GIF89a.png"):
        (tmp_path / name).write_bytes(name.encode())
        assert contents(told(f"{name}\n{name}\n".encode())) == {name: name.encode()}
