"""The members of a `.zip` or `.tar`, read in any order without unpacking.

A zip carries a directory at its end. A tar has none: its headers are walked once, then each member is one `os.pread`
from a known offset. A compressed tar has no random access: it is unpacked once into the cache (`data/unpacked.py`).
"""

from __future__ import annotations

import io
import os
import posixpath
import struct
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, final

from tellapart.data.digest_store import FileState
from tellapart.data.file_kinds import BZIP2, GZIP, TAR, XZ, ZIP, ZSTD, FileKind, kind_of
from tellapart.data.unpacked import unpacked_tar
from tellapart.errors import DataError
from tellapart.plain_data import refuse_bomb
from tellapart.regular_files import IrregularFileError, open_descriptor, open_file, require_regular
from tellapart.types import Problem

NPZ_ENDING = ".npz"  # a zip of NumPy arrays
_KIND_OF_ENDING = {
    ".zip": ZIP,
    ".tar": TAR,
    ".tar.gz": GZIP,
    ".tgz": GZIP,
    ".tar.bz2": BZIP2,
    ".tbz2": BZIP2,
    ".tar.xz": XZ,
    ".txz": XZ,
    ".tar.zst": ZSTD,
    ".tzst": ZSTD,
}
ARCHIVE_ENDINGS = tuple(_KIND_OF_ENDING)
REFUSED_ENDINGS = (".7z", ".rar")


class Member(NamedTuple):
    """One file inside an archive."""

    name: str  # with forward slashes
    size: int  # bytes, unpacked


class Archive(ABC):
    """An open archive. `read` may be called from several threads."""

    def __init__(self, path: str) -> None:
        self.path = path

    @abstractmethod
    def members(self) -> list[Member]:
        """All regular files, in archive order."""

    @abstractmethod
    def folders(self) -> list[str]:
        """Folders that the archive lists as such, empty ones too."""

    @abstractmethod
    def problems(self) -> list[Problem]:
        """Members that cannot be listed or read."""

    @abstractmethod
    def read(self, name: str, limit: int = -1) -> bytes:
        """The content of one member.

        Args:
            name: As in `members`.
            limit: Bytes to read at most; −1: all.

        Raises:
            KeyError: No such member.
            ValueError: The member cannot be unpacked.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the file."""


def open_archive(path: str) -> Archive:
    """Open a `.zip` or `.npz`, a `.tar`, or a compressed tar.

    Raises:
        DataError: Not an archive or of another kind than its name says, encrypted, or with members that point outside.
        SystemLimitError: The cache cannot hold a compressed tar.
    """
    ending = _ending(path)
    if ending in REFUSED_ENDINGS:
        raise DataError(f"{path}: {ending} archives are not read", hint=f"unpack it (7z x {path}) and give the folder")
    expected = _KIND_OF_ENDING.get(ending, ZIP)
    try:
        found = kind_of(path)
        if found is not None and found != expected:
            raise _misnamed(path, ending, expected, found)
        if expected == ZIP:
            return ZipArchive(path)
        return TarArchive(path, path if expected == TAR else unpacked_tar(path, expected))
    except IrregularFileError:
        raise
    except PermissionError as error:
        raise DataError(f"{path}: no permission to read it") from error
    except FileNotFoundError as error:
        raise DataError(f"{path} is gone") from error
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, ValueError, NotImplementedError, zlib.error) as error:
        raise DataError(f"{path}: not a readable archive ({error})", hint="is the download complete?") from error


def is_archive(path: str) -> bool:
    """Whether a path ends like an archive of files, one that is read or one that is refused.

    >>> [is_archive(path) for path in ("A.ZIP", "b.tar.gz", "c.7z", "d.npz", "e.gz")]
    [True, True, True, False, False]
    """
    return path.lower().endswith((*ARCHIVE_ENDINGS, *REFUSED_ENDINGS))


