"""Decode once: uint8 pixels in one memory-mapped file, shared by every classifier, run and process.

The file's name is a digest of which images (by their content, `data.identity`), how (the resolved `Inputs`) and by which
decoder, so a changed file or option is decoded again, and a touched, moved or zipped file is not. What is read to be decoded is
compared with the digest once more. Where a part of each picture is read (`Inputs.region`), the digest holds where it lies, too;
faces are looked for once, and kept in a file of their own. A lock lets one process decode while a second one waits. The folder
is bounded: the files that were not used for longest go first (`data.cache_dir`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tellapart.data.cache_dir import default_folder, locked, make_room, permitted
from tellapart.data.decode import DECODER, decode_rgb, decode_to, find_region, header, quiet, target_size
from tellapart.data.faces import identity
from tellapart.data.identity import digest_of, identify
from tellapart.data.reader import NAME_IMAGES, ImageReader
from tellapart.data.regions import crop_box, read_boxes, with_regions
from tellapart.errors import DataError, ImageError
from tellapart.io import atomic_path
from tellapart.progress import SILENT, Progress
from tellapart.recipe.schema import Inputs
from tellapart.types import ImageTable, Problem

_CHUNK = 256  # images decoded between two writes: enough to feed the threads, small in memory
_BLOCK, _BLOCK_BYTES = 1_024, 128 << 20  # images, and bytes of them, that are read from the cache at a time
_PROBED = 256  # headers read to resolve `auto`


class CorruptImages(DataError):
    """Images of a table that cannot be decoded, all of them. `hint`: what to do; `SKIP` where the command can leave them out.

    Attributes:
        rows: Positions in the table.
        problems: One a row.
    """

    #: The hint of commands that have the option.
    SKIP = "fix or remove them, or pass --skip-bad to exclude and report them"

    def __init__(self, rows: Sequence[int], problems: Sequence[Problem], *, hint: str = "restore or remove them") -> None:
        self.rows = np.asarray(rows, dtype=np.int64)
        self.problems = tuple(problems)
        shown = "".join(f"\n    {p}" for p in problems[:10])
        more = f"\n    … and {len(problems) - 10:,} more" if len(problems) > 10 else ""
        count = f"{len(problems):,} image{'s' if len(problems) > 1 else ''}"
        super().__init__(f"{count} cannot be decoded:{shown}{more}", hint=hint)


@dataclass(frozen=True)
class Origin:
    """Where decoded images come from: the cache, how they were decoded, and (N,) uint64 identities of their contents."""

    folder: Path
    way: str
    keys: np.ndarray


@dataclass(frozen=True)
class DecodedImages:
    """Decoded images of a table, in its row order.

    Attributes:
        pixels: (M, H, W, C) uint8, a memory map; may hold more images than the table.
        positions: (N,) int64, where each row of the table lies in `pixels`.
        origin: Where the pixels come from; None if they are not of the cache.
    """

    pixels: np.ndarray
    positions: np.ndarray
    origin: Origin | None = None

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every image."""
        _, height, width, channels = self.pixels.shape
        return height, width, channels

    def get(self, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Pixels of some rows, copied: (B, H, W, C) uint8."""
        return self.pixels[self.positions[rows]]

    @property
    def block(self) -> int:
        """How many images to read at a time: 1,024, or as many as take 128 MiB."""
        return max(1, min(_BLOCK, _BLOCK_BYTES // max(1, int(np.prod(self.shape)))))

    def blocks(self, size: int | None = None) -> Iterator[np.ndarray]:
        """All rows, `size` at a time; None: `block`."""
        for start in range(0, len(self), step := size or self.block):
            yield self.get(slice(start, start + step))


class PixelCache:
    """Decoded images by table and inputs.

    Args:
        folder: Where the files lie; None: the usual place.
        progress: Where decoding is reported.
    """

    def __init__(self, folder: Path | None = None, progress: Progress = SILENT) -> None:
        self._folder = folder
        self.progress = progress
        self._open: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}

    @property
    def folder(self) -> Path:
        """Where the files lie; looked up on use: predicting needs no cache, and some machines have no place for it."""
        return self._folder or default_folder()

    def images(self, table: ImageTable, inputs: Inputs) -> DecodedImages:
        """The pixels of `table`; those of a larger table that was asked for before are used again.

        Raises:
            CorruptImages: Some cannot be decoded, or have no region where one is needed; all of them are named.
            DataError: The columns of boxes, or the detector of faces, are not there.
            SystemLimitError: No room.
        """
        table = identify(table, self.progress)
        found = self.found(table, inputs)
        if found is None:
            keys, each = table.row_keys, lambda content, path, row: decode_to(content, inputs, path)
        else:
            keys = with_regions(table.row_keys, found)
            each = lambda content, path, row: decode_to(content, inputs, path, found[row])  # noqa: E731
        work = _Work(f"{_way(inputs)} {DECODER}", _shape(inputs), "|u1", "decoding", each, inputs.max_pixels)
        kept = table.memory is None or not len(table.memory)  # images in memory are not kept here, nor is what is made of them
        return DecodedImages(*self._get(table, keys, work), Origin(self.folder, work.way, keys) if kept else None)

    def found(self, table: ImageTable, inputs: Inputs) -> np.ndarray | None:
        """Where the region of each image lies, before any margin; see `data.regions`.

        Returns:
            (N, 4) float32, left, top, right and bottom in pixels, NaN where there is nothing; None without a region.

        Raises:
            CorruptImages: Some cannot be decoded, or their cells are no box; all of them are named.
            DataError: The columns of boxes, or the detector of faces, are not there.
            SystemLimitError: No room.
        """
        box, face = (inputs.region.box, inputs.region.face) if inputs.region else (None, None)
        if box is not None:
            found, bad, problems = read_boxes(table, box)
            if bad:
                raise CorruptImages(bad, problems)
            return found
        if face is None:
            return None
        table = identify(table, self.progress)
        way = f"face {identity(face)} {inputs.max_pixels} {DECODER}"
        each = lambda content, path, row: find_region(content, inputs, path)  # noqa: E731
        values, positions = self._get(
            table, table.row_keys, _Work(way, (4,), "<f4", "looking for faces", each, inputs.max_pixels)
        )
        return np.asarray(values[positions])

    def _get(self, table: ImageTable, keys: np.ndarray, work: _Work) -> tuple[np.ndarray, np.ndarray]:
        """What was made of each image, or of those of a larger table, and where the rows of this one lie in it."""
        opened = self._open.setdefault(work.way, [])
        for values, sorted_keys, order in opened:
            if len(sorted_keys) >= len(keys):
                place = np.searchsorted(sorted_keys, keys).clip(max=len(sorted_keys) - 1)
                if (sorted_keys[place] == keys).all():
                    return values, order[place]
        values = self._load(table, keys, work)
        order = np.argsort(keys, kind="stable")
        opened.append((values, keys[order], order))
        return values, np.arange(len(table))

    def _load(self, table: ImageTable, keys: np.ndarray, work: _Work) -> np.ndarray:
        if table.withheld:  # a stranger may also know the digests of images that are decoded here
            raise DataError(table.withheld, hint=NAME_IMAGES)
        with quiet():
            if not len(table) or (table.memory is not None and len(table.memory)):
                blocks = list(self._made(table, work))
                return np.concatenate(blocks) if blocks else np.empty((0, *work.shape), work.type)
            digest = hashlib.blake2b(keys.tobytes(), digest_size=12)
            digest.update(work.way.encode())
            path = self.folder / f"{digest.hexdigest()}.npy"
            with permitted(self.folder), locked(path):
                shape, kind = (len(table), *work.shape), np.dtype(work.type)
                values = _mapped(path, shape, kind)
                if values is None:
                    make_room(self.folder, int(np.prod(shape)) * kind.itemsize, path)
                    self._write(table, work, path)
                    values = np.load(path, mmap_mode="r")
                return values

    def _write(self, table: ImageTable, work: _Work, path: Path) -> None:
        """Write the array atomically. Plain writes, not a memory map: a full disk is then an error and not a crash."""
        with atomic_path(path, durable=True) as temporary, temporary.open("wb") as file:
            shape = (len(table), *work.shape)
            np.lib.format.write_array_header_1_0(file, {"descr": work.type, "fortran_order": False, "shape": shape})
            for block in self._made(table, work):
                file.write(block.data)

    def _made(self, table: ImageTable, work: _Work) -> Iterator[np.ndarray]:
        """(B, …) in row order; raises at the end if any image is corrupt, naming every one."""
        paths, digests, bad, problems = table.paths, table.digests, [], []
        with (
            ImageReader(table) as reader,
            ThreadPoolExecutor(os.cpu_count() or 1) as pool,
            self.progress.task(work.name, len(table), "img") as task,
        ):

            def several(rows: range) -> list[np.ndarray | ImageError]:
                """Of one file: windows of a picture follow each other, and it is opened once for all of them."""
                path = str(paths[rows[0]])
                try:
                    content = reader.get(path)
                    if digest_of(content) != digests[rows[0]]:
                        return [ImageError(path, "the file is not the one that was listed: it has changed since")] * len(rows)
                    content = decode_rgb(content, path, work.max_pixels) if len(rows) > 1 else content
                except ImageError as error:
                    return [error] * len(rows)
                return [_tried(work, content, path, row) for row in rows]

            for start in range(0, len(table), _CHUNK):
                runs = _runs(paths[start : start + _CHUNK], start)
                found = [made for run in pool.map(several, runs) for made in run]
                for row, made in enumerate(found, start):
                    if isinstance(made, ImageError):
                        bad.append(row)
                        problems.append(Problem("corrupt image", made.path, made.reason))
                if not bad:
                    yield np.stack([made for made in found if isinstance(made, np.ndarray)])
                task.advance(len(found))
        if bad:
            raise CorruptImages(bad, problems)


@dataclass(frozen=True)
class _Work:
    """What is made of each image, once.

    Attributes:
        way: How, as text: part of the digest.
        shape: Of one image's result.
        type: Of its values, as NumPy's files write it.
        name: For the progress.
        each: (content, path, row) → the result.
        max_pixels: As of `Inputs`.
    """

    way: str
    shape: tuple[int, ...]
    type: str
    name: str
    each: Callable[[bytes | np.ndarray, str, int], np.ndarray]
    max_pixels: int


def _tried(work: _Work, content: bytes | np.ndarray, path: str, row: int) -> np.ndarray | ImageError:
    try:
        return work.each(content, path, row)
    except ImageError as error:
        return error


def _runs(paths: np.ndarray, first: int) -> list[range]:
    """Rows of one file that follow each other. `paths`: (N,) object; the first is that of row `first`."""
    ends = [*(np.flatnonzero(paths[1:] != paths[:-1]) + 1).tolist(), len(paths)]
    return [range(first + start, first + end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def resolve_inputs(inputs: Inputs, table: ImageTable) -> Inputs:
    """Replace `auto` by what the data say, from the headers of up to 256 images spread over the table.

    `size`: the median height and width of what `region` or `keep` leave, shrunk so that the longer side is at most `limit`;
    with `resize: center` each side is cut to `limit`. `mode`: gray if every probed image is gray.

    Raises:
        DataError: No probed image can be read; the columns of boxes, or the detector of faces, are not there.
    """
    if inputs.size != "auto" and inputs.mode != "auto":
        return inputs
    found = _probed(inputs, table)
    if not found:
        raise DataError("none of the probed images can be read", hint="`tellapart data` shows what is wrong with them")
    mode = inputs.mode if inputs.mode != "auto" else ("gray" if all(gray for *_, gray in found) else "rgb")
    if inputs.size != "auto":
        return replace_inputs(inputs, mode=mode)
    share = inputs.keep if inputs.region is None else 1.0
    height, width = (max(1, int(np.median([f[axis] for f in found]) * share)) for axis in (0, 1))
    limit = inputs.limit or max(height, width)
    if inputs.resize == "center":
        return replace_inputs(inputs, mode=mode, size=(min(height, limit), min(width, limit)))
    shrink = min(1.0, limit / max(height, width))
    size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
    return replace_inputs(inputs, mode=mode, size=size)


def _probed(inputs: Inputs, table: ImageTable) -> list[tuple[int, int, bool]]:
    """(height, width, is gray) of pictures, or of their regions, as far as they can be read."""
    rows, found = np.arange(len(table))[:: -(-len(table) // _PROBED) or 1], []
    box = inputs.region.box if inputs.region else None
    boxes = read_boxes(table, box)[0] if box else None
    with ImageReader(table) as reader, quiet():
        for row in rows:
            with contextlib.suppress(ImageError):  # named when the images are decoded
                path = str(table.paths[row])
                content = reader.get(path)
                height, width, gray = header(content, path)
                if inputs.region is not None and inputs.size == "auto":
                    there = find_region(content, inputs, path) if boxes is None else boxes[row]
                    left, top, right, bottom = crop_box((width, height), inputs, there, path)
                    height, width = bottom - top, right - left
                found.append((height, width, gray))
    return found


def replace_inputs(inputs: Inputs, **changes: object) -> Inputs:
    """Inputs with some values changed."""
    return inputs.model_copy(update=changes)


def _way(inputs: Inputs) -> str:
    """How pixels are made, as text; `limit` has had its say when the size is known."""
    return inputs.model_dump_json(exclude={"limit"})


def _shape(inputs: Inputs) -> tuple[int, int, int]:
    return (*target_size(inputs), 1 if inputs.mode == "gray" else 3)


def _mapped(path: Path, shape: tuple[int, ...], kind: np.dtype) -> np.ndarray | None:
    """The finished file, marked as just used; None when there is none, or it does not hold an array of this shape and type.

    The values are not verified: for a digest of them, every command would read the whole file, which is mapped and read in
    parts today; and a file has its name only after its content was flushed to the disk.
    """
    try:
        os.utime(path)  # least recently used is judged by this
        values = np.load(path, mmap_mode="r")
    except (FileNotFoundError, ValueError, EOFError):  # never made, made room for another, or cut short
        return None
    return values if values.shape == shape and values.dtype == kind and values.flags.c_contiguous else None
