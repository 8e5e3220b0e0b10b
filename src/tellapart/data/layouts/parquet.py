"""Parquet tables that hold the images themselves, as Hugging Face writes them: `image{bytes, path}` and `label`.

The schema may carry the class names (its "huggingface" entry); file names tell the split
(`train-00000-of-00001.parquet`).
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tellapart.data.layouts._aliases import parse_split
from tellapart.data.layouts._columns import (
    LABEL_COLUMNS,
    further_columns,
    given_cells,
    group_column,
    label_column,
    named_columns,
    no_such_column,
    optional_column,
)
from tellapart.data.layouts._labels import label_cells, no_single_label, read_labels
from tellapart.data.layouts._split_columns import read_splits
from tellapart.data.layouts.base import Claim, ColumnOptions, Layout, LayoutOptions, LayoutRows
from tellapart.data.listing import Listing
from tellapart.errors import DataError
from tellapart.plain_data import read_column
from tellapart.regular_files import checked
from tellapart.types import UNLABELED, Problem

PARQUET_ENDINGS = (".parquet", ".pq")
_IMAGE_COLUMNS = ("image", "img", "images", "picture")
_EMBED = (
    "embed the images when the file is written (in `datasets`: embed_external_files=True), or write the paths and labels into "
    "a CSV and give it with --images DIR"
)


@final
class Parquet(Layout):
    """Parquet files with a column of encoded images, and no image files beside them."""

    def claims(self, listing: Listing, options: LayoutOptions) -> Claim | None:
        """See `Layout`."""
        rows = _parquet_rows(listing)
        if not rows or listing.is_image.any():
            return None
        return Claim(0.7, f"{listing.paths[rows[0]]} is a parquet file, and there are no image files.")

    def read(self, listing: Listing, options: LayoutOptions) -> LayoutRows:
        """See `Layout`."""
        return read_parquet(_parquet_rows(listing), listing, options.columns)


def _parquet_rows(listing: Listing) -> list[int]:
    return np.flatnonzero(np.isin(listing.endings, PARQUET_ENDINGS)).tolist()


def read_parquet(rows: list[int], listing: Listing, choices: ColumnOptions) -> LayoutRows:
    """Rows of parquet files, in file order. The image bytes are measured, not decoded.

    Raises:
        DataError: Not parquet, no column of images, no column of labels in the training part, a cell that is no label.
    """
    parts = [_Part(row, listing, choices) for row in rows]
    if not any(part.sizes.any() for part in parts):
        raise _no_images(parts)
    stems = [part.stem for part in parts]
    if len(set(stems)) < len(stems):
        stems = [listing.paths[row].rpartition(".")[0] for row in rows]
    keep = [np.flatnonzero(part.sizes > 0) for part in parts]
    if choices.group and not any(choices.group in part.names for part in parts):
        raise no_such_column(parts[0], "--group", choices.group)
    locators = [f"{part.locator}#{row}" for part, k in zip(parts, keep, strict=True) for row in k.tolist()]
    split = np.concatenate([part.splits.split[k] for part, k in zip(parts, keep, strict=True)])
    labels = np.concatenate([part.labels[k] for part, k in zip(parts, keep, strict=True)])
    column = next((part.label for part in parts if part.label), "")
    class_names, notes = read_labels(labels, split, column, choices.unlabeled)
    more = dict.fromkeys(name for part in parts for name in part.more)
    return LayoutRows(
        ids=[name for part, stem, k in zip(parts, stems, keep, strict=True) for name in part.ids(stem, k)],
        locators=locators,
        class_names=class_names,
        sizes=np.concatenate([part.sizes[k] for part, k in zip(parts, keep, strict=True)]),
        where=lambda row: locators[row],
        layout="Parquet. " + " ".join(part.describe() for part in parts),
        problems=[problem for part in parts for problem in part.problems()],
        split=split,
        group=_join([part.group for part in parts], keep),
        source=_join([part.source for part in parts], keep),
        notes=[*dict.fromkeys(note for part in parts for note in part.splits.notes), *notes],
        more={name: of for name in more if (of := _join([part.more.get(name) for part in parts], keep)) is not None},
    )


def open_parquet(source: Path | bytes, path: str) -> pq.ParquetFile:
    """Open a file or its content.

    Raises:
        DataError: Not a parquet file.
    """
    with _reading(path):
        return pq.ParquetFile(checked(source) if isinstance(source, Path) else pa.BufferReader(source))


def image_column(file: pq.ParquetFile, path: str) -> str:
    """The leaf column that holds the encoded images: `image.bytes`, or `image` when it holds bytes directly.

    Raises:
        DataError: There is none.
    """
    schema = file.schema_arrow
    for name in schema.names:
        kind = schema.field(name).type
        if name.lower() not in _IMAGE_COLUMNS:
            continue
        if _is_bytes(kind) or pa.types.is_null(kind):
            return name
        if pa.types.is_struct(kind) and any(kind.field(i).name == "bytes" for i in range(kind.num_fields)):
            return f"{name}.bytes"
    found = ", ".join(f"{name} ({schema.field(name).type})" for name in schema.names if name.lower() in _IMAGE_COLUMNS)
    raise DataError(
        f"{path}: no column of images; expected `image` with bytes or a struct {{bytes, path}}; "
        f"found {found or named_columns(schema.names)}",
        hint=_EMBED,
    )


def row_group_images(file: pq.ParquetFile, column: str, group: int, path: str) -> pa.ChunkedArray:
    """The encoded images of one row group, as binary values.

    Raises:
        DataError: The row group is damaged, or unpacks to far more than images do.
    """
    with _reading(path):
        parts = read_column(file, column, group, lambda table: table.flatten().column(0).cast(pa.large_binary()))
        return pa.chunked_array(list(parts), pa.large_binary())


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    """Turn the errors of pyarrow into errors that name the file."""
    try:
        yield
    except PermissionError as error:
        raise DataError(f"{path}: no permission to read it") from error
    except FileNotFoundError as error:
        raise DataError(f"{path} is gone") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not a readable parquet file ({reason})", hint="is the download complete?") from error


class _Part:
    """One parquet file: its columns but that of the images as text, the images only measured."""

    def __init__(self, row: int, listing: Listing, choices: ColumnOptions) -> None:
        self.path = listing.paths[row]
        self.stem = self.path.rpartition("/")[2].rpartition(".")[0]
        self.locator = listing.locators(np.array([row]))[0]
        self._id_column = choices.id_column
        self._file = open_parquet(listing.read(row) if listing.archive else Path(listing.root) / self.path, self.path)
        self.schema = self._file.schema_arrow
        self._image = image_column(self._file, self.path)
        self.names = [name for name in self.schema.names if name != self._image.partition(".")[0]]
        if twice := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise DataError(f"{self.path}: duplicate column {twice[0]!r}", hint="rename one of the two")
        if self._id_column and self._id_column not in self.names:
            raise no_such_column(self, "--id-column", self._id_column)
        split = _split_of_file(self.path)
        self.label = label_column(self, choices.label_column, self._label_names(), needed=split != "test")
        group = group_column(self, choices.group, needed=False, taken=(self.label,))
        source = optional_column(self, "source", (self.label,))
        used = [self._id_column, self.label, group, source]
        self.sizes = self._sizes()
        self.labels = self._labels()
        self.group, self.source = given_cells(self, group), given_cells(self, source)
        plain = _Plain(self)
        self.splits = read_splits(plain, choices.split_column, len(self.sizes), used, split)
        self.more = further_columns(plain, [*filter(None, used), *self.splits.columns])

    def _label_names(self) -> tuple[str, ...]:
        """The names a label column may have: the usual ones, else every one that ends so (`fine_label`)."""
        usual = (*LABEL_COLUMNS, "labels")
        if any(name.lower() in usual for name in self.names):
            return usual
        return tuple(name for name in self.names if name.lower().endswith("_label")) or usual

    def _sizes(self) -> np.ndarray:
        """Bytes of each image: (N,) int64, 0 where there is none."""
        sizes = [np.zeros(0, dtype=np.int64)]
        for group in range(self._file.num_row_groups):
            images = row_group_images(self._file, self._image, group, self.path)
            with _reading(self.path):
                lengths = pc.fill_null(pc.call_function("binary_length", [images]), 0)
            sizes.append(lengths.to_numpy().astype(np.int64))
        return np.concatenate(sizes)

    def _labels(self) -> np.ndarray:
        """Labels as text, by the names that the schema gives them: (N,) object, "" where not given."""
        if self.label is None:
            return np.full(len(self.sizes), "", dtype=object)
        texts = label_cells(self, self.label)
        names = _class_names(self.schema, self.label)
        if not names:
            return texts
        names |= {"": "", str(UNLABELED): ""}  # as Hugging Face writes labels that are not known
        for row, text in enumerate(texts.tolist()):
            if text not in names:
                known = named_columns(name for name in names.values() if name)
                raise DataError(f"{self.place(row)}: the label {text} has no name among those of the schema: {known}")
        return np.array([names[text] for text in texts.tolist()], dtype=object)

    def column(self, name: str) -> list[str]:
        """The cells of one column as text, "" where empty.

        Raises:
            DataError: A cell holds a list, a struct or bytes.
        """
        with _reading(self.path):
            groups = range(self._file.num_row_groups)
            parts = [part for group in groups for part in read_column(self._file, name, group, lambda table: table.column(0))]
            values = [value for part in parts for value in part.to_pylist()]
        for row, value in enumerate(values):
            if isinstance(value, list | tuple | dict | bytes):
                raise no_single_label(self.place(row), name, repr(value))
        return ["" if value is None or value != value else str(value) for value in values]

    def place(self, row: int) -> str:
        """The place of a row, for messages."""
        return f"{self.locator}#{row}"

    def ids(self, stem: str, rows: np.ndarray) -> list[str]:
        """`<stem>-<row>`, or the column the user named. `path` values repeat across folders, so they are no ids."""
        if self._id_column is None:
            return [f"{stem}-{row}" for row in rows.tolist()]
        texts = self.column(self._id_column)
        if empty := [row for row in rows.tolist() if not texts[row]]:
            raise DataError(
                f"{self.place(empty[0])}: the {self._id_column!r} cell is empty ({len(empty):,} such rows)",
                hint="leave --id-column out: the rows are numbered then",
            )
        return [texts[row] for row in rows.tolist()]

    def problems(self) -> list[Problem]:
        """Rows without an image."""
        rows = np.flatnonzero(self.sizes == 0).tolist()
        paths = self.image_paths() if rows else []
        return [
            Problem(
                "missing image",
                self.place(row),
                "the row holds no image" + (f", only the path {paths[row]!r}" if paths[row] else ""),
            )
            for row in rows
        ]

    def image_paths(self) -> list[str]:
        """What stands in `image.path`, N; "" where nothing does."""
        name = self._image.partition(".")[0]
        kind = self.schema.field(name).type
        if not pa.types.is_struct(kind) or kind.get_field_index("path") < 0:
            return [""] * len(self.sizes)
        with _reading(self.path):
            values = self._file.read(columns=[f"{name}.path"]).column(name).to_pylist()
        return [str(value["path"]) if value and value["path"] is not None else "" for value in values]

    def describe(self) -> str:
        """What was read."""
        label = f"{self.label} as label" if self.label else "no label"
        return f"{self.path}: {len(self.sizes):,} images in {self._image}, {label}{self.splits.described()}."


class _Plain:
    """The columns of a part that hold one word or number a row."""

    def __init__(self, part: _Part) -> None:
        self._part, self.path = part, part.path
        self.names = [name for name in part.names if not _is_nested(part.schema.field(name).type)]

    def column(self, name: str) -> list[str]:
        """The cells of one column as text."""
        return self._part.column(name)

    def place(self, row: int) -> str:
        """The place of a row, for messages."""
        return self._part.place(row)


def _class_names(schema: pa.Schema, label: str) -> dict[str, str]:
    """The names that the schema's Hugging Face entry gives to integer labels; empty where it names none."""
    entry = (schema.metadata or {}).get(b"huggingface")
    if entry is None or not pa.types.is_integer(schema.field(label).type):
        return {}
    with contextlib.suppress(ValueError, RecursionError):  # an entry that cannot be read is no entry
        found: Any = json.loads(entry)
        for key in ("info", "features", label, "names"):
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, dict):  # as the cards of data sets write them: {"0": "cat", "1": "dog"}
            return {str(number): str(name) for number, name in found.items()}
        if isinstance(found, list):
            return {str(number): str(name) for number, name in enumerate(found)}
    return {}


