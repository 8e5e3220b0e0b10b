"""MNIST-style IDX files: one file of N gray images, one of N labels, each with a short header; often gzipped.

Format: two zero bytes, a type byte (8 = uint8), the number of dimensions, each size as a big-endian int32, then the
values (Y. LeCun's description of the MNIST files). Names: `train-images-idx3-ubyte`, `t10k-images.idx3-ubyte.gz`, …
"""

from __future__ import annotations

import gzip
import io
import re
import struct
import zlib
from dataclasses import dataclass
from typing import final

import numpy as np

from tellapart.data.layouts._aliases import parse_split
from tellapart.data.layouts.base import Claim, Layout, LayoutOptions, LayoutRows
from tellapart.data.listing import Listing
from tellapart.errors import DataError
from tellapart.types import UNLABELED

_NAME = re.compile(r"(?P<stem>.*?)[-_.]?(?P<what>images|labels)[-_.]idx(?P<dims>[13])[-_.]ubyte(?:\.gz)?\Z", re.IGNORECASE)


@final
class Idx(Layout):
    """IDX files of images and labels."""

    def claims(self, listing: Listing, options: LayoutOptions) -> Claim | None:
        """See `Layout`."""
        pairs = find_idx(listing) if options.file is None else []
        return Claim(0.9, f"{listing.paths[pairs[0].images]} has the name of an IDX file.") if pairs else None

    def read(self, listing: Listing, options: LayoutOptions) -> LayoutRows:
        """See `Layout`."""
        if any(options.columns) or options.images is not None:
            raise DataError(f"{listing.where}: IDX files have no columns and no images elsewhere", hint="leave the flags out")
        return read_idx(find_idx(listing), listing)


@dataclass(frozen=True)
class IdxPair:
    """Rows of a listing that hold the images and labels of one part; `labels` is None when there is no such file."""

    stem: str  # "train", "t10k", "emnist-letters-train", …
    images: int
    labels: int | None


def find_idx(listing: Listing) -> list[IdxPair]:
    """The IDX image files of a listing, each with its labels; of a plain and a gzipped copy the plain one."""
    files: dict[tuple[str, str], int] = {}
    order = sorted(range(len(listing)), key=lambda row: (listing.endings[row] == ".gz", row))
    for row in order:
        if match := _NAME.match(listing.names[row]):
            files.setdefault((match["stem"], match["what"].lower()), row)
    stems = sorted({stem for stem, what in files if what == "images"}, key=lambda s: (_split(s) == "test", s))
    return [IdxPair(stem, files[stem, "images"], files.get((stem, "labels"))) for stem in stems]


def read_idx(pairs: list[IdxPair], listing: Listing) -> LayoutRows:
    """Rows of IDX files. Only headers and labels are read; the pixels are checked for their number, not looked at.

    Raises:
        DataError: Wrong magic number, truncated file, counts that differ, no label file for the training images.
    """
    names = _class_names(listing)
    ids: list[str] = []
    locators: list[str] = []
    labels: list[np.ndarray] = []
    splits: list[np.ndarray] = []
    notes: list[str] = []
    for pair in pairs:
        shape = _image_shape(pair, listing)
        numbers = _labels(pair, listing, shape[0])
        split = _split(pair.stem)
        path = listing.locators(np.array([pair.images]))[0]
        ids += [f"{pair.stem or 'image'}-{i:05d}" for i in range(shape[0])]
        locators += [f"{path}#{i}" for i in range(shape[0])]
        labels.append(_named(numbers, names, listing.paths[pair.images]))
        splits.append(np.full(shape[0], split, dtype=object))
        unlabeled = "" if pair.labels is not None else ", without labels"
        notes.append(f"{listing.names[pair.images]}: {shape[0]:,} gray images of {shape[2]}×{shape[1]}{unlabeled}.")
    return LayoutRows(
        ids=ids,
        locators=locators,
        class_names=np.concatenate(labels),
        sizes=np.zeros(len(ids), dtype=np.int64),
        where=lambda row: locators[row],
        layout="IDX. " + " ".join(notes),
        problems=[],
        split=np.concatenate(splits),
    )


def load_idx_images(content: bytes, path: str) -> np.ndarray:
    """All images of a file: (N, H, W) uint8, read-only.

    Raises:
        DataError: Not an IDX file of images.
    """
    with _open(content) as file:
        shape = _header(file, path, 3)
        values = np.frombuffer(_read(file, path), dtype=np.uint8)
    if values.size != np.prod(shape):
        raise DataError(f"{path}: the header promises {np.prod(shape):,} pixels, the file holds {values.size:,}")
    return values.reshape(shape)


