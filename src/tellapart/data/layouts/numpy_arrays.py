"""NumPy arrays of images and labels: `.npz`, or `.npy` files side by side.

    x_train, y_train, x_test, y_test                    Keras
    train_images, train_labels, val_images, test_…      MedMNIST
    images, labels                                      and x, y · data, target

An `.npz` is a zip of `.npy` files, and read as one. Format: NEP 1 (numpy.lib.format). Arrays of Python objects are refused:
they are pickles, and a pickle is code.
"""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from tellapart.data.archives import NPZ_ENDING
from tellapart.data.layouts._aliases import parse_split
from tellapart.data.layouts.base import Claim, Layout, LayoutOptions, LayoutRows
from tellapart.data.listing import Listing, list_archive
from tellapart.errors import DataError
from tellapart.types import UNLABELED

_IMAGES = frozenset({"images", "image", "x", "data"})
_LABELS = frozenset({"labels", "label", "y", "target", "targets"})
_LARGEST = 8 << 30  # bytes of one array, which is read whole
_HEADER = 4096  # bytes that hold the header of an array of numbers


@final
class NumpyArrays(Layout):
    """Arrays of images with an array of labels for each."""

    def claims(self, listing: Listing, options: LayoutOptions) -> Claim | None:
        """See `Layout`."""
        if options.file is not None or options.images is not None or listing.is_image.any():
            return None
        packed = [listing.paths[row] for row in np.flatnonzero(listing.endings == NPZ_ENDING).tolist()]
        if packed or listing.where.lower().endswith(NPZ_ENDING):
            return Claim(0.9, f"{packed[0] if packed else listing.where} holds NumPy arrays, and there are no image files.")
        pairs = _find(listing)
        return Claim(0.9, f"{listing.paths[pairs[0].images]} is an array of images by its name.") if pairs else None

    def read(self, listing: Listing, options: LayoutOptions) -> LayoutRows:
        """See `Layout`."""
        if any(options.columns):
            raise DataError(f"{listing.where}: arrays have no columns", hint="leave the options for columns out")
        packed = [listing.paths[row] for row in np.flatnonzero(listing.endings == NPZ_ENDING).tolist()]
        if not packed:
            return _read(listing, _find(listing))
        if len(packed) > 1 or listing.archive:
            hint = "unpack it first" if listing.archive else f"give one of them: {listing.root}/{packed[0]}"
            raise DataError(f"{listing.where}: holds {' and '.join(packed[:3])}; expected one .npz file of a folder", hint=hint)
        inside = list_archive(str(Path(listing.root) / packed[0]))
        return _read(inside, _find(inside), root=listing.root, name=packed[0])


@dataclass(frozen=True)
class _Pair:
    """Rows of a listing that hold the images and labels of one split; `labels` is None when there is no such array."""

    split: str
    images: int
    labels: int | None


def _find(listing: Listing) -> list[_Pair]:
    """The arrays of images by their names, train first."""
    found: dict[tuple[str, str], int] = {}
    for row in np.flatnonzero(listing.endings == ".npy").tolist():
        words = re.split(r"[-_. ]+", listing.names[row].rpartition(".")[0].lower())
        splits = [split for split in map(parse_split, words) if split]
        kinds = ["images" if word in _IMAGES else "labels" for word in words if word in _IMAGES | _LABELS]
        if len(kinds) == 1 and len(splits) <= 1 and len(splits) + 1 == len(words):
            found.setdefault((kinds[0], splits[0] if splits else ""), row)
    order = ("train", "", "valid", "test")
    splits = sorted({split for kind, split in found if kind == "images"}, key=order.index)
    return [_Pair(split, found["images", split], found.get(("labels", split))) for split in splits]


def _read(listing: Listing, pairs: list[_Pair], root: str = "", name: str = "") -> LayoutRows:
    """Rows of arrays. Only headers and labels are read.

    Raises:
        DataError: No images or labels, counts that differ, shapes or types that are no images.
    """
    if not pairs:
        there = ", ".join(listing.names[:10]) or "nothing"
        raise DataError(
            f"{listing.where}: no arrays of images and labels; expected x_train and y_train, train_images and train_labels, or "
            f"images and labels; found {there}",
            hint="save the arrays under such names",
        )
    ids: list[str] = []
    locators: list[str] = []
    columns: list[tuple[np.ndarray, np.ndarray]] = []  # class names, splits
    notes: list[str] = []
    for pair in pairs:
        path = listing.paths[pair.images]
        shape = _image_shape(listing.read(pair.images, _HEADER), path, int(listing.sizes[pair.images]))
        labels = _labels(listing, pair, shape[0])
        own = listing.locators(np.array([pair.images]))[0]
        if root:
            own = f"{name}::{own.partition('::')[2]}"
        stem = listing.names[pair.images].rpartition(".")[0]
        ids += [f"{stem}-{i:05d}" for i in range(shape[0])]
        locators += [f"{own}#{i}" for i in range(shape[0])]
        split = np.full(shape[0], pair.split, dtype=object)
        columns.append((labels, split))
        unlabeled = "" if pair.labels is not None else ", without labels"
        height, width = shape[2:] if _channels_first(shape) else shape[1:3]
        notes.append(f"{path}: {shape[0]:,} images of {width}×{height}{unlabeled}.")
    class_names, splits = (np.concatenate(part) for part in zip(*columns, strict=True))
    return LayoutRows(
        ids=ids,
        locators=locators,
        class_names=class_names,
        sizes=np.zeros(len(ids), dtype=np.int64),
        where=lambda row: locators[row],
        layout="NumPy arrays. " + " ".join(notes),
        problems=[],
        split=splits,
    )


