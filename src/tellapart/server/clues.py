"""What the file says beside its pixels: container, size, JPEG tables, EXIF, and who says to have written it.

Read from the header alone; nothing is decoded. None of it enters the verdict of a run that sees pixels, and all of it can be
forged or lost on the way: clues, not evidence. The quality of a JPEG is that of the Independent JPEG Group's scale whose
luminance table (ITU-T T.81, table K.1) comes nearest to the file's.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from tellapart.data.decode import header, quiet
from tellapart.errors import ImageError

_LUMA = np.array([
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80,
    62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98,
    112, 100, 103, 99,
])  # fmt: skip
_SAMPLING = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
#: Text that generators leave in PNG files: the words that they were asked with, and how.
_PROMPTS = ("parameters", "prompt", "workflow", "Dream", "sd-metadata", "invokeai_metadata")
#: IPTC's name for pictures made by a trained model, in XMP; and the label of signed content credentials.
_SAID = {b"trainedAlgorithmicMedia": "IPTC: made by a trained model", b"c2pa": "content credentials (C2PA), not verified"}
_LONGEST = 120  # characters of a text from a file that are shown


@dataclass(frozen=True)
class MetadataItem:
    """One thing that the file says: its name, the value, and whether it is worth a second look."""

    name: str
    value: str
    notable: bool = False


def read_metadata(content: bytes, name: str = "image") -> list[MetadataItem]:
    """What one encoded picture says beside its pixels.

    Raises:
        ImageError: Its header cannot be read.
    """
    height, width, _ = header(content, name)
    try:
        with quiet():
            image = Image.open(io.BytesIO(content))
            first = MetadataItem("format", f"{image.format}, {image.mode}")
            size = MetadataItem("size", f"{width:,} × {height:,} pixels, {_bytes(len(content))}")
            return [first, size, *_jpeg(image), *_exif(image), *_texts(image), *_said(content)]
    except Exception as error:  # damaged metadata raises nearly anything
        raise ImageError(name, f"its metadata cannot be read ({type(error).__name__})") from None


def jpeg_quality(table: list[int]) -> tuple[int, bool]:
    """The nearest quality of the usual scale, 1 … 100, and whether the table is exactly that one.

    Args:
        table: 64 values, in any order.

    >>> jpeg_quality([max(1, (int(v) * 20 + 50) // 100) for v in _LUMA])
    (90, True)
    """
    values = np.sort(np.array(table))
    scaled = {q: np.sort(np.clip((_LUMA * _scale(q) + 50) // 100, 1, 255)) for q in range(1, 101)}
    nearest = min(scaled, key=lambda q: int(np.abs(scaled[q] - values).sum()))
    return nearest, bool((scaled[nearest] == values).all())


def _scale(quality: int) -> int:
    return 5000 // quality if quality < 50 else 200 - 2 * quality


def _jpeg(image: Image.Image) -> list[MetadataItem]:
    if not isinstance(image, JpegImageFile):
        return []
    tables = [list(table) for table in image.quantization.values()]
    found = []
    if tables and len(tables[0]) == len(_LUMA):
        quality, usual = jpeg_quality(tables[0])
        said = f"about {quality} of 100" + ("" if usual else ", by tables of its own")
        found.append(MetadataItem("JPEG quality", f"{said} ({len(tables)} table{'s' if len(tables) > 1 else ''})"))
    way = "progressive" if {"progressive", "progression"} & set(image.info) else "baseline"
    return [*found, MetadataItem("JPEG coding", f"{way}, {_SAMPLING.get(get_sampling(image), 'another')} subsampling")]


def _exif(image: Image.Image) -> list[MetadataItem]:
    """Of PNG files only what stands before the pixels: for the rest Pillow would decode everything."""
    late = image.format == "PNG" and "exif" not in image.info
    exif = Image.Exif() if late else image.getexif()
    base = ExifTags.Base
    camera = " ".join(str(exif[tag]) for tag in (base.Make, base.Model) if tag in exif)
    found = [MetadataItem("EXIF", f"{len(exif)} entries" if len(exif) else "none")]
    if camera:
        found.append(MetadataItem("camera", _clean(camera)))
    if base.Software in exif:
        found.append(MetadataItem("software", _clean(str(exif[base.Software])), notable=True))
    if base.DateTime in exif:
        found.append(MetadataItem("date", _clean(str(exif[base.DateTime]))))
    if exif.get_ifd(ExifTags.IFD.GPSInfo):
        found.append(MetadataItem("position", "present, not shown"))
    if image.info.get("icc_profile"):
        found.append(MetadataItem("color profile", f"{len(image.info['icc_profile']):,} bytes"))
    return found


def _texts(image: Image.Image) -> list[MetadataItem]:
    found = []
    for key, value in image.info.items():
        if key in _PROMPTS and isinstance(value, str):
            found.append(MetadataItem("text of a generator", f"{key}: {_clean(value)}", notable=True))
        elif key in ("Software", "Comment", "comment") and isinstance(value, str | bytes) and value:
            text = value.decode("latin-1") if isinstance(value, bytes) else value
            found.append(MetadataItem(key.lower(), _clean(text), notable=key == "Software"))
    return found


def _said(content: bytes) -> list[MetadataItem]:
    return [MetadataItem("says of itself", what, notable=True) for mark, what in _SAID.items() if mark in content]


def _clean(text: str) -> str:
    """One line of printable characters, shortened."""
    text = re.sub(r"\s+", " ", "".join(c if c.isprintable() or c.isspace() else "�" for c in text)).strip()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _bytes(number: int) -> str:
    return f"{number / 1e6:,.1f} MB" if number >= 1e6 else f"{number / 1e3:,.1f} kB" if number >= 1e3 else f"{number} bytes"