def _image_shape(pair: IdxPair, listing: Listing) -> tuple[int, ...]:
    """(N, H, W) from the header, compared with the length of the file."""
    path = listing.paths[pair.images]
    content = listing.read(pair.images)
    with _open(content) as file:
        shape = _header(file, path, 3)
    # A gzip file ends with the length of its content modulo 2³², so the pixels need not be unpacked to count them.
    length = int.from_bytes(content[-4:], "little") if _is_gzip(content) else len(content) % 2**32
    expected = int(np.prod(shape)) + 16
    if length != expected % 2**32:
        raise DataError(
            f"{path}: the header promises {shape[0]:,} images of {shape[2]}×{shape[1]}, {expected:,} bytes; "
            f"the file holds {length:,}",
            hint="is the download complete?",
        )
    return shape


def _labels(pair: IdxPair, listing: Listing, count: int) -> np.ndarray:
    """Labels of a part: (N,) int64, −1 when it has none."""
    path = listing.paths[pair.images]
    if pair.labels is None:
        if _split(pair.stem) != "test":
            expected = re.sub("images([-_.])idx3", r"labels\1idx1", listing.names[pair.images])
            raise DataError(f"{path}: its labels are missing; expected {expected} beside it")
        return np.full(count, UNLABELED, dtype=np.int64)
    label_path = listing.paths[pair.labels]
    with _open(listing.read(pair.labels)) as file:
        shape = _header(file, label_path, 1)
        values = np.frombuffer(_read(file, label_path), dtype=np.uint8)
    if len(values) != shape[0]:
        raise DataError(f"{label_path}: the header promises {shape[0]:,} labels, the file holds {len(values):,}")
    if shape[0] != count:
        raise DataError(f"{label_path} holds {shape[0]:,} labels, but {path} holds {count:,} images")
    return values.astype(np.int64)


def _named(numbers: np.ndarray, names: list[str], path: str) -> np.ndarray:
    """Class names of labels: (N,) object, None for −1."""
    if names and len(numbers) and numbers.max() >= len(names):
        raise DataError(f"{path}: the label {numbers.max()} has no line in classes.txt, which has {len(names)}")
    texts: dict[int, str | None] = {int(n): names[n] if names else str(n) for n in np.unique(numbers) if n >= 0}
    texts[UNLABELED] = None
    return np.array([texts[n] for n in numbers.tolist()], dtype=object)


def _class_names(listing: Listing) -> list[str]:
    """The lines of `classes.txt`, when it lies anywhere beside the files."""
    row = next((row for row, name in enumerate(listing.names) if name.lower() == "classes.txt"), None)
    if row is None:
        return []
    names = [line.strip() for line in listing.read(row).decode("utf-8-sig", "replace").splitlines() if line.strip()]
    if len(set(names)) < len(names):
        raise DataError(f"{listing.paths[row]}: duplicate class name")
    return names


def _split(stem: str) -> str:
    """The split a stem ends with: `train`, `t10k`, `emnist-letters-test`."""
    return parse_split(re.split(r"[-_.]", stem)[-1])


def _is_gzip(content: bytes) -> bool:
    return content[:2] == b"\x1f\x8b"


def _open(content: bytes) -> gzip.GzipFile | io.BytesIO:
    file = io.BytesIO(content)
    return gzip.GzipFile(fileobj=file) if _is_gzip(content) else file


def _read(file: gzip.GzipFile | io.BytesIO, path: str, count: int = -1) -> bytes:
    try:
        return file.read(count)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be unpacked ({error})", hint="is the download complete?") from error


def _header(file: gzip.GzipFile | io.BytesIO, path: str, dims: int) -> tuple[int, ...]:
    """Sizes of the dimensions, from a header of uint8 values with `dims` dimensions."""
    head = _read(file, path, 4 + 4 * dims)
    expected = 0x0800 + dims
    magic = int.from_bytes(head[:4], "big")
    if len(head) < 4 + 4 * dims or magic != expected:
        what = "images" if dims == 3 else "labels"
        raise DataError(f"{path}: not an IDX file of {what}: it begins with {magic:#010x}, expected {expected:#010x}")
    return struct.unpack(f">{dims}I", head[4:])
