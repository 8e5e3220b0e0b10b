"""What a file is, by its first bytes, and what an address is: for errors about files and paths that cannot be read as named."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from tellapart.errors import DataError
from tellapart.regular_files import open_file


class FileKind(NamedTuple):
    """A kind of file.

    Attributes:
        name: "zip", "tar", "gzip", …
        words: What it is, for messages.
        ending: The ending under which tellapart reads it; "" when it does not.
        advice: What to do with a file of this kind that has another name.
    """

    name: str
    words: str
    ending: str = ""
    advice: str = ""


ZIP = FileKind("zip", "a zip archive", ".zip")
TAR = FileKind("tar", "an uncompressed tar archive", ".tar")
GZIP = FileKind("gzip", "compressed with gzip", ".tar.gz")
BZIP2 = FileKind("bzip2", "compressed with bzip2", ".tar.bz2")
XZ = FileKind("xz", "compressed with xz", ".tar.xz")
ZSTD = FileKind("zstd", "compressed with zstd", ".tar.zst")
_AGAIN = "download it again: the server sent a page instead of the file, as it does when a login or a consent is needed"

#: (offset, first bytes, kind)
_MAGIC = (
    (0, b"PK\x03\x04", ZIP),
    (0, b"PK\x05\x06", ZIP),
    (0, b"\x1f\x8b", GZIP),
    (0, b"BZh", BZIP2),
    (0, b"\xfd7zXZ\x00", XZ),
    (0, b"\x28\xb5\x2f\xfd", ZSTD),
    (257, b"ustar", TAR),
    (0, b"7z\xbc\xaf\x27\x1c", FileKind("7z", "a 7z archive", "", "unpack it (7z x FILE) and give the folder")),
    (0, b"Rar!\x1a\x07", FileKind("rar", "a RAR archive", "", "unpack it (7z x FILE) and give the folder")),
    (0, b"PAR1", FileKind("parquet", "a parquet file", ".parquet")),
    (0, b"\x89HDF\r\n\x1a\n", FileKind("hdf5", "an HDF5 file", "", "export its images as files or as parquet")),
    (0, b"version https://git-lfs", FileKind("lfs", "a Git LFS pointer, not the file itself", "", "run: git lfs pull")),
)
_PAGES = (b"<!doctype html", b"<html", b"<?xml")
_HEAD = 512


def kind_of(path: str) -> FileKind | None:
    """The kind of a file; None when its first bytes are not known.

    Raises:
        OSError: It cannot be read.
    """
    with open_file(path) as file:
        return kind_of_bytes(file.read(_HEAD))


def kind_of_bytes(head: bytes) -> FileKind | None:
    """The kind of a file that begins with these bytes.

    >>> kind_of_bytes(b"PK\\x03\\x04").name
    'zip'
    >>> kind_of_bytes(b"\\n<!DOCTYPE html>").words
    'a web page'
    """
    found = next((kind for offset, magic, kind in _MAGIC if head[offset : offset + len(magic)] == magic), None)
    if found is None and head.lstrip().lower().startswith(_PAGES):
        return FileKind("html", "a web page", "", _AGAIN)
    return found


#: Beginning of an address → where it is, and what to do.
_REMOTE = {
    "s3": ("an S3 store", "copy it to this machine first: aws s3 sync {} DIR"),
    "gs": ("Google Cloud Storage", "copy it to this machine first: gcloud storage cp -r {} DIR"),
    "http": ("a web server", "download it first: curl -LO {}"),
    "https": ("a web server", "download it first: curl -LO {}"),
    "hf": ("the Hugging Face hub", "download it first, for example with snapshot_download of huggingface_hub"),
    "file": ("this machine, but given as an address", "pass the path without file://"),
}
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,3}(.*)\Z", re.DOTALL)  # a Path keeps one slash of two


def refuse_address(path: str, expected: str) -> None:
    """Refuse an address such as `s3://bucket/data`: data are read from this machine.

    Args:
        path: What the user passed.
        expected: What can be read instead, for the message.

    Raises:
        DataError: The path is an address.
    """
    found = _ADDRESS.match(path)
    if found is None or os.path.exists(path):  # noqa: PTH110 (a Path would raise an error for a name that is too long)
        return
    where, advice = _REMOTE.get(found[1].lower(), ("another machine", "copy it to this machine first"))
    address = f"{found[1]}://{found[2]}"
    raise DataError(f"{address}: expected {expected} on this machine; this address is in {where}", hint=advice.format(address))
