"""From what a person names to a stream of images, none of which is read before its turn.

    a.jpg             a file, taken whatever its ending
    photos/           every file below with an image's ending, in the order of their names
    'photos/*.jpg'    a pattern, quoted so that the shell leaves it alone; ** reaches any depth
    test.csv          the images that a CSV or TSV names (`csv.py`)
    a.zip, a.tar      the images inside
    p.parquet         a table that holds the images themselves
    t10k-images-idx3-ubyte.gz    the images of an IDX file
    -                 standard input: names, one a line or one a NUL; or one encoded image (`stdin.py`)
    https://…         only where it is allowed (`http.py`)

Names are made as they are needed: of a folder one level at a time is held, of an archive its directory, of a table one row. So
ten million images need no more memory than ten, but for one folder that holds them all (about 100 bytes a name).
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import final

from tellapart.data.archives import ARCHIVE_ENDINGS, COMPRESSED_ENDINGS
from tellapart.data.layouts._csv import TABLE_ENDINGS
from tellapart.errors import DataError
from tellapart.inference.image_sources.base import (
    _GLOB,
    IDX_ENDINGS,
    PARQUET_ENDINGS,
    STANDARD_INPUT,
    URL_BEGINNINGS,
    USUAL_OPTIONS,
    FileSource,
    FolderSource,
    ImageRef,
    Source,
    SourceOptions,
    iter_items,
)


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
        return StandardInput(options, open_source)
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
