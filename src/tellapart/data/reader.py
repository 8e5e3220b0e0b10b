"""Encoded images by locator (`data/locator.py`), in any order, from wherever they lie.

A file, a member of an archive or a row of a parquet table gives bytes; a row of an IDX file gives (H, W) uint8, one of a NumPy
array (H, W) or (H, W, 3) uint8, one of the memory what lies there.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, final

import numpy as np

from tellapart.data.archives import Archive, is_safe, open_archive
from tellapart.data.layouts.idx import load_idx_images
from tellapart.data.layouts.numpy_arrays import load_array
from tellapart.data.locator import Locator, parse_locator
from tellapart.errors import DataError, ImageError
from tellapart.regular_files import LARGEST, LARGEST_IMAGE, IrregularFileError, read_bytes
from tellapart.types import ImageTable

_T = TypeVar("_T")
#: What to do where the images of a run are withheld.
NAME_IMAGES = "name their folder with --data DIR"
_KEPT_BYTES = 256 * 2**20  # of decoded parquet row groups


@final
class ImageReader:
    """Reads the encoded images of a table; open files and indices are kept until it is closed. Thread-safe.

    Args:
        table: The table; only `root`, `memory` and `withheld` are used.

    Example:
        >>> from tellapart.data.scan import from_arrays
        >>> table = from_arrays(np.zeros((2, 4, 4), np.uint8), ["a", "b"])
        >>> with ImageReader(table) as reader:
        ...     reader.get("memory#1").shape
        (4, 4)
    """

    def __init__(self, table: ImageTable) -> None:
        self._root = Path(table.root)
        self._memory, self._withheld = table.memory, table.withheld
        self._lock = threading.RLock()  # opening a parquet file in an archive opens the archive
        self._archives: dict[str, Archive] = {}
        self._arrays: dict[str, np.ndarray] = {}
        self._tables: dict[str, ParquetRows] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            for archive in self._archives.values():
                archive.close()
            self._archives.clear()
            self._arrays.clear()
            self._tables.clear()

    def get(self, locator: str) -> bytes | np.ndarray:
        """One image: encoded bytes, or an array where the data are bare pixels.

        Raises:
            ImageError: The file is gone, unreadable, or the locator points outside the root.
        """
        if self._withheld:
            raise ImageError(locator, self._withheld, hint=NAME_IMAGES)
        where = parse_locator(locator)
        if not (is_safe(where.archive) and is_safe(where.file)):
            raise ImageError(locator, f"points outside {self._root}")
        try:
            return self._read(where)
        except ImageError:
            raise
        except IrregularFileError as error:
            raise ImageError(locator, error.reason) from error
        except DataError as error:
            raise ImageError(locator, error.message, hint=error.hint) from error
        except (FileNotFoundError, NotADirectoryError, KeyError, IndexError) as error:
            raise ImageError(locator, "the file or row is gone", hint="scan the data again") from error
        except PermissionError as error:
            raise ImageError(locator, "no permission to read it") from error
        except (OSError, ValueError) as error:
            raise ImageError(locator, f"cannot be read ({error})") from error

    def _read(self, where: Locator) -> bytes | np.ndarray:
        if where.row is None:
            return self._content(where.archive, where.file, LARGEST_IMAGE)
        if where.file == "memory" and not where.archive:
            return self._memory[where.row]
        key = f"{where.archive}::{where.file}"
        if where.file.lower().endswith((".parquet", ".pq")):
            return self._kept(self._tables, key, lambda: self._parquet(where)).get(where.row)
        load = load_array if where.file.lower().endswith(".npy") else load_idx_images
        return self._kept(self._arrays, key, lambda: load(self._content(where.archive, where.file), key))[where.row]

    def _content(self, archive: str, file: str, limit: int = LARGEST) -> bytes:
        if not archive:
            return read_bytes(f"{self._root}/{file}", limit)
        path = str(self._root / archive)
        return self._kept(self._archives, archive, lambda: open_archive(path)).read(file)

    def _parquet(self, where: Locator) -> ParquetRows:
        inside = self._content(where.archive, where.file) if where.archive else self._root / where.file
        return ParquetRows(inside, where.file)

    def _kept(self, store: dict[str, _T], key: str, make: Callable[[], _T]) -> _T:
        """An open thing, opened once however many threads ask for it."""
        if key not in store:
            with self._lock:
                if key not in store:
                    store[key] = make()
        return store[key]


@final
class ParquetRows:
    """Images of one parquet file by row; the row groups used last are kept, up to a number of bytes."""

    def __init__(self, source: Path | bytes, path: str) -> None:
        from tellapart.data.layouts.parquet import image_column, open_parquet

        self._path = path
        self._file = open_parquet(source, path)
        self._column = image_column(self._file, path)
        rows = [self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)]
        self._ends = np.cumsum(rows)
        self._groups: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def get(self, row: int) -> bytes:
        """Encoded bytes of one row."""
        from tellapart.data.layouts.parquet import row_group_images

        group = int(np.searchsorted(self._ends, row, side="right"))
        if group >= len(self._ends):
            raise IndexError(row)
        with self._lock:
            if group not in self._groups:
                self._groups[group] = row_group_images(self._file, self._column, group, self._path)
            self._groups.move_to_end(group)
            while len(self._groups) > 1 and sum(g.nbytes for g in self._groups.values()) > _KEPT_BYTES:
                self._groups.popitem(last=False)
            values = self._groups[group]
        value = values[row - (int(self._ends[group - 1]) if group else 0)].as_py()
        if value is None:
            raise ValueError("the row holds no image")
        return value
