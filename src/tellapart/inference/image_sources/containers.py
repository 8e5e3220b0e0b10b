"""Images inside other files: archives, parquet tables, IDX files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, final

import numpy as np

from tellapart.data.layouts.idx import load_idx_images
from tellapart.data.listing import Listing, list_archive
from tellapart.errors import DataError, ImageError
from tellapart.inference.image_sources.base import PARQUET_ENDINGS, ImageRef, Source
from tellapart.regular_files import LARGEST_IMAGE, read_bytes


@final
class ArchiveSource(Source):
    """The images in a .zip or .tar; the key is a position in its listing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: Listing | None = None

    @property
    def _listing(self) -> Listing:
        if self._opened is None:
            self._opened = list_archive(os.path.abspath(self._path))  # noqa: PTH100
        return self._opened

    def items(self) -> Iterator[ImageRef]:
        """See `Source`."""
        for row in np.flatnonzero(self._listing.is_image).tolist():
            yield ImageRef(f"{self._path}::{self._listing.paths[row]}", self, row)

    def read(self, name: str, key: Any) -> bytes:
        """See `Source`."""
        return read_listed(self._listing, name, key)

    def close(self) -> None:
        """See `Source`."""
        if self._opened is not None and self._opened.archive is not None:
            self._opened.archive.close()
        self._opened = None


@final
class RowSource(Source):
    """The images in a parquet or an IDX file; the key is a row."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: Any = None

    @property
    def _rows(self) -> Any:
        """(number of rows, row → image)."""
        if self._opened is None:
            is_parquet = self._path.name.lower().endswith(PARQUET_ENDINGS)
            self._opened = _parquet_rows(self._path) if is_parquet else _idx_rows(self._path)
        return self._opened

    def items(self) -> Iterator[ImageRef]:
        """See `Source`."""
        return (ImageRef(f"{self._path}#{row}", self, row) for row in range(self._rows[0]))

    def count(self) -> int:
        """See `Source`."""
        return self._rows[0]

    def read(self, name: str, key: Any) -> bytes | np.ndarray:
        """See `Source`."""
        try:
            return self._rows[1](key)
        except DataError as error:
            raise ImageError(name, error.message) from error
        except (OSError, ValueError) as error:
            raise ImageError(name, str(error)) from error

    def close(self) -> None:
        """See `Source`."""
        self._opened = None


def read_listed(listing: Listing, name: str, row: int) -> bytes:
    """One file of a listing.

    Raises:
        ImageError: The image cannot be read.
    """
    if listing.sizes[row] > LARGEST_IMAGE:
        raise ImageError(name, f"is larger than {LARGEST_IMAGE >> 20:,} MiB")
    try:
        return listing.read(row)
    except DataError as error:
        raise ImageError(name, error.message) from error


def _parquet_rows(path: Path) -> tuple[int, Callable[[int], bytes]]:
    """(number of rows, row → image); one row group is held at a time, or as many as fit into 256 MiB."""
    from tellapart.data.reader import ParquetRows

    rows = ParquetRows(path, str(path))
    return len(rows), rows.get


def _idx_rows(path: Path) -> tuple[int, Callable[[int], np.ndarray]]:
    try:
        images = load_idx_images(read_bytes(path), str(path))
    except PermissionError as error:
        raise DataError(f"{path}: no permission to read it") from error
    return len(images), images.__getitem__
