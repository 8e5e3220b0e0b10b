"""Resolve names on the command line to a stream of images, which are read lazily.

    a.jpg             a file, whatever its extension
    photos/           every file below with the extension of an image, sorted by name
    'photos/*.jpg'    a pattern, quoted so that the shell does not expand it; ** matches any depth
    test.csv          the images named in a CSV or TSV (`csv.py`)
    a.zip, a.tar.gz   the images inside; every kind of archive that `data.archives` reads
    p.parquet         a table that holds the images themselves
    t10k-images-idx3-ubyte.gz    the images of an IDX file
    -                 standard input: names, one a line or one a NUL; or one encoded image (`stdin.py`)
    https://…         only if allowed (`http.py`)

Sources list their images lazily: a folder one level at a time, an archive by its directory, a table row by row. Memory holds
one name (about 100 bytes) for each image of a folder or archive, not the images.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import final

from tellapart.data.archives import is_archive
from tellapart.data.folder_walk import path_kind
from tellapart.data.layouts._csv import TABLE_ENDINGS
from tellapart.errors import DataError
from tellapart.inference.image_sources.base import (
    _GLOB,
    DEFAULT_OPTIONS,
    IDX_ENDINGS,
    PARQUET_ENDINGS,
    STANDARD_INPUT,
    URL_BEGINNINGS,
    FileSource,
    FolderSource,
    ImageRef,
    Source,
    SourceOptions,
    iter_items,
)


@final
class GlobSource(FileSource):
    """All paths that match a pattern, each as if it had been named."""

    def __init__(self, pattern: str, options: SourceOptions) -> None:
        self._pattern, self._options = pattern, options
        self._recursive = "**" in pattern  # ** also matches the folders, whose files it matches anyway

    def items(self) -> Iterator[ImageRef | Source]:
        """See `Source`."""
        for path in sorted(glob.glob(self._pattern, recursive=True)):  # noqa: PTH207 (Path.glob takes no absolute pattern)
            if not (self._recursive and os.path.isdir(path)):  # noqa: PTH112
                yield from iter_items(open_source(path, self._options))


def open_sources(named: Sequence[str | Path], options: SourceOptions = DEFAULT_OPTIONS) -> list[Source]:
    """The sources of some names. No image is read yet.

    Args:
        named: Names as in the list above.
        options: Options for resolving names.

    Raises:
        DataError: A name does not exist or cannot be read; a URL while URLs are not allowed.
    """
    if not named:
        raise DataError("no image was named", hint="name image files, folders, archives or tables")
    if sum(str(one) == STANDARD_INPUT for one in named) > 1:
        raise DataError("standard input (-) is named twice", hint="name it once")
    return [open_source(str(one), options) for one in named]


def open_source(name: str, options: SourceOptions = DEFAULT_OPTIONS) -> Source:
    """The source of one name. Arguments and errors as of `open_sources`."""
    from tellapart.inference.image_sources.http import HttpSource
    from tellapart.inference.image_sources.stdin import StandardInput

    if name == STANDARD_INPUT:
        return StandardInput(options, open_source)
    if name.lower().startswith(URL_BEGINNINGS):
        return HttpSource(name, options.allow_urls)
    path, kind = Path(name), path_kind(name)
    if kind == "folder":
        return FolderSource(path)
    if kind != "file":
        return _pattern(name, options)
    return _container(path, options) or FolderSource(path)


def _container(path: Path, options: SourceOptions) -> Source | None:
    """The source of a file that holds or names images; None for an image file."""
    from tellapart.inference.image_sources.containers import ArchiveSource, RowSource
    from tellapart.inference.image_sources.csv import CsvSource

    name = path.name.lower()
    if is_archive(name):
        return ArchiveSource(path)
    if name.endswith((*PARQUET_ENDINGS, *IDX_ENDINGS)):
        return RowSource(path)
    return CsvSource(path, options) if name.endswith(TABLE_ENDINGS) else None


def _pattern(name: str, options: SourceOptions) -> Source:
    if not _GLOB.isdisjoint(name):
        if next(glob.iglob(name, recursive=True), None) is None:  # noqa: PTH207
            raise DataError(f"{name}: no file matches this pattern")
        return GlobSource(name, options)
    if os.path.lexists(name):
        raise DataError(f"{name}: expected a file or a folder, found a broken link or a special file")
    raise DataError(f"{name}: no such file or folder", hint="name image files, folders, archives or tables")