def _no_images(parts: list[_Part]) -> DataError:
    """The error for files without any image, which says whether there are paths instead."""
    path = parts[0].path
    if not any(len(part.sizes) for part in parts):
        return DataError(f"{path}: the table has no rows")
    first = next((text for part in parts for text in part.image_paths() if text), "")
    if first:
        return DataError(f"{path}: the rows hold paths, not images (the first: {first!r})", hint=_EMBED)
    return DataError(f"{path}: no row holds an image", hint=_EMBED)


def _is_bytes(kind: pa.DataType) -> bool:
    is_a = pa.types
    return is_a.is_binary(kind) or is_a.is_large_binary(kind) or is_a.is_binary_view(kind) or is_a.is_fixed_size_binary(kind)


def _is_nested(kind: pa.DataType) -> bool:
    return pa.types.is_nested(kind) or _is_bytes(kind) or pa.types.is_null(kind)


def _split_of_file(path: str) -> str:
    """`data/train-00000-of-00001.parquet` → train; else the folder's split."""
    *folders, name = path.split("/")
    words = re.split(r"[-_.]", name.rpartition(".")[0])
    splits = [split for split in map(parse_split, [*words, *reversed(folders)]) if split]
    return splits[0] if splits else ""


def _join(columns: list[np.ndarray | None], keep: list[np.ndarray]) -> np.ndarray | None:
    """A text column that some files may lack: (N,) object, "" where not given; None when all do."""
    if all(column is None for column in columns):
        return None
    pairs = zip(columns, keep, strict=True)
    return np.concatenate([np.full(len(k), "", dtype=object) if of is None else of[k] for of, k in pairs])
