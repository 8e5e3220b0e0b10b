"""From what a person names to a stream of images, none of which is read before its turn.

    a.jpg             a file, taken whatever its ending
    photos/           every file below with an image's ending, in the order of their names
    'photos/*.jpg'    a pattern, quoted so that the shell leaves it alone; ** reaches any depth
    test.csv          the images that a CSV or TSV names (`_tables.py`)
    a.zip, a.tar      the images inside
    p.parquet         a table that holds the images themselves
    t10k-images-idx3-ubyte.gz    the images of an IDX file
    -                 standard input: names, one a line or one a NUL; or one encoded image (`_standard_input.py`)
    https://…         only where it is allowed (`_urls.py`)

Names are made as they are needed: of a folder one level at a time is held, of an archive its directory, of a table one row. So
ten million images need no more memory than ten, but for one folder that holds them all (about 100 bytes a name).
"""

from __future__ import annotations

import glob
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from tellapart.data.archives import ARCHIVE_ENDINGS, COMPRESSED_ENDINGS
from tellapart.data.layouts.table import TABLE_ENDINGS
from tellapart.data.listing import IMAGE_ENDINGS, ending_of, is_skipped
from tellapart.errors import DataError, ImageError

IDX_ENDINGS = ("ubyte", "ubyte.gz")
PARQUET_ENDINGS = (".parquet", ".pq")
URL_BEGINNINGS = ("http://", "https://")
STANDARD_INPUT = "-"
#: Bytes of one encoded image, at most. A photograph has some millions; what is larger is a video or a mistake.
LARGEST = 2**30
_GLOB = frozenset("*?[")


@dataclass(frozen=True)
class SourceOptions:
    """How names are understood.

    Attributes:
        images: Folder or archive in which the ids of a table are found; None: beside it.
        id_column: Column of a table that names the images; None: found by its name.
        allow_urls: Whether http:// and https:// may be fetched.
    """

    images: Path | None = None
    id_column: str | None = None
    allow_urls: bool = False


USUAL_OPTIONS = SourceOptions()


@dataclass(frozen=True, eq=False)
class ImageRef:
    """One image that is asked for.

    Attributes:
        name: As the answers call it.
        source: What reads it.
        key: What `source.read` wants to know.
        reason: Why it cannot be read, where that is known beforehand; else "".
    """

    name: str
    source: Source
    key: Any = None
    reason: str = ""

    def read(self) -> bytes | np.ndarray:
        """The encoded file, or (H, W) uint8 of an IDX file.

        Raises:
            ImageError: It cannot be read.
        """
        if self.reason:
            raise ImageError(self.name, self.reason)
        return self.source.read(self.name, self.key)


class Source(ABC):
    """Something that images come from."""

    @abstractmethod
    def items(self) -> Iterator[ImageRef | Source]:
        """The images, in an order that is the same every time; between them sources that nothing more will come from.

        Raises:
            DataError: It is damaged as a whole.
        """

    @abstractmethod
    def read(self, name: str, key: Any) -> bytes | np.ndarray:
        """One image. Several threads may ask.

        Raises:
            ImageError: It cannot be read.
        """

    def count(self) -> int | None:
        """How many images there are, for a bar; None where that is not known before they were all read."""
        return sum(isinstance(one, ImageRef) for one in self.items())

    def close(self) -> None:  # noqa: B027 (most hold nothing)
        """Release files."""


class FileSource(Source):
    """Images that are files of their own; a key is a path."""

    def read(self, name: str, key: Any) -> bytes:
        """See `Source`."""
        try:
            with open(key, "rb") as file:  # noqa: PTH123 (a Path here costs half of the read)
                if os.fstat(file.fileno()).st_size > LARGEST:
                    raise ImageError(name, f"is larger than {LARGEST >> 20:,} MiB")
                return file.read()
        except FileNotFoundError:
            raise ImageError(name, "no such file") from None
        except PermissionError:
            raise ImageError(name, "no permission to read it") from None
        except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
            raise ImageError(name, f"cannot be read ({error})") from None


