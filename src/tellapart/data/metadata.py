"""What a file tells before any pixel is decoded: container, sizes, JPEG tables, EXIF, who wrote it and when.

Read by the metadata baseline family and by the check `metadata`. Everything comes from the header, by Pillow's lazy `open`;
`load` is never called.

Sources:
    CIPA DC-008 (Exif 2.32), tags Make, Model, Software, DateTime, DateTimeOriginal.
    PNG 1.2, section 11.3.4 (text chunks; generators write their prompts there); XMP part 2, CreatorTool.
    C2PA 2.1, appendix A (content credentials: JPEG segment APP11, PNG chunk caBX).
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from tellapart.data.decode import orientation
from tellapart.errors import ImageError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "MPO")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "F")
_TABLE = 64
#: What is said in words, and stands among the values as a number.
TEXTS = ("software", "camera", "text chunks")
#: Nulls that are saved know the first of these only: new ones come at the end.
NAMES = (
    "format", "mode", "bytes", "width", "height", "aspect", "pixels", "bytes per pixel", "frames known", "EXIF bytes",
    "EXIF orientation", "ICC bytes", "dpi", "comment bytes", "progressive", "subsampling", "tables", "luma sum", "chroma sum",
    *(f"luma[{i}]" for i in range(_TABLE)), *(f"chroma[{i}]" for i in range(_TABLE)),
    "credentials", "date", *TEXTS,
)  # fmt: skip
_SOFTWARE, _MAKE, _MODEL, _DATE, _EXIF_IFD, _TAKEN = 0x0131, 0x010F, 0x0110, 0x0132, 0x8769, 0x9003
_CREATOR = re.compile(rb"CreatorTool(?:>|=[\"'])([^<\"']{1,200})")
_LONGEST = 80  # characters of a text that are kept


@dataclass(frozen=True, eq=False)
class Header:
    """What one file says.

    Attributes:
        values: (len(NAMES),) float64, NaN where a format has no such thing; of each text its `code`.
        texts: Software, camera, names of text chunks; "" where there is none.
    """

    values: np.ndarray
    texts: tuple[str, str, str]


def read_metadata(content: bytes, path: str = "image") -> np.ndarray:
    """Metadata of one encoded image: (len(NAMES),) float64, as `Header.values`.

    Raises:
        ImageError: The header cannot be read.
    """
    return read_header(content, path).values


def read_header(content: bytes, path: str = "image") -> Header:
    """Metadata of one encoded image.

    Raises:
        ImageError: The header cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content))
            texts = _texts(image)
            written = [_has_credentials(image), _date(image), *map(code, texts)]
            return Header(np.array([*_general(image, len(content)), *_jpeg(image), *written], dtype=np.float64), texts)
    except Exception as error:  # a damaged header raises nearly anything
        raise ImageError(path, f"its header cannot be read ({type(error).__name__}: {error})") from None


def _general(image: Image.Image, size: int) -> list[float]:
    width, height = image.size
    info = image.info
    dpi = info.get("dpi", (np.nan,))[0]
    comment = info.get("comment", b"")
    return [
        _index(FORMATS, image.format), _index(MODES, image.mode), size, width, height, width / height, width * height,
        size / (width * height), "duration" in info, len(info.get("exif", b"")), orientation(image),
        len(info.get("icc_profile") or b""), float(dpi), len(comment),
    ]  # fmt: skip


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
    """Software, camera, names of text chunks; one name each, however often it is said."""
    exif, info = _exif(image), image.info
    created = _CREATOR.search(_bytes(info.get("xmp") or info.get("XML:com.adobe.xmp") or b""))
    xmp = created[1].decode("utf-8", "replace") if created else ""
    software = _clean(exif.get(_SOFTWARE)) or _clean(info.get("Software")) or _clean(xmp)
    camera = " ".join(dict.fromkeys(filter(None, (_clean(exif.get(tag)) for tag in (_MAKE, _MODEL)))))
    chunks = [str(name) for name, value in info.items() if isinstance(value, str)] if image.format == "PNG" else []
    return software, camera, ", ".join(sorted(chunks))[:_LONGEST]


def _exif(image: Image.Image) -> Image.Exif:
    """EXIF of the header; for a PNG without an early chunk Pillow would decode everything, so there it is empty."""
    return Image.Exif() if image.format == "PNG" and "exif" not in image.info else image.getexif()


def _date(image: Image.Image) -> float:
    """Days since 1970 of the moment the picture was taken, or else written; NaN where EXIF does not say."""
    exif = _exif(image)
    for said in (exif.get_ifd(_EXIF_IFD).get(_TAKEN) if exif else None, exif.get(_DATE)):
        with contextlib.suppress(ValueError):  # cameras whose clock was never set write zeros or blanks
            return datetime.strptime(_clean(said)[:19], "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC).timestamp() / 86400
    return np.nan


def _has_credentials(image: Image.Image) -> bool:
    """Whether content credentials (C2PA) are there; they are not verified."""
    if isinstance(image, JpegImageFile):
        return any(name == "APP11" and b"jumb" in segment for name, segment in image.applist)
    return any(chunk[0] == b"caBX" for chunk in getattr(image, "private_chunks", ()))


def _clean(text: object) -> str:
    """A text of a header, or ""."""
    return " ".join(text.replace("\0", " ").split())[:_LONGEST] if isinstance(text, str) else ""


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