def load_array(content: bytes, path: str) -> np.ndarray:
    """All images of a `.npy` file: (N, H, W) or (N, H, W, 3) uint8, read-only.

    Raises:
        DataError: Not an array of images.
    """
    shape = _image_shape(content, path, len(content))
    array = _load(content, path)
    array = np.moveaxis(array, 1, 3) if _channels_first(shape) else array
    return array[..., 0] if array.ndim == 4 and array.shape[3] == 1 else array


def _channels_first(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[3] not in (1, 3)


def _image_shape(head: bytes, path: str, size: int) -> tuple[int, ...]:
    """(N, H, W), (N, H, W, C) or (N, C, H, W) of an array of images, by its header and the size of its file."""
    shape, kind, start = _header(head, path)
    expected = "expected uint8 of shape (N, H, W), (N, H, W, 3) or (N, 3, H, W)"
    channels = len(shape) == 3 or (len(shape) == 4 and (shape[3] in (1, 3) or shape[1] in (1, 3)))
    if kind != np.uint8 or not channels or 0 in shape:
        raise DataError(f"{path}: {expected}, found {kind} of shape {shape}", hint="scale the values to 0 … 255 and save uint8")
    _check_size(shape, kind, size - start, path)
    if size > _LARGEST:
        raise DataError(
            f"{path}: an array of {size >> 30:,} GiB cannot be read a row at a time",
            hint="save the images as files or as parquet",
        )
    return shape


def _labels(listing: Listing, pair: _Pair, count: int) -> np.ndarray:
    """Class names of a split: (N,) object, None where it has no labels."""
    images = listing.paths[pair.images]
    if pair.labels is None:
        if pair.split != "test":
            raise DataError(f"{images}: its labels are missing", hint="save them beside it, as y_train beside x_train")
        return np.full(count, None, dtype=object)
    path = listing.paths[pair.labels]
    values = _load(listing.read(pair.labels), path)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.dtype.kind == "f" and np.array_equal(values, np.round(values)):
        values = values.astype(np.int64)
    if values.shape != (count,) or values.dtype.kind not in "iubUS":
        raise DataError(
            f"{path}: expected {count:,} labels, one number or text for each image of {images}; found {values.dtype} of shape "
            f"{values.shape}",
            hint="save one column of class numbers" if values.ndim == 2 else None,
        )
    texts = {value: None if value == UNLABELED else _text(value) for value in set(values.tolist())}
    return np.array([texts[value] for value in values.tolist()], dtype=object)


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _header(head: bytes, path: str) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, type and place of the values of an array.

    Raises:
        DataError: Not a `.npy` file, or one of Python objects.
    """
    file = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read(file)
    except Exception as error:  # the header is parsed as Python: ValueError, SyntaxError, TokenError, RecursionError, …
        raise DataError(f"{path}: not a NumPy array ({error})", hint="is the download complete?") from error
    if kind.hasobject:
        raise DataError(
            f"{path}: holds Python objects, which are code when they are read", hint="save it as numbers: array.astype(…)"
        )
    return shape, kind, file.tell()


def _load(content: bytes, path: str) -> np.ndarray:
    """The values of an array of numbers or texts.

    Raises:
        DataError: It cannot be read.
    """
    shape, kind, start = _header(content, path)
    _check_size(shape, kind, len(content) - start, path)
    try:
        return np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: not a NumPy array ({error})", hint="is the download complete?") from error


def _check_size(shape: tuple[int, ...], kind: np.dtype, found: int, path: str) -> None:
    """Check that an array has the size that its header states, before memory is asked for.

    Raises:
        DataError: It has another.
    """
    promised = math.prod(shape) * kind.itemsize
    if promised != found:
        hint = "is the download complete?"
        raise DataError(f"{path}: the header promises {promised:,} bytes, the file holds {found:,}", hint=hint)
