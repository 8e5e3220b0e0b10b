"""Sources of images: the base class, image files, folders, and each name once over several sources."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from tellapart.data.folder_walk import readable_name, walk_images
from tellapart.errors import ImageError
from tellapart.regular_files import LARGEST_IMAGE, IrregularFileError, read_bytes

IDX_ENDINGS = ("ubyte", "ubyte.gz")
PARQUET_ENDINGS = (".parquet", ".pq")
URL_BEGINNINGS = ("http://", "https://")
STANDARD_INPUT = "-"
_GLOB = frozenset("*?[")


@dataclass(frozen=True)
class SourceOptions:
    """Options for resolving the names of images.

    Attributes:
        images: Folder or archive that holds the images of a table; None: the folder of the table.
        id_column: Column of a table that names the images; None: detected by its name.
        allow_urls: Whether http:// and https:// may be fetched.
    """

    images: Path | None = None
    id_column: str | None = None
    allow_urls: bool = False


DEFAULT_OPTIONS = SourceOptions()


@dataclass(frozen=True, eq=False)
class ImageRef:
    """One image that is read later.

    Attributes:
        name: Name of the image in the predictions.
        source: The source that reads it.
        key: Argument of `source.read`.
        reason: Why it cannot be read, if that is known beforehand; else "".
    """

    name: str
    source: Source
    key: Any = None
    reason: str = ""

    def read(self) -> bytes | np.ndarray:
        """The encoded file, or (H, W) uint8 of an IDX file.

        Raises:
            ImageError: The image cannot be read.
        """
        if self.reason:
            raise ImageError(self.name, self.reason)
        return self.source.read(self.name, self.key)


class Source(ABC):
    """Something that yields images."""

    @abstractmethod
    def items(self) -> Iterator[ImageRef | Source]:
        """The images, in an order that is the same every time; among them sources that are exhausted and can be closed.

        Raises:
            DataError: The source as a whole is damaged.
        """

    @abstractmethod
    def read(self, name: str, key: Any) -> bytes | np.ndarray:
        """Read one image. Thread-safe.

        Raises:
            ImageError: The image cannot be read.
        """

    def count(self) -> int | None:
        """Number of images, for a progress bar; None if it is only known after all were read."""
        return sum(isinstance(one, ImageRef) for one in self.items())

    def close(self) -> None:  # noqa: B027 (most hold none)
        """Release open files."""


class FileSource(Source):
    """Images that are files; the key is a path."""

    def read(self, name: str, key: Any) -> bytes:
        """See `Source`."""
        try:
            return read_bytes(key, LARGEST_IMAGE)
        except IrregularFileError as error:
            raise ImageError(name, error.reason) from None
        except FileNotFoundError:
            raise ImageError(name, "no such file") from None
        except PermissionError:
            raise ImageError(name, "no permission to read it") from None
        except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
            raise ImageError(name, f"cannot be read ({error})") from None


@final
class FolderSource(FileSource):
    """One file, or all images below a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def items(self) -> Iterator[ImageRef]:
        """See `Source`; the folder is walked as `data.folder_walk.walk` does for every command."""
        path = str(self._path)
        listed = walk_images(path) if self._path.is_dir() else iter([(path, "")])
        return (self._item(name, reason) for name, reason in listed)

    def _item(self, path: str, reason: str) -> ImageRef:
        shown, bad = (path, "") if path.isascii() else readable_name(path)
        return ImageRef(shown, self, path, reason or bad)


def iter_items(source: Source) -> Iterator[ImageRef | Source]:
    """The images of a source, then the source itself if there is something to close."""
    yield from source.items()
    if not isinstance(source, FolderSource):
        yield source


@final
class UniqueImages:
    """The images of several sources, each name once, and the sources to close.

    All names are held in memory: about 100 bytes each at 30 characters, so 106 MiB for a million.

    Attributes:
        duplicates: Number of images omitted so far because their name is repeated.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        self._sources, self.duplicates = sources, 0

    def __iter__(self) -> Iterator[ImageRef | Source]:
        seen: set[str] = set()
        for source in self._sources:
            for item in iter_items(source):
                if isinstance(item, ImageRef):
                    if item.name in seen:
                        self.duplicates += 1
                        continue
                    seen.add(item.name)
                yield item


def count_images(sources: Sequence[Source]) -> int | None:
    """Number of images of all sources, for a progress bar; None if the number of one of them is unknown."""
    total = 0
    for source in sources:
        count = source.count()
        if count is None:
            return None
        total += count
    return total
