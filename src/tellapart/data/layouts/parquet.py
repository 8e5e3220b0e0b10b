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

from tellapart.data.layouts._aliases import class_texts, parse_split
from tellapart.data.layouts.base import Claim, ColumnOptions, Layout, LayoutOptions, LayoutRows
from tellapart.data.listing import Listing
from tellapart.errors import DataError
from tellapart.types import UNLABELED, Problem

PARQUET_ENDINGS = (".parquet", ".pq")
_IMAGE_COLUMNS = ("image", "img", "images", "picture")
_LABEL_COLUMNS = ("label", "target", "class", "category", "labels")


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
        DataError: Not parquet, no column of images, no column of labels in the training part.
    """
    parts = [_Part(row, listing, choices) for row in rows]
    stems = [part.stem for part in parts]
    if len(set(stems)) < len(stems):
        stems = [listing.paths[row].rpartition(".")[0] for row in rows]
    keep = [np.flatnonzero(part.sizes > 0) for part in parts]
    texts: dict[Any, str | None] = {None: None}
    texts |= class_texts(v for part in parts for v in part.labels.tolist() if v is not None)
    problems = [problem for part in parts for problem in part.problems()]
    ids = [name for part, stem, k in zip(parts, stems, keep, strict=True) for name in part.ids(stem, k)]
    locators = [f"{part.locator}#{row}" for part, k in zip(parts, keep, strict=True) for row in k.tolist()]
    labels = np.concatenate([part.labels[k] for part, k in zip(parts, keep, strict=True)])
    group, source = (_optional(parts, keep, name) for name in (choices.group or "group", "source"))
    if choices.group and group is None:
        raise DataError(f"--group {choices.group}: no such column; there are {', '.join(parts[0].columns)}")
    return LayoutRows(
        ids=ids,
        locators=locators,
        class_names=np.array([texts[label] for label in labels.tolist()], dtype=object),
        sizes=np.concatenate([part.sizes[k] for part, k in zip(parts, keep, strict=True)]),
        where=lambda row: locators[row],
        layout="Parquet. " + " ".join(part.describe() for part in parts),
        problems=problems,
        split=np.concatenate([np.full(len(k), part.split, dtype=object) for part, k in zip(parts, keep, strict=True)]),
        group=group,
        source=source,
    )


def open_parquet(source: Path | bytes, path: str) -> pq.ParquetFile:
    """Open a file or its content.

    Raises:
        DataError: Not a parquet file.
    """
    with _reading(path):
        return pq.ParquetFile(source if isinstance(source, Path) else pa.BufferReader(source))


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
        if _is_bytes(kind):
            return name
        if pa.types.is_struct(kind) and any(kind.field(i).name == "bytes" for i in range(kind.num_fields)):
            return f"{name}.bytes"
    raise DataError(
        f"{path}: no column of images; expected `image` with bytes or a struct {{bytes, path}}; found {', '.join(schema.names)}"
    )


def row_group_images(file: pq.ParquetFile, column: str, group: int, path: str) -> pa.ChunkedArray:
    """The encoded images of one row group, as binary values.

    Raises:
        DataError: The row group is damaged.
    """
    with _reading(path):
        return file.read_row_group(group, columns=[column]).flatten().column(0)


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
    """One parquet file: labels and sizes read, images only measured."""

    def __init__(self, row: int, listing: Listing, choices: ColumnOptions) -> None:
        self.path = listing.paths[row]
        self.stem = self.path.rpartition("/")[2].rpartition(".")[0]
        self.locator = listing.locators(np.array([row]))[0]
        self.split = _split_of_file(self.path)
        self._id_column = choices.id_column
        self._file = open_parquet(listing.read(row) if listing.archive else Path(listing.root) / self.path, self.path)
        self.columns = self._file.schema_arrow.names
        self._image = image_column(self._file, self.path)
        self._label = self._label_column(choices.label_column)
        self.sizes = self._sizes()
        self.labels = self._labels()

    def _label_column(self, chosen: str | None) -> str | None:
        if chosen:
            if chosen not in self.columns:
                raise DataError(f"{self.path}: --label-column {chosen}: no such column; there are {', '.join(self.columns)}")
            return chosen
        candidates = [c for c in self.columns if c.lower() in _LABEL_COLUMNS]
        candidates = candidates or [c for c in self.columns if c.lower().endswith("_label")]
        if len(candidates) > 1:
            raise DataError(
                f"{self.path}: the label column could be {' or '.join(map(repr, candidates))}",
                hint=f"name it: --label-column {candidates[0]}",
            )
        if not candidates and self.split != "test":
            raise DataError(
                f"{self.path}: no label column; expected one of {', '.join(_LABEL_COLUMNS)}; found {', '.join(self.columns)}",
                hint="name it: --label-column COLUMN",
            )
        return candidates[0] if candidates else None

    def _sizes(self) -> np.ndarray:
        """Bytes of each image: (N,) int64, 0 where there is none."""
        sizes = [np.zeros(0, dtype=np.int64)]
        for group in range(self._file.num_row_groups):
            lengths = pc.fill_null(
                pc.call_function("binary_length", [row_group_images(self._file, self._image, group, self.path)]), 0
            )
            sizes.append(lengths.to_numpy().astype(np.int64))
        return np.concatenate(sizes)

    def _labels(self) -> np.ndarray:
        """Class names as written: (N,) object, None where not given."""
        if self._label is None:
            return np.full(len(self.sizes), None, dtype=object)
        values = self.column(self._label)
        names = self._class_names(self._label)
        if names:
            wrong = [v for v in values if v is not None and not -1 <= v < len(names)]
            if wrong:
                raise DataError(f"{self.path}: the label {wrong[0]} has no name among the {len(names)} of the schema")
            return np.array([None if v is None or v < 0 else names[v] for v in values], dtype=object)
        return np.array([None if v in (None, "", UNLABELED) or v != v else str(v) for v in values], dtype=object)

    def _class_names(self, label: str) -> list[str]:
        """The names that the schema's Hugging Face entry gives to integer labels."""
        entry = (self._file.schema_arrow.metadata or {}).get(b"huggingface")
        if entry is None or not pa.types.is_integer(self._file.schema_arrow.field(label).type):
            return []
        feature = json.loads(entry).get("info", {}).get("features", {}).get(label, {})
        return [str(name) for name in feature.get("names", [])] if isinstance(feature, dict) else []

    def column(self, name: str) -> list[Any]:
        """The values of one small column, N."""
        with _reading(self.path):
            return self._file.read(columns=[name]).column(0).to_pylist()

    def ids(self, stem: str, rows: np.ndarray) -> list[str]:
        """`<stem>-<row>`, or the column the user named. `path` values repeat across folders, so they are no ids."""
        if self._id_column is None:
            return [f"{stem}-{row}" for row in rows.tolist()]
        if self._id_column not in self.columns:
            raise DataError(f"{self.path}: --id-column {self._id_column}: no such column; there are {', '.join(self.columns)}")
        values = self.column(self._id_column)
        return [str(values[row]) for row in rows.tolist()]

    def problems(self) -> list[Problem]:
        """Rows without an image."""
        empty = np.flatnonzero(self.sizes == 0).tolist()
        return [Problem("missing image", f"{self.locator}#{row}", "the row holds no image") for row in empty]

    def describe(self) -> str:
        """What was read."""
        label = f"{self._label} as label" if self._label else "no label"
        return f"{self.path}: {len(self.sizes):,} images in {self._image}, {label}."


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _split_of_file(path: str) -> str:
    """`data/train-00000-of-00001.parquet` → train; else the folder's split."""
    *folders, name = path.split("/")
    words = re.split(r"[-_.]", name.rpartition(".")[0])
    splits = [split for split in map(parse_split, [*words, *reversed(folders)]) if split]
    return splits[0] if splits else ""


def _optional(parts: list[_Part], keep: list[np.ndarray], name: str) -> np.ndarray | None:
    """A text column that may exist: (N,) object, "" where not given."""
    if not any(name in part.columns for part in parts):
        return None
    columns = []
    for part, rows in zip(parts, keep, strict=True):
        values = part.column(name) if name in part.columns else [""] * len(part.sizes)
        columns.append(np.array(["" if v is None else str(v) for v in values], dtype=object)[rows])
    return np.concatenate(columns)
