"""The members of a `.zip` or `.tar`, read in any order without unpacking.

A zip carries a directory at its end. A tar has none: its headers are walked once, then each member is one `os.pread`
from a known offset. A compressed tar has no random access and is refused.
"""

from __future__ import annotations

import os
import posixpath
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, final

from tellapart.data.digest_store import FileState
from tellapart.errors import DataError

ARCHIVE_ENDINGS = (".zip", ".tar")
COMPRESSED_ENDINGS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".7z", ".rar")


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

    def links(self) -> list[str]:
        """Members that are links to nowhere in the archive, or of a kind that cannot be read."""
        return []

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The content of one member.

        Raises:
            KeyError: No such member.
            ValueError: The member cannot be unpacked.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the file."""


def open_archive(path: str) -> Archive:
    """Open a `.zip` or `.tar`.

    Raises:
        DataError: Not an archive, compressed as a whole, encrypted, or with members that point outside.
    """
    lower = path.lower()
    if lower.endswith(COMPRESSED_ENDINGS):
        raise DataError(
            f"{path}: a compressed archive cannot be read in any order",
            hint=f"decompress it first (for example: {_unpack_command(path)}) and give the result",
        )
    try:
        return ZipArchive(path) if lower.endswith(".zip") else TarArchive(path)
    except PermissionError as error:
        raise DataError(f"{path}: no permission to read it") from error
    except FileNotFoundError as error:
        raise DataError(f"{path} is gone") from error
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, ValueError, NotImplementedError, zlib.error) as error:
        raise DataError(f"{path}: not a readable archive ({error})", hint="is the download complete?") from error


def is_safe(name: str) -> bool:
    """Whether a member or locator stays inside: neither absolute nor with `..` (slashes of either kind).

    >>> [is_safe(n) for n in ("a/b.png", "../b.png", "a/../../b.png", "/etc/x", "C:\\\\x.png", "a..b/c.png")]
    [True, False, False, False, False, True]
    """
    name = name.replace("\\", "/")
    return not (name.startswith("/") or name[1:3] == ":/" or ".." in name.split("/"))


_LARGE = 64 << 20  # bytes: what is smaller does no harm
_BOMB = 200  # × its packed size; photographs hardly shrink, tables some 10 ×, deflate can do 1,032 ×


@final
class ZipArchive(Archive):
    """A zip file; `zipfile` itself guards the shared file position."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._zip = zipfile.ZipFile(path)
        # Zips made on Windows by old tools hold backslashes.
        self._infos = {info.filename.replace("\\", "/"): info for info in self._zip.infolist()}
        for name, info in self._infos.items():
            _check_member(path, name)
            if info.flag_bits & 1:
                raise DataError(f"{path}: {name} is encrypted", hint="unpack the archive with its password first")

    def members(self) -> list[Member]:
        """All files."""
        return [Member(n, i.file_size) for n, i in self._infos.items() if not n.endswith("/")]

    def folders(self) -> list[str]:
        """Listed folders."""
        return [name.rstrip("/") for name in self._infos if name.endswith("/")]

    def read(self, name: str) -> bytes:
        """The content of one member; zipfile itself gives no more bytes than the directory states."""
        info = self._infos[name]
        if info.file_size > max(_LARGE, _BOMB * info.compress_size):
            raise ValueError(f"{info.compress_size:,} bytes that unpack to {info.file_size:,}: a decompression bomb?")
        try:
            return self._zip.read(info)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise ValueError(f"cannot be unpacked ({error})") from error

    def close(self) -> None:
        """Release the file."""
        self._zip.close()


@final
class TarArchive(Archive):
    """An uncompressed tar file."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._index = _tar_index(path, FileState.of(Path(path).stat()))
        self._descriptor = os.open(path, os.O_RDONLY)

    def members(self) -> list[Member]:
        """All regular files."""
        return [Member(name, size) for name, (_, size) in self._index.files.items()]

    def folders(self) -> list[str]:
        """Listed folders."""
        return list(self._index.folders)

    def links(self) -> list[str]:
        """Links to nowhere in the archive, devices, sparse files."""
        return list(self._index.links)

    def read(self, name: str) -> bytes:
        """The content of one member."""
        offset, size = self._index.files[name]
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
    links: tuple[str, ...]


@lru_cache(maxsize=4)
def _tar_index(path: str, state: FileState) -> _TarIndex:
    """Walk the headers once; `state` is there so that a changed file is walked again."""
    del state
    files: dict[str, tuple[int, int]] = {}
    folders: list[str] = []
    links: dict[str, str] = {}  # name → name of what it stands for, "" for what cannot be read
    with tarfile.open(path, mode="r:") as tar:
        for info in tar:
            name = info.name.removeprefix("./")
            _check_member(path, name)
            if info.isdir():
                folders.append(name)
            elif info.isreg() and not info.issparse():
                files[name] = (info.offset_data, info.size)
            elif info.islnk():
                links[name] = posixpath.normpath(info.linkname)
            else:
                links[name] = posixpath.normpath(f"{posixpath.dirname(name)}/{info.linkname}") if info.issym() else ""
            # tarfile keeps every header; a million of them would be a gigabyte.
            tar.members = []  # pyright: ignore[reportAttributeAccessIssue]
    files |= {name: files[target] for name, target in links.items() if target in files}
    return _TarIndex(files, tuple(folders), tuple(name for name in links if name not in files))


def _check_member(path: str, name: str) -> None:
    if not is_safe(name):
        raise DataError(
            f"{path}: the member {name!r} points outside the archive, so the archive is not trusted",
            hint="unpack it yourself into an empty folder, look at it, and give that folder",
        )


def _unpack_command(path: str) -> str:
    lower = path.lower()
    if lower.endswith((".7z", ".rar")):
        return f"7z x {path}"
    if lower.endswith((".gz", ".tgz")):
        return f"gunzip {path}"
    return f"tar xf {path}"
