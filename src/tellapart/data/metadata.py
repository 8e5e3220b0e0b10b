"""Metadata of image files: container, size, JPEG tables, EXIF, software, dates, content credentials. No pixel is decoded.

    read_header(content)        the features of the metadata baseline and of the check `metadata`, and their texts
    read_metadata(content)      the same facts as items with a name and a value, for the pages of `serve`
    add_header_columns(table)   width, height, pixels and color mode of every image, to slice scores by

Everything comes from the header, by Pillow's lazy `open`; `load` is never called. All of it can be forged or lost on the way:
hints, not evidence.

Sources:
    CIPA DC-008 (Exif 2.32), tags Make, Model, Software, DateTime, DateTimeOriginal.
    PNG 1.2, section 11.3.4 (text chunks; generators write their prompts there); XMP part 2, CreatorTool.
    C2PA 2.1, appendix A (content credentials: JPEG segment APP11, PNG chunk caBX).
    IPTC, NewsCodes, digital source type "trainedAlgorithmicMedia" (in XMP or in content credentials).
"""

from __future__ import annotations

import contextlib
import math
import re
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags, Image
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from tellapart.data.decode import header
from tellapart.data.jpeg_quality import estimate_quality
from tellapart.data.open_image import open_with_metadata, orientation, quiet
from tellapart.errors import ImageError
from tellapart.progress import SILENT, Progress

if TYPE_CHECKING:
    import pandas as pd

    from tellapart.types import ImageTable

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "MPO")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "F")
#: Chroma subsampling by Pillow's number.
SUBSAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
_TABLE = 64  # values of a quantization table
#: Features that are texts; their column holds the `code` of the text.
TEXTS = ("software", "camera", "text chunks")
#: Names of the features. Saved metadata baselines use a prefix of this list: add new names at the end only.
NAMES = (    "format", "mode", "bytes", "width", "height", "aspect", "pixels", "bytes per pixel", "frames known", "EXIF bytes",
    "EXIF orientation", "ICC bytes", "dpi", "comment bytes", "progressive", "subsampling", "tables", "luma sum", "chroma sum",
    *(f"luma[{i}]" for i in range(_TABLE)), *(f"chroma[{i}]" for i in range(_TABLE)),
    "credentials", "date", *TEXTS,
)  # fmt: skip
_SOFTWARE, _MAKE, _MODEL, _DATE, _EXIF_IFD, _TAKEN = 0x0131, 0x010F, 0x0110, 0x0132, 0x8769, 0x9003
_CREATOR = re.compile(rb"CreatorTool(?:>|=[\"'])([^<\"']{1,200})")
_LONGEST = 80  # characters of a text that are kept as a feature
_LONGEST_SHOWN = 120  # characters of a text that are shown
#: PNG text chunks in which image generators write the prompt and the settings.
_PROMPTS = ("parameters", "prompt", "workflow", "Dream", "sd-metadata", "invokeai_metadata")
_TRAINED = b"trainedAlgorithmicMedia"  # IPTC's name for pictures made by a trained model


@dataclass(frozen=True, eq=False)
class Header:
    """Metadata of one file as features.

    Attributes:
        values: (len(NAMES),) float64, NaN where the format has no such field; for a text, its `code`.
        texts: Software, camera, names of text chunks; "" where there is none.
    """

    values: np.ndarray
    texts: tuple[str, str, str]


@dataclass(frozen=True)
class MetadataItem:
    """One fact about a file: its name, its value, and whether it deserves a second look."""

    name: str
    value: str
    notable: bool = False


def metadata_features(content: bytes, path: str = "image") -> np.ndarray:
    """Metadata of one encoded image: (len(NAMES),) float64, as `Header.values`.

    Raises:
        ImageError: The header cannot be read.
    """
    return read_header(content, path).values


def read_header(content: bytes, path: str = "image") -> Header:
    """Metadata of one encoded image, as features and texts.

    Raises:
        ImageError: The header cannot be read.
    """
    try:
        with quiet():
            image = open_with_metadata(content, path)
            texts = _texts(image)
            written = [has_content_credentials(image), _date(image), *map(code, texts)]
            return Header(np.array([*_general(image, len(content)), *_jpeg(image), *written], dtype=np.float64), texts)
    except Exception as error:  # a damaged header raises nearly anything
        raise ImageError(path, f"its header cannot be read ({type(error).__name__}: {error})") from None


