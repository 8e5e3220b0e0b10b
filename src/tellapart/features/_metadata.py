"""What a file tells before any pixel is decoded: container, sizes, JPEG tables, EXIF.

Read by the null family. Everything comes from the header, by Pillow's lazy `open`; `load` is never called.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from tellapart.data.decode import orientation
from tellapart.errors import ImageError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "MPO")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "F")
_TABLE = 64
NAMES = (
    "format", "mode", "bytes", "width", "height", "aspect", "pixels", "bytes per pixel", "frames known", "EXIF bytes",
    "EXIF orientation", "ICC bytes", "dpi", "comment bytes", "progressive", "subsampling", "tables", "luma sum", "chroma sum",
    *(f"luma[{i}]" for i in range(_TABLE)), *(f"chroma[{i}]" for i in range(_TABLE)),
)  # fmt: skip


def read_metadata(content: bytes, path: str = "image") -> np.ndarray:
    """Metadata of one encoded image: (len(NAMES),) float64, NaN where a format has no such thing.

    Raises:
        ImageError: The header cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content))
            return np.array([*_general(image, len(content)), *_jpeg(image)], dtype=np.float64)
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
        return [np.nan] * (len(NAMES) - 14)
    tables = [list(t) for t in image.quantization.values()]
    luma, chroma = (tables[i] if i < len(tables) else [np.nan] * _TABLE for i in (0, 1))
    progressive = float("progressive" in image.info or "progression" in image.info)
    return [progressive, get_sampling(image), len(tables), sum(luma), sum(chroma), *luma, *chroma]


def _index(known: tuple[str, ...], name: str | None) -> int:
    return known.index(name) if name in known else len(known)
