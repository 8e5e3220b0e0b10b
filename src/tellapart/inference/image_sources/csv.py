"""The images named in a CSV or TSV, read row by row: the table is never held as a whole.

An id is a path relative to the table's folder (or to `images`), or an absolute path. Any other id is looked up as `scan` does:
without extension, by file name, in any folder below. The files are listed when the first such id comes.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, final

from tellapart.data.archives import ARCHIVE_ENDINGS
from tellapart.data.layouts._columns import detect_columns
from tellapart.data.layouts._csv import read_text_table, separator_line
from tellapart.data.layouts._id_lookup import AMBIGUOUS, FileFinder
from tellapart.data.layouts.base import ColumnOptions
from tellapart.data.listing import Listing, list_archive, list_folder
from tellapart.errors import DataError
from tellapart.inference.image_sources.base import URL_BEGINNINGS, FileSource, ImageRef, Source, SourceOptions
from tellapart.inference.image_sources.containers import read_listed
from tellapart.inference.image_sources.http import HttpSource
from tellapart.regular_files import open_file
from tellapart.spreadsheet import unguard

_AT_ONCE = 1024  # ids looked up together


@final
class CsvSource(FileSource):
    """The images named in a table; the key is a path, or a row of the listing."""

    def __init__(self, path: Path, options: SourceOptions) -> None:
        self._path, self._options = path, options
        self._where = os.path.abspath(options.images or path.absolute().parent)  # noqa: PTH100
        self._opened: tuple[Listing, FileFinder] | None = None
        self._is_folder = os.path.isdir(self._where)  # noqa: PTH112
        if not self._is_folder and not (os.path.isfile(self._where) and self._where.lower().endswith(ARCHIVE_ENDINGS)):  # noqa: PTH113
            raise DataError(f"--images {options.images}: expected a folder, a .zip or a .tar of the images of {path}")

    def items(self) -> Iterator[ImageRef | Source]:
        """See `Source`. An id that matches no image, or several, is an image that cannot be read.

        Raises:
            DataError: The table is damaged, or it is not clear which column names the images.
        """
        rows = self._rows()
        while some := list(islice(rows, _AT_ONCE)):
            yield from self._resolve(some)

    def read(self, name: str, key: Any) -> bytes:
        """See `Source`."""
        return read_listed(self._tree()[0], name, key) if isinstance(key, int) else super().read(name, key)

    def close(self) -> None:
        """See `Source`."""
        if self._opened is not None and self._opened[0].archive is not None:
            self._opened[0].archive.close()
        self._opened = None

    def _tree(self) -> tuple[Listing, FileFinder]:
        """All files in the folder or archive of the images, listed on first use."""
        if self._opened is None:
            listing = list_folder(self._where) if self._is_folder else list_archive(self._where)
            self._opened = listing, FileFinder(listing)
        return self._opened

    def _resolve(self, rows: list[tuple[int, str]]) -> Iterator[ImageRef | Source]:
        """The images of some rows (line, id)."""
        paths = [self._direct(name) for _, name in rows]
        lost = [row for (_, row), path in zip(rows, paths, strict=True) if path is None and row]
        files, several = self._tree()[1].find(lost, ["test"] * len(lost)) if lost else ((), {})
        searched = iter(range(len(lost)))
        for (line, name), path in zip(rows, paths, strict=True):
            if name.lower().startswith(URL_BEGINNINGS):
                yield from HttpSource(name, self._options.allow_urls).items()
            elif path is not None:
                yield ImageRef(name, self, path)
            elif not name:
                yield ImageRef(f"{self._path}:{line}", self, None, "the cell of the image id is empty")
            else:
                at = next(searched)
                yield self._item(line, name, int(files[at]), several.get(at, []))

    def _item(self, line: int, name: str, row: int, several: list[str]) -> ImageRef:
        if row >= 0:
            return ImageRef(name, self, row)
        reason = f"ambiguous: {' and '.join(several[:3])}" if row == AMBIGUOUS else f"no such image in {self._where}"
        return ImageRef(name, self, None, f"{reason} ({self._path}:{line})")

    def _direct(self, name: str) -> str | None:
        """The path of an id that is an existing path, without listing the folder; "" for a URL."""
        if name.lower().startswith(URL_BEGINNINGS):
            return ""
        path = f"{self._where}/{name}" if not name.startswith("/") else name
        return path if name and self._is_folder and os.path.isfile(path) else None  # noqa: PTH113

    def _rows(self) -> Iterator[tuple[int, str]]:
        """(line, id) of every row that is not blank."""
        try:
            with self._text() as text:
                yield from self._cells(text)
        except UnicodeDecodeError as error:
            raise DataError(f"{self._path}: not UTF-8 text", hint="save the table as CSV UTF-8") from error
        except csv.Error as error:
            raise DataError(f"{self._path}: not a table ({error})", hint="check for a missing quote or separator") from error
        except PermissionError as error:
            raise DataError(f"{self._path}: no permission to read it") from error

    def _text(self) -> io.TextIOWrapper:
        file = open_file(self._path)
        start = file.read(2)
        file.seek(0)
        encoding = "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        return io.TextIOWrapper(file, encoding=encoding, newline="")

    def _cells(self, text: io.TextIOWrapper) -> Iterator[tuple[int, str]]:
        skipped, separator, head = 0, "", text.readline()
        while head and (not head.strip() or separator_line(head.strip("\r\n"))):
            skipped, separator, head = skipped + 1, separator + head, text.readline()
        known = read_text_table((separator + head).encode(), str(self._path), header_only=True)
        column = detect_columns(known, ColumnOptions(self._options.id_column), needs_label=False).id
        place, width = known.names.index(column), len(known.names)
        reader = csv.reader(text, delimiter=known.delimiter, strict=True)
        for row in reader:
            line = skipped + 1 + reader.line_num
            if len(row) > width:
                raise DataError(f"{self._path}:{line}: expected {width} cells, found {len(row)}")
            if any(row):
                yield line, unguard(row[place]) if place < len(row) else ""