def read_metadata(content: bytes, name: str = "image") -> list[MetadataItem]:
    """Metadata of one encoded image, for people to read. The prediction of a model that sees pixels uses none of it.

    Raises:
        ImageError: The header cannot be read.
    """
    height, width, _ = header(content, name)
    try:
        with quiet():
            image = open_with_metadata(content, name)
            first = MetadataItem("format", f"{image.format}, {image.mode}")
            size = MetadataItem("size", f"{width:,} × {height:,} pixels, {_size_text(len(content))}")
            return [first, size, *_jpeg_items(image), *_exif_items(image), *_text_items(image), *_provenance_items(image)]
    except Exception as error:  # damaged metadata raises nearly anything
        raise ImageError(name, f"its metadata cannot be read ({type(error).__name__})") from None


def has_content_credentials(image: Image.Image) -> bool:
    """Whether an opened file carries content credentials (C2PA); they are not verified."""
    return bool(_credentials(image))


def _credentials(image: Image.Image) -> bytes:
    """The content credentials: JUMBF boxes of a JPEG's APP11 segments, or a PNG's caBX chunk."""
    if isinstance(image, JpegImageFile):
        return b"".join(segment for name, segment in image.applist if name == "APP11" and b"jumb" in segment)
    return b"".join(chunk[0] + chunk[1] for chunk in getattr(image, "private_chunks", ()) if chunk[0] == b"caBX")


def _xmp(image: Image.Image) -> bytes:
    return _bytes(image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b"")


def _general(image: Image.Image, size: int) -> list[float]:
    width, height = image.size
    info = image.info
    dpi = info.get("dpi", (np.nan,))[0]
    comment = info.get("comment", b"")
    return [
        _index(FORMATS, image.format), _index(MODES, image.mode), size, width, height, width / height, width * height,
        size / (width * height), "duration" in info, len(info.get("exif", b"")), orientation(image),
        len(info.get("icc_profile") or b""), _number(dpi), len(comment),
    ]  # fmt: skip


def _number(value: Any) -> float:
    """A number of a header; NaN where damage made it anything else."""
    try:
        return float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return np.nan


def _jpeg(image: Image.Image) -> list[float]:
    if not isinstance(image, JpegImageFile):
        return [np.nan] * (5 + 2 * _TABLE)
    tables = [list(t) for t in image.quantization.values()]
    luma, chroma = (tables[i] if i < len(tables) else [np.nan] * _TABLE for i in (0, 1))
    progressive = float("progressive" in image.info or "progression" in image.info)
    return [progressive, get_sampling(image), len(tables), sum(luma), sum(chroma), *luma, *chroma]


def _index(known: tuple[str, ...], name: str | None) -> int:
    return known.index(name) if name in known else len(known)


def code(text: str) -> float:
    """A text as a number: equal texts have equal ones, no text is NaN."""
    return float(zlib.crc32(text.encode())) if text else np.nan


def _texts(image: Image.Image) -> tuple[str, str, str]:
    """Software, camera, names of text chunks; one name each, however often it occurs."""
    exif, info = _exif(image), image.info
    created = _CREATOR.search(_xmp(image))
    xmp = created[1].decode("utf-8", "replace") if created else ""
    software = _clean(exif.get(_SOFTWARE)) or _clean(info.get("Software")) or _clean(xmp)
    camera = " ".join(dict.fromkeys(filter(None, (_clean(exif.get(tag)) for tag in (_MAKE, _MODEL)))))
    chunks = [str(name) for name, value in info.items() if isinstance(value, str)] if image.format == "PNG" else []
    return software, camera, ", ".join(sorted(chunks))[:_LONGEST]


def _exif(image: Image.Image) -> Image.Exif:
    """EXIF of the header, empty where it is damaged; for a PNG without an early chunk Pillow would decode everything."""
    if image.format == "PNG" and "exif" not in image.info:
        return Image.Exif()
    try:
        exif = image.getexif()
        dict(exif)  # values are read when they are asked for
        exif.get_ifd(_EXIF_IFD)
    except Exception:  # damaged EXIF raises nearly anything
        return Image.Exif()
    return exif


