"""(f) A folder or a file whose name looks like a member of an archive is read as what it is."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tellapart.data.reader import ImageReader
from tellapart.data.scan import scan
from tellapart.data.summary import summarize


def test_a_path_that_looks_like_a_member_of_an_archive(tmp_path: Path) -> None:
    for number, name in enumerate(("x.zip::y/1.png", "x.zip::y/2.png", "cat/x.zip::y.png", "cat/2.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / name)
    table = scan(tmp_path)
    assert table.classes == ("cat", "x.zip::y") and len(table) == 4
    with ImageReader(table) as reader:
        assert all(reader.get(locator) for locator in table.paths)
    assert not summarize(table).headers.unreadable