@final
class FolderSource(FileSource):
    """A file, or all images below a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def items(self) -> Iterator[ImageRef]:
        """See `Source`; a folder that is linked into itself is entered once."""
        return self._below(str(self._path), frozenset()) if self._path.is_dir() else iter([self._item(str(self._path))])

    def _below(self, folder: str, above: frozenset[tuple[int, int]]) -> Iterator[ImageRef]:
        status = os.stat(folder)  # noqa: PTH116 (a Path here costs more than the call)
        if (status.st_dev, status.st_ino) in above:
            return
        above |= {(status.st_dev, status.st_ino)}
        for name, is_folder in self._entries(folder):
            path = name if folder == "." else f"{folder.rstrip('/')}/{name}"
            if is_folder:
                yield from self._below(path, above)
            elif ending_of(name) in IMAGE_ENDINGS:
                yield self._item(path)

    def _entries(self, folder: str) -> list[tuple[str, bool]]:
        """(name, is a folder), by name; hidden ones and those of the system are left out."""
        try:
            with os.scandir(folder) as entries:
                return sorted((entry.name, entry.is_dir()) for entry in entries if not is_skipped(entry.name))
        except PermissionError as error:
            hint = "make it readable, or name other folders"
            raise DataError(f"{folder}: no permission to list this folder", hint=hint) from error

    def _item(self, path: str) -> ImageRef:
        shown = path if path.isascii() else path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return ImageRef(shown, self, path, "" if shown == path else "the name is not valid UTF-8: rename it")


@final
class GlobSource(FileSource):
    """Everything that a pattern fits, each as if it had been named."""

    def __init__(self, pattern: str, options: SourceOptions) -> None:
        self._pattern, self._options = pattern, options
        self._recursive = "**" in pattern  # ** fits the folders on the way, too, whose files it fits anyway

    def items(self) -> Iterator[ImageRef | Source]:
        """See `Source`."""
        for path in sorted(glob.glob(self._pattern, recursive=True)):  # noqa: PTH207 (Path.glob knows no absolute pattern)
            if not (self._recursive and os.path.isdir(path)):  # noqa: PTH112
                yield from iter_items(open_source(path, self._options))


def iter_items(source: Source) -> Iterator[ImageRef | Source]:
    """The images of a source, then, if there is something to close, the source itself."""
    yield from source.items()
    if not isinstance(source, FolderSource):
        yield source


def open_sources(named: Sequence[str | Path], options: SourceOptions = USUAL_OPTIONS) -> list[Source]:
    """What is named, understood; nothing is read yet but what lies there.

    Args:
        named: As above.
        options: How names are understood.

    Raises:
        DataError: Something does not exist, or is of a kind that cannot be read; URLs are not allowed.
    """
    if not named:
        raise DataError("no image was named", hint="name image files, folders, archives or tables of them")
    if sum(str(one) == STANDARD_INPUT for one in named) > 1:
        raise DataError("standard input (-) is named twice", hint="it can be read once")
    return [open_source(str(one), options) for one in named]


def open_source(name: str, options: SourceOptions = USUAL_OPTIONS) -> Source:
    """One thing that was named. Arguments and errors as of `open_sources`."""
    from tellapart.inference.image_sources.http import HttpSource
    from tellapart.inference.image_sources.stdin import StandardInput

    if name == STANDARD_INPUT:
        return StandardInput(options)
    if name.lower().startswith(URL_BEGINNINGS):
        return HttpSource(name, options.allow_urls)
    path = Path(name)
    if path.is_dir():
        return FolderSource(path)
    if not path.is_file():
        return _pattern(name, options)
    return _container(path, options) or FolderSource(path)


def _container(path: Path, options: SourceOptions) -> Source | None:
    """A file that holds or names images; None of one that is an image."""
    from tellapart.inference.image_sources.containers import ArchiveSource, RowSource
    from tellapart.inference.image_sources.csv import CsvSource

    name = path.name.lower()
    if name.endswith((*ARCHIVE_ENDINGS, *COMPRESSED_ENDINGS)):  # the compressed are refused in words when they are opened
        return ArchiveSource(path)
    if name.endswith((*PARQUET_ENDINGS, *IDX_ENDINGS)):
        return RowSource(path)
    return CsvSource(path, options) if name.endswith(TABLE_ENDINGS) else None


def _pattern(name: str, options: SourceOptions) -> Source:
    if not _GLOB.isdisjoint(name):
        if next(glob.iglob(name, recursive=True), None) is None:  # noqa: PTH207
            raise DataError(f"{name}: no file fits this pattern")
        return GlobSource(name, options)
    if os.path.lexists(name):
        raise DataError(f"{name}: neither a file nor a folder, or a link to nowhere")
    raise DataError(f"{name}: no such file or folder", hint="name image files, or folders, archives or tables of them")