def _date(image: Image.Image) -> float:
    """Days since 1970 of the moment the picture was taken, or else written; NaN where EXIF has no date."""
    exif = _exif(image)
    for text in (exif.get_ifd(_EXIF_IFD).get(_TAKEN) if exif else None, exif.get(_DATE)):
        with contextlib.suppress(ValueError):  # cameras whose clock was never set write zeros or blanks
            return datetime.strptime(_clean(text)[:19], "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC).timestamp() / 86400
    return np.nan


def _clean(text: object) -> str:
    """A text of a header, or ""."""
    return " ".join(text.replace("\0", " ").split())[:_LONGEST] if isinstance(text, str) else ""


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


# --- the same as items to be shown -------------------------------------------------------------------------------------


def _jpeg_items(image: Image.Image) -> list[MetadataItem]:
    if not isinstance(image, JpegImageFile):
        return []
    tables = [list(table) for table in image.quantization.values()]
    items = []
    if tables and len(tables[0]) == _TABLE:
        quality, exact = estimate_quality(np.array(tables[:1], dtype=np.float64))
        text = f"about {quality[0]:.0f} of 100" + ("" if exact[0] else ", by tables of its own")
        items.append(MetadataItem("JPEG quality", f"{text} ({len(tables)} table{'s' if len(tables) > 1 else ''})"))
    coding = "progressive" if {"progressive", "progression"} & set(image.info) else "baseline"
    return [*items, MetadataItem("JPEG coding", f"{coding}, {SUBSAMPLINGS.get(get_sampling(image), 'another')} subsampling")]


def _exif_items(image: Image.Image) -> list[MetadataItem]:
    exif = _exif(image)
    camera = " ".join(str(exif[tag]) for tag in (_MAKE, _MODEL) if tag in exif)
    items = [MetadataItem("EXIF", f"{len(exif)} entries" if len(exif) else "none")]
    if camera:
        items.append(MetadataItem("camera", _shown(camera)))
    if _SOFTWARE in exif:
        items.append(MetadataItem("software", _shown(str(exif[_SOFTWARE])), notable=True))
    if _DATE in exif:
        items.append(MetadataItem("date", _shown(str(exif[_DATE]))))
    if exif.get_ifd(ExifTags.IFD.GPSInfo):
        items.append(MetadataItem("position", "present, not shown"))
    if image.info.get("icc_profile"):
        items.append(MetadataItem("color profile", f"{len(image.info['icc_profile']):,} bytes"))
    return items


def _text_items(image: Image.Image) -> list[MetadataItem]:
    items = []
    for key, value in image.info.items():
        if key in _PROMPTS and isinstance(value, str):
            items.append(MetadataItem("text of a generator", f"{key}: {_shown(value)}", notable=True))
        elif key in ("Software", "Comment", "comment") and isinstance(value, str | bytes) and value:
            text = value.decode("latin-1") if isinstance(value, bytes) else value
            items.append(MetadataItem(key.lower(), _shown(text), notable=key == "Software"))
    return items


def _provenance_items(image: Image.Image) -> list[MetadataItem]:
    credentials, items = _credentials(image), []
    if _TRAINED in _xmp(image) or _TRAINED in credentials:
        items.append(MetadataItem("digital source type", "IPTC: made by a trained model", notable=True))
    if credentials:
        items.append(MetadataItem("content credentials", "present (C2PA), not verified", notable=True))
    return items


def _shown(text: str) -> str:
    """One line of printable characters, shortened."""
    text = re.sub(r"\s+", " ", "".join(c if c.isprintable() or c.isspace() else "�" for c in text)).strip()
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"


def _size_text(number: int) -> str:
    return f"{number / 1e6:,.1f} MB" if number >= 1e6 else f"{number / 1e3:,.1f} kB" if number >= 1e3 else f"{number} bytes"


# --- columns of a table --------------------------------------------------------------------------------------------------


def add_header_columns(table: ImageTable, progress: Progress = SILENT) -> pd.DataFrame:
    """The table's frame with `width`, `height`, `pixels` (float64) and `mode` ("gray", "color").

    Images that cannot be read (moved or damaged files) have NaN and "".

    Args:
        table: N images, of which only headers are read.
        progress: Receives the progress.
    """
    import pandas as pd  # not at the top: the decoding processes of `serve` import this module

    from tellapart.data.reader import ImageReader

    rows: list[tuple[float, float, str]] = []
    with ImageReader(table) as reader, progress.task("reading headers", len(table), "img") as task:
        for path in table.paths:
            try:
                height, width, gray = header(reader.get(path), str(path))
                rows.append((width, height, "gray" if gray else "color"))
            except ImageError:
                rows.append((math.nan, math.nan, ""))
            task.advance()
    columns = pd.DataFrame(rows, columns=["width", "height", "mode"], index=table.frame.index)
    return table.frame.assign(**columns, pixels=columns["width"] * columns["height"])