def _ending(path: str) -> str:
    known = (*ARCHIVE_ENDINGS, *REFUSED_ENDINGS, NPZ_ENDING)
    return max((ending for ending in known if path.lower().endswith(ending)), key=len, default="")


def _misnamed(path: str, ending: str, expected: FileKind, found: FileKind) -> DataError:
    """A file of another kind than its name says, with what to do about it."""
    right = path[: len(path) - len(ending)] + found.ending
    advice = found.advice or f"rename it to {right}"
    return DataError(f"{path}: expected {expected.words}, found a file that is {found.words}", hint=advice)


def is_safe(name: str) -> bool:
    """Whether a member or locator stays inside: neither absolute nor with `..` (slashes of either kind).

    >>> [is_safe(n) for n in ("a/b.png", "../b.png", "a/../../b.png", "/etc/x", "C:\\\\x.png", "a..b/c.png")]
    [True, False, False, False, False, True]
    """
    name = name.replace("\\", "/")
    return not (name.startswith("/") or name[1:3] == ":/" or ".." in name.split("/"))


_LARGEST_ARCHIVE = 1 << 50  # bytes: members are read one by one


@final
class ZipArchive(Archive):
    """A zip file; `zipfile` itself guards the shared file position."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        require_regular(path, _LARGEST_ARCHIVE)
        self._zip = zipfile.ZipFile(path)
        self._infos: dict[str, zipfile.ZipInfo] = {}
        self._problems: list[Problem] = []
        for info in self._zip.infolist():
            name = _decode_name(info)
            if name is None:
                self._problems.append(Problem("bad name", info.filename, _GARBLED))
                continue
            name = name.replace("\\", "/")  # zips made on Windows by old tools hold backslashes
            _check_member(path, name)
            if name in self._infos and not name.endswith("/"):
                self._problems.append(_repeated(name))
            self._infos[name] = info
            if info.flag_bits & 1:
                raise DataError(f"{path}: {name} is encrypted", hint="unpack the archive with its password first")

    def members(self) -> list[Member]:
        """All files."""
        return [Member(n, i.file_size) for n, i in self._infos.items() if not n.endswith("/")]

    def folders(self) -> list[str]:
        """Listed folders."""
        return [name.rstrip("/") for name in self._infos if name.endswith("/")]

    def problems(self) -> list[Problem]:
        """Names that cannot be decoded, and names that occur twice."""
        return list(self._problems)

    def read(self, name: str, limit: int = -1) -> bytes:
        """The content of one member; zipfile itself gives no more bytes than the directory states."""
        info = self._infos[name]
        if limit < 0:
            refuse_bomb(info.compress_size, info.file_size)
        try:
            with self._zip.open(info) as file:
                return file.read(limit)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise ValueError(f"cannot be unpacked ({error})") from error

    def close(self) -> None:
        """Release the file."""
        self._zip.close()


@final
class TarArchive(Archive):
    """A tar file.

    Args:
        path: The file, for messages.
        plain: The uncompressed tar to read: the file itself, or its unpacked form in the cache.
    """

    def __init__(self, path: str, plain: str) -> None:
        super().__init__(path)
        self._index = _tar_index(path, plain, FileState.of(Path(plain).stat()))
        self._descriptor = open_descriptor(plain)[0]

    def members(self) -> list[Member]:
        """All regular files."""
        return [Member(name, size) for name, (_, size) in self._index.files.items()]

    def folders(self) -> list[str]:
        """Listed folders."""
        return list(self._index.folders)

    def problems(self) -> list[Problem]:
        """Links to nowhere in the archive, devices, sparse files, and names that occur twice."""
        return list(self._index.problems)

    def read(self, name: str, limit: int = -1) -> bytes:
        """The content of one member."""
        offset, size = self._index.files[name]
        size = size if limit < 0 else min(size, limit)
        content = os.pread(self._descriptor, size, offset)
        while 0 < len(content) < size:  # one pread gives at most 2 GiB
            more = os.pread(self._descriptor, size - len(content), offset + len(content))
            if not more:
                break
            content += more
        if len(content) != size:
            raise ValueError(f"the archive ends early: {len(content)} of {size} bytes")
        return content

    def close(self) -> None:
        """Release the file."""
        os.close(self._descriptor)


class _TarIndex(NamedTuple):
    files: dict[str, tuple[int, int]]  # name → (offset, size) in bytes
    folders: tuple[str, ...]
    problems: tuple[Problem, ...]


class _Headers(io.BufferedReader):
    """A tar of which only headers are read: none has a mebibyte, whatever size it states."""

    def read(self, size: int | None = -1) -> bytes:
        """As of a file; `tarfile` would ask for the memory first."""
        if size is not None and size > _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header states {size:,} bytes")
        return super().read(size)


@lru_cache(maxsize=4)
def _tar_index(path: str, plain: str, state: FileState) -> _TarIndex:
    """Walk the headers once; `state` is there so that a changed file is walked again."""
    del state
    files: dict[str, tuple[int, int]] = {}
    folders: list[str] = []
    links: dict[str, str] = {}  # name → name of what it stands for, "" for what cannot be read
    problems: list[Problem] = []
    with _Headers(open_file(plain).detach()) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        for info in tar:
            name = info.name.removeprefix("./")
            _check_member(path, name)
            if info.isdir():
                folders.append(name)
            elif info.isreg() and not info.issparse():
                if name in files:
                    problems.append(_repeated(name))
                files[name] = (info.offset_data, info.size)
            elif info.islnk():
                links[name] = posixpath.normpath(info.linkname)
            else:
                links[name] = posixpath.normpath(f"{posixpath.dirname(name)}/{info.linkname}") if info.issym() else ""
            # tarfile keeps every header; a million of them would be a gigabyte.
            tar.members = []  # pyright: ignore[reportAttributeAccessIssue]
    files |= {name: files[target] for name, target in links.items() if target in files}
    problems += [Problem("missing file", name, _NO_FILE) for name in links if name not in files]
    return _TarIndex(files, tuple(folders), tuple(problems))


_LONGEST_HEADER = 1 << 20  # bytes
_NO_FILE = "is a link to nowhere in the archive, or not a regular file"
_GARBLED = "the archive does not say how this name is encoded, and it is not UTF-8: pack it again with UTF-8 names"
_UTF8_FLAG, _UNICODE_PATH = 0x800, 0x7075


def _repeated(name: str) -> Problem:
    return Problem("repeated name", name, "the archive holds two files of this name; the last of them is read")


def _decode_name(info: zipfile.ZipInfo) -> str | None:
    """The name of a zip's member; None when its encoding is unknown.

    `zipfile` reads a name as cp437 unless the flag says UTF-8. macOS writes UTF-8 without the flag, as unzip, 7z and bsdtar
    know. Info-ZIP writes the name once more, as UTF-8, into an extra field (PKWARE's APPNOTE.TXT, 4.6.9).
    """
    if info.flag_bits & _UTF8_FLAG or info.orig_filename.isascii():
        return info.filename
    raw = info.orig_filename.encode("cp437")
    for field in (_unicode_path(info.extra, raw), raw):
        try:
            if field is not None:
                return field.decode("utf-8")
        except UnicodeDecodeError:
            continue
    return None


def _unicode_path(extra: bytes, raw: bytes) -> bytes | None:
    """The UTF-8 name in the extra field of a member, if it belongs to the name beside it."""
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        if kind == _UNICODE_PATH and length > 5 and struct.unpack("<I", extra[5:9])[0] == zlib.crc32(raw):
            return extra[9 : 4 + length]
        extra = extra[4 + length :]
    return None


def _check_member(path: str, name: str) -> None:
    if not is_safe(name):
        raise DataError(
            f"{path}: the member {name!r} points outside the archive, so the archive is not trusted",
            hint="unpack it yourself into an empty folder, look at it, and give that folder",
        )
