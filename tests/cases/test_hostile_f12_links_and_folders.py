"""F12: links that form loops and folders that may not be entered end in no traceback, in `data` and in `predict`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from tellapart.data.scan import scan
from tellapart.inference.image_sources import open_sources


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("RGB", (4, 4), (i, len(name), 0)).save(tmp_path / name / f"{i}.png")
    return tmp_path


def test_a_link_to_itself(data: Path) -> None:
    (data / "a" / "a.png").symlink_to("a.png")
    assert [(p.kind, p.where) for p in scan(data).problems] == [("missing file", "a/a.png")]
    read = [ref for ref in open_sources([data])[0].items() if not ref.reason]  # pyright: ignore[reportAttributeAccessIssue]
    assert len(read) == 4


def test_a_folder_that_may_not_be_entered(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("/closed"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    (data / "closed").mkdir()
    monkeypatch.setattr(os, "scandir", refuse)
    table = scan(data)
    assert len(table) == 4 and [(p.kind, p.where) for p in table.problems] == [("unreadable folder", "closed/")]
    (data / "labels").mkdir()
    (data / "labels" / "list.csv").write_text("id,label\na/0.png,x\nb/0.png,y\n")
    assert len(scan(data / "labels" / "list.csv", images=data)) == 2
