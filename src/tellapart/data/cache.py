"""Decode once: uint8 pixels in one memory-mapped file, shared by every classifier, run and process.

The file's name is a digest of which images (path, size, stamp), how (the resolved `Inputs`) and by which decoder, so a
changed file or option decodes anew and nothing else does. A lock lets one process decode while a second one waits; a file
that was not finished is never read. The folder is bounded: the files that were not used for longest go first.

Where: $TELLAPART_CACHE, else $XDG_CACHE_HOME/tellapart, else ~/.cache/tellapart. How much: $TELLAPART_CACHE_GIB, else 20.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tellapart.data.archives import ImageReader
from tellapart.data.cache_folder import default_folder, locked, make_room, permitted
from tellapart.data.decode import DECODER, decode_to, header, quiet, target_size
from tellapart.errors import DataError, ImageError
from tellapart.progress import SILENT, Progress
from tellapart.recipe import Inputs
from tellapart.types import ImageTable, Problem

_CHUNK = 256  # images decoded between two writes: enough to feed the threads, small in memory
_PROBED = 256  # headers read to resolve `auto`


class CorruptImages(DataError):
    """Images of a table that cannot be decoded, all of them.

    Attributes:
        rows: Positions in the table.
        problems: One a row.
    """

    def __init__(self, rows: Sequence[int], problems: Sequence[Problem]) -> None:
        self.rows = np.asarray(rows, dtype=np.int64)
        self.problems = tuple(problems)
        shown = "".join(f"\n    {p}" for p in problems[:10])
        more = f"\n    … and {len(problems) - 10:,} more" if len(problems) > 10 else ""
        count = f"{len(problems):,} image{'s' if len(problems) > 1 else ''}"
        super().__init__(
            f"{count} cannot be decoded:{shown}{more}",
            hint="mend or remove them, or leave them out, counted, with --skip-bad",
        )


@dataclass(frozen=True)
class DecodedImages:
    """Decoded images of a table, in its row order.

    Attributes:
        pixels: (M, H, W, C) uint8, a memory map; may hold more images than the table.
        positions: (N,) int64, where each row of the table lies in `pixels`.
    """

    pixels: np.ndarray
    positions: np.ndarray

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

    def blocks(self, size: int = 1024) -> Iterator[np.ndarray]:
        """All rows, `size` at a time."""
        for start in range(0, len(self), size):
            yield self.get(slice(start, start + size))


class PixelCache:
    """Decoded images by table and inputs.

    Args:
        folder: Where the files lie; None: the usual place.
        progress: Where decoding is reported.
    """

    def __init__(self, folder: Path | None = None, progress: Progress = SILENT) -> None:
        self.folder = folder or default_folder()
        self.progress = progress
        self._open: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}

    def images(self, table: ImageTable, inputs: Inputs) -> DecodedImages:
        """The pixels of `table`; those of a larger table that was asked for before are used again.

        Raises:
            CorruptImages: Some cannot be decoded; all of them are named.
            SystemLimitError: No room.
        """
        keys = table.row_keys
        opened = self._open.setdefault(_way(inputs), [])
        for pixels, sorted_keys, order in opened:
            if len(sorted_keys) >= len(keys):
                place = np.searchsorted(sorted_keys, keys).clip(max=len(sorted_keys) - 1)
                if (sorted_keys[place] == keys).all():
                    return DecodedImages(pixels, order[place])
        pixels = self._load(table, inputs, keys)
        order = np.argsort(keys, kind="stable")
        opened.append((pixels, keys[order], order))
        return DecodedImages(pixels, np.arange(len(table)))

    def _load(self, table: ImageTable, inputs: Inputs, keys: np.ndarray) -> np.ndarray:
        with quiet():
            if not len(table) or (table.memory is not None and len(table.memory)):
                return self._decode_to_memory(table, inputs)
            digest = hashlib.blake2b(keys.tobytes(), digest_size=12)
            digest.update(f"{_way(inputs)} {DECODER}".encode())
            path = self.folder / f"{digest.hexdigest()}.npy"
            with permitted(self.folder), locked(path):
                pixels = _mapped(path)
                if pixels is None:
                    make_room(self.folder, _bytes(len(table), inputs), path)
                    self._decode_to_file(table, inputs, path)
                    pixels = np.load(path, mmap_mode="r")
                return pixels

    def _decode_to_memory(self, table: ImageTable, inputs: Inputs) -> np.ndarray:
        blocks = [block for _, block in self._decoded(table, inputs)]
        return np.concatenate(blocks) if blocks else np.empty((0, *_shape(inputs)), np.uint8)

    def _decode_to_file(self, table: ImageTable, inputs: Inputs, path: Path) -> None:
        """Written in full beside, then renamed. Plain writes, not a map: a full disk is then an error and not a crash."""
        beside = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            with beside.open("wb") as file:
                shape = (len(table), *_shape(inputs))
                np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
                for _, block in self._decoded(table, inputs):
                    file.write(block.data)
                file.flush()
                os.fsync(file.fileno())
            beside.rename(path)
        finally:
            beside.unlink(missing_ok=True)

    def _decoded(self, table: ImageTable, inputs: Inputs) -> Iterator[tuple[int, np.ndarray]]:
        """(first row, (B, H, W, C) uint8) in row order; raises at the end if any image is corrupt, naming every one."""
        paths, bad, problems = table.paths, [], []
        with (
            ImageReader(table) as reader,
            ThreadPoolExecutor(os.cpu_count() or 1) as pool,
            self.progress.task("decoding", len(table), "img") as task,
        ):

            def one(row: int) -> np.ndarray | ImageError:
                try:
                    return decode_to(reader.get(paths[row]), inputs, str(paths[row]))
                except ImageError as error:
                    return error

            for start in range(0, len(table), _CHUNK):
                found = list(pool.map(one, range(start, min(start + _CHUNK, len(table)))))
                for row, pixels in enumerate(found, start):
                    if isinstance(pixels, ImageError):
                        bad.append(row)
                        problems.append(Problem("corrupt image", pixels.path, pixels.reason))
                if not bad:
                    yield start, np.stack([p for p in found if isinstance(p, np.ndarray)])
                task.advance(len(found))
        if bad:
            raise CorruptImages(bad, problems)


def resolve_inputs(inputs: Inputs, table: ImageTable) -> Inputs:
    """Replace `auto` by what the data say, from the headers of up to 256 images spread over the table.

    `size`: the median height and width of what `keep` leaves, shrunk so that the longer side is at most `limit`; with
    `resize: centre` each side is cut to `limit`. `mode`: grey if every probed image is grey.
    """
    if inputs.size != "auto" and inputs.mode != "auto":
        return inputs
    found = []
    with ImageReader(table) as reader:
        for path in table.paths[:: -(-len(table) // _PROBED) or 1]:
            with contextlib.suppress(ImageError):  # named when the images are decoded
                found.append(header(reader.get(path), str(path)))
    if not found:
        raise DataError("none of the probed images can be read", hint="`tellapart data` shows what is wrong with them")
    mode = inputs.mode if inputs.mode != "auto" else ("grey" if all(grey for *_, grey in found) else "rgb")
    if inputs.size != "auto":
        return replace_inputs(inputs, mode=mode)
    height, width = (max(1, int(np.median([f[axis] for f in found]) * inputs.keep)) for axis in (0, 1))
    limit = inputs.limit or max(height, width)
    if inputs.resize == "centre":
        return replace_inputs(inputs, mode=mode, size=(min(height, limit), min(width, limit)))
    shrink = min(1.0, limit / max(height, width))
    size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
    return replace_inputs(inputs, mode=mode, size=size)


def replace_inputs(inputs: Inputs, **changes: object) -> Inputs:
    """Inputs with some values changed."""
    return inputs.model_copy(update=changes)


def _way(inputs: Inputs) -> str:
    """How pixels are made, as text; `limit` has had its say when the size is known."""
    return inputs.model_dump_json(exclude={"limit"})


def _shape(inputs: Inputs) -> tuple[int, int, int]:
    return (*target_size(inputs), 1 if inputs.mode == "grey" else 3)


def _bytes(count: int, inputs: Inputs) -> int:
    return count * int(np.prod(_shape(inputs)))


def _mapped(path: Path) -> np.ndarray | None:
    """The finished file, marked as just used; None when there is none, or when it is not whole."""
    try:
        os.utime(path)  # least recently used is judged by this
        return np.load(path, mmap_mode="r")
    except (FileNotFoundError, ValueError):  # never made, made room for another, or cut short by a crash of the machine
        return None
