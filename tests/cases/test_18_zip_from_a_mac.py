"""Names in zips that are UTF-8 without the flag, as macOS writes them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from tellapart.data.reader import ImageReader
from tellapart.data.scan import scan


def write_zip(path: Path, members: dict[bytes, bytes], flag: int = 0, unicode_path: str = "") -> Path:
    """A zip whose names are these bytes; `unicode_path`: a prefix of the names in the extra field of Info-ZIP."""
    body, directory = b"", b""
    for name, content in members.items():
        crc, offset, extra = zlib.crc32(content), len(body), b""
        if unicode_path:
            text = unicode_path.encode() + name.partition(b"/")[1] + name.partition(b"/")[2]
            extra = struct.pack("<HHBI", 0x7075, 5 + len(text), 1, zlib.crc32(name)) + text
        sizes = (crc, len(content), len(content), len(name), len(extra))
        body += struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, flag, 0, 0, 0x21, *sizes) + name + extra + content
        fields = (0x02014B50, 20, 20, flag, 0, 0, 0x21, *sizes, 0, 0, 0, 0x20, offset)
        directory += struct.pack("<IHHHHHHIIIHHHHHII", *fields) + name + extra
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, len(members), len(members), len(directory), len(body), 0)
    path.write_bytes(body + directory + end)
    return path


def test_utf8_without_the_flag(tmp_path: Path) -> None:
    members = {f"{name}/{i}.png".encode(): f"{name}{i}".encode() for name in ("café", "żaba") for i in range(3)}
    members |= {f"__MACOSX/{name}/._{i}.png".encode(): b"x" for name in ("café", "żaba") for i in range(3)}
    members |= {b"caf\xc3\xa9/.DS_Store": b"x"}
    table = scan(write_zip(tmp_path / "mac.zip", members))
    assert table.classes == ("café", "żaba") and len(table) == 6 and not table.problems
    with ImageReader(table) as reader:
        assert [reader.get(locator) for locator in table.paths] == [b"caf\xc3\xa9%d" % i for i in range(3)] + [
            b"\xc5\xbcaba%d" % i for i in range(3)
        ]


def test_the_flag_is_believed(tmp_path: Path) -> None:
    members = {"café/1.png".encode(): b"1", b"b/1.png": b"2"}
    assert scan(write_zip(tmp_path / "a.zip", members, flag=0x800)).classes == ("b", "café")


def test_a_name_in_the_extra_field(tmp_path: Path) -> None:
    table = scan(write_zip(tmp_path / "a.zip", {b"caf\x82/1.png": b"1"}, unicode_path="café"), least=1)
    assert table.classes == ("café",)


@pytest.mark.parametrize("name", [b"caf\x82/1.png", b"caf\xe9/1.png"])
def test_a_name_of_unknown_encoding_is_named_and_never_a_class(tmp_path: Path, name: bytes) -> None:
    table = scan(write_zip(tmp_path / "dos.zip", {name: b"1", b"a/1.png": b"2", b"b/1.png": b"3"}))
    assert table.classes == ("a", "b") and [p.kind for p in table.problems] == ["bad name"]
    assert "pack it again with UTF-8 names" in str(table.problems[0])
