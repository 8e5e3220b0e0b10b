"""Images of formats that cannot be read, and images without an ending, stop the work and are counted by class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.data.left_out import left_out
from tellapart.data.prepare import prepare
from tellapart.data.scan import scan
from tellapart.errors import DataError

HEADS = {
    "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "jxl": b"\0\0\0\x0cJXL \r\n\x87\n",
    "psd": b"8BPS\0\1", "cr2": b"II*\0\x10\0\0\0CR",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for c, name in enumerate(("cat", "dog")):
        (tmp_path / "d" / name).mkdir(parents=True)
        for i in range(16):
            Image.fromarray(np.full((4, 4, 3), 100 * c + i, np.uint8)).save(tmp_path / "d" / name / f"{i:02}.jpg")
    return tmp_path / "d"


def _renamed(folder: Path, ending: str, head: bytes | None = None, n: int = 12) -> None:
    for i in range(n):
        path = folder / "cat" / f"{i:02}.jpg"
        if head is not None:
            path.write_bytes(head + bytes(40))
        path.rename(path.with_suffix(ending))


@pytest.mark.parametrize(
    ("ending", "name"), [("heic", "HEIC"), ("jxl", "JPEG XL"), ("psd", "Photoshop"), ("cr2", "camera raw")]
)
@pytest.mark.parametrize("named", [True, False])
def test_formats_that_are_not_read(folder, ending, name, named) -> None:
    if not named and ending == "cr2":
        pytest.skip("by its first bytes a raw file is a TIFF")
    _renamed(folder, f".{ending}" if named else "", HEADS[ending])
    table = scan(folder)
    with pytest.raises(DataError, match=f"12 {name} images of the class 'cat' cannot be read: convert them to JPEG or PNG"):
        prepare(table)
    found = left_out(table)
    assert found.summary() == "12 of 32 images (cat 12, dog 0): unreadable format 12" and found.warning()
    assert prepare(table, skip_bad=True).table.counts()["all"].to_dict() == {"cat": 4, "dog": 16}


@pytest.mark.parametrize("ending", ["", ".jpg_large", ".mpo", ".jpg!d"])
def test_readable_images_under_other_names(folder, ending) -> None:
    _renamed(folder, ending)
    said = f"with the ending {ending}" if ending else "without an ending"
    with pytest.raises(DataError) as caught:
        prepare(scan(folder))
    assert f"12 JPEG images of the class 'cat' {said} cannot be read: rename them to .jpg" in str(caught.value)
    for path in folder.glob("cat/*"):
        path.rename(path.with_suffix(".jpg"))
    assert not scan(folder).problems


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_in_an_archive(folder, tmp_path, kind) -> None:
    import shutil

    _renamed(folder, "", None, 3)
    table = scan(shutil.make_archive(str(tmp_path / "a"), kind, folder))
    assert left_out(table).summary() == "3 of 32 images (cat 3, dog 0): unreadable format 3"


def test_a_class_of_nothing_else_is_named(folder) -> None:
    _renamed(folder, ".heic", HEADS["heic"], 16)
    (folder / "owl").mkdir()
    Image.new("RGB", (4, 4)).save(folder / "owl" / "1.png")
    table = scan(folder)
    assert {p.kind for p in table.problems} == {"empty class", "unreadable format"}
    assert left_out(table).by_class == {"dog": 0, "owl": 0, "cat": 16}


def test_other_files_are_notes_and_not_opened(folder, monkeypatch) -> None:
    (folder / "cat" / "notes.txt").write_text("x")
    (folder / "logo.heic").write_bytes(HEADS["heic"])  # beside the classes: no image of the data
    table = scan(folder)
    prepare(table)
    assert left_out(table).lines() == ["not used: 1 file with the ending .heic; 1 file with the ending .txt"]


def test_images_that_no_row_names(folder) -> None:
    for i in range(5):
        (folder / "Test" / "deep").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), i, np.uint8)).save(folder / "Test" / "deep" / f"x{i}.png")
    rows = [f"{name}/{i:02}.jpg,{name}" for name in ("cat", "dog") for i in range(16 if name == "dog" else 4)]
    (folder / "train.csv").write_text("\n".join(["id,label", *rows]) + "\n")
    table = scan(folder)
    prepare(table)
    found = left_out(table)
    assert "not used: 5 images in Test/ without a row" in found.lines()
    assert found.summary() == "12 of 32 images (cat 12, dog 0): image without a row 12" and found.warning()


def test_a_table_beside_formats_that_are_not_read(folder) -> None:
    _renamed(folder, ".heic", HEADS["heic"], 3)
    rows = [f"{name}/{i:02},{name}" for name in ("cat", "dog") for i in range(16)]
    (folder / "train.csv").write_text("\n".join(["id,label", *rows]) + "\n")
    with pytest.raises(DataError, match="3 HEIC images of the class 'cat' cannot be read") as caught:
        prepare(scan(folder))
    assert "missing file: 3" in str(caught.value)
