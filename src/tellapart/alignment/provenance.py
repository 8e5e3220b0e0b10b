"""Provenance of an aligned copy: find the source of each image, and verify that both are unchanged."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tellapart.alignment.plan import digest
from tellapart.alignment.writer import MANIFEST, MARKER, crop, encode
from tellapart.data.decode import decode, quiet
from tellapart.data.reader import ImageReader
from tellapart.errors import DataError, ImageError, RunError
from tellapart.inference.context import DEFAULTS, Settings
from tellapart.plain_data import read_json
from tellapart.regular_files import open_file, read_bytes
from tellapart.runs._fields import Fields
from tellapart.spreadsheet import unguard
from tellapart.types import ImageTable

_COLUMNS = {"id", "digest", "original_path", "original_digest", "left", "top", "width", "height", "format"}


@dataclass(frozen=True)
class Provenance:
    """The source of one image of a copy.

    Attributes:
        image: Its name, below the folder.
        source: Locator of the source, below its root: a file, a member of an archive, a row.
        digest: Digest of the source when it was copied, 32 hex digits.
        left, top, width, height: The crop box in the upright source, pixels.
        quality: JPEG quality; 0 for PNG.
        fault: What has changed; "" if the source exists unchanged and the image contains its pixels: a PNG bit for bit; a JPEG
            equals the output of the encoder byte for byte.
    """

    image: str
    source: str
    digest: str
    left: int
    top: int
    width: int
    height: int
    quality: int
    fault: str = ""


def trace_origins(folder: str | Path, *, root: str | Path | None = None, settings: Settings = DEFAULTS) -> list[Provenance]:
    """Find the source of every image of a copy, and compare.

    Args:
        folder: A complete copy.
        root: The current location of the source; None: its original location.
        settings: For the progress display.

    Raises:
        DataError: The folder is not a copy, or a copy of images in memory.
    """
    folder = Path(folder)
    if not (folder / MARKER).is_file():
        hint = "pass the output folder of `tellapart align`; run the same command again to finish an incomplete copy"
        raise DataError(f"{folder}: expected a complete copy made by align, found no {MARKER}", hint=hint)
    rows = _manifest(folder / MANIFEST)
    if any(row["original_path"].startswith("memory#") for row in rows):
        raise DataError(f"{folder}: the sources of this copy were images in memory, which cannot be compared")
    table = _sources(str(root or _stored_root(folder / MARKER)))
    found = []
    with (
        quiet(), ImageReader(table) as reader, settings.progress.task("comparing with the source", len(rows), "img") as task,
    ):  # fmt: skip
        for row in rows:
            found.append(_compared(folder, row, reader))
            task.advance()
    return found


def _stored_root(marker: Path) -> str:
    try:
        return Fields(marker, read_json(marker)).text("root")
    except RunError as error:
        raise DataError(error.message, hint="name the folder of the sources, or align the data again") from None


def _manifest(path: Path) -> list[dict[str, str]]:
    try:
        with io.TextIOWrapper(open_file(path), "utf-8", "surrogateescape", newline="") as file:
            reader = csv.DictReader(file)
            rows = [{name: unguard(cell) for name, cell in row.items()} for row in reader]
        missing = _COLUMNS - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"no column {', '.join(sorted(missing))}")
        for row in rows:
            _box(row)
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error})", hint="align the data again, into a new folder") from None
    return rows


def _sources(root: str) -> ImageTable:
    """An empty table with the given root, as a reader needs it."""
    frame = pd.DataFrame({"id": [], "path": [], "label": np.zeros(0, np.int64), "size": []})
    return ImageTable(frame, (), root)


def _compared(folder: Path, row: dict[str, str], reader: ImageReader) -> Provenance:
    box = _box(row)
    quality = box.pop("quality")
    fault = _fault(folder, row, box, quality, reader)
    return Provenance(row["id"], row["original_path"], row["original_digest"], **box, quality=quality, fault=fault)


def _box(row: dict[str, str]) -> dict[str, int]:
    """Place, size and JPEG quality of a crop; a ValueError if one of them is no whole number."""
    quality = int(row.get("quality", "")) if row["format"] == "jpeg" else 0
    return {name: int(row[name]) for name in ("left", "top", "width", "height")} | {"quality": quality}


def _fault(folder: Path, row: dict[str, str], box: dict[str, int], quality: int, reader: ImageReader) -> str:
    """What has changed; "" if nothing has."""
    try:
        source = reader.get(row["original_path"])
    except ImageError as error:
        return f"the source is missing ({error.reason})"
    if digest(source) != row["original_digest"]:
        return "the source has changed"
    try:
        content = read_bytes(folder / row["id"])
    except OSError as error:
        return f"the image is missing ({error.strerror})"
    if digest(content) != row["digest"]:
        return "the image has changed"
    pixels = decode(source, mode="rgb", path=row["original_path"])
    part = crop(pixels, np.array([box["top"], box["left"]]), (box["height"], box["width"]))
    same = content == encode(part, quality) if quality else np.array_equal(decode(content, mode="rgb"), part)
    return "" if same else "the image does not contain the pixels of its box"
