"""Case 31 (c): `data` accepts the same formats as decoding; EPS, icons and others are named whatever their ending says."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.data.decode import decode, header
from tellapart.data.metadata import read_header, read_metadata
from tellapart.data.scan import scan
from tellapart.data.summary import summarize
from tellapart.errors import ImageError

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"


def icon() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, "ICO")
    return file.getvalue()


@pytest.mark.parametrize(
    "content", [EPS, icon(), b"P7\nWIDTH 1\nHEIGHT 1\nENDHDR\n", b"%PDF-1.4\n"], ids=["eps", "ico", "pam", "pdf"]
)
def test_every_reader_refuses_it(content: bytes, tmp_path: Path):
    for read in (decode, header, read_header, read_metadata):
        with pytest.raises(ImageError):
            read(content)
    for name in ("real", "fake"):
        (tmp_path / name).mkdir()
        for row in range(3):
            Image.fromarray(np.full((8, 8, 3), 50 * row, np.uint8)).save(tmp_path / name / f"{row}.png")
    (tmp_path / "real" / "odd.png").write_bytes(content)
    found = summarize(scan(tmp_path))
    assert [(problem.kind, problem.where) for problem in found.headers.unreadable] == [("corrupt image", "real/odd.png")]
    assert found.headers.formats == {"PNG": 6}
