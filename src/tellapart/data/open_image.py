"""Open encoded images: the one place where a file is handed to Pillow, so that all commands accept the same files.

    open_image(content)             to decode: only what makes the pixels is parsed; other metadata cannot spoil them
    open_with_metadata(content)     to read metadata: all of it, or none where it is damaged
    upright(image)                  EXIF orientation applied

Both opening functions read the header alone; `decode` loads the pixels. Files of `FORMATS` are opened, whatever their name
says. Others are not tried: EPS would start Ghostscript, and icons hold pictures of another size than their header says.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import PIL
from PIL import Image, PngImagePlugin, TiffImagePlugin

from tellapart import regular_files
from tellapart.data import png_chunks, tiff_samples
from tellapart.errors import ImageError

#: What the endings that `scan` looks for stand for.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "TGA", "AVIF")
Image.MAX_IMAGE_PIXELS = None  # our own limit, `Inputs.max_pixels`, is checked before any pixel is decoded
PngImagePlugin.MAX_TEXT_CHUNK = 2**24  # workflows of image generators exceed Pillow's 1 MiB; longer texts are not read
TiffImagePlugin.READ_LIBTIFF = True  # Pillow's own reader accepts missing strips and misreads planes of 16 bits
_ORIENTATION, _RAW_EXIF = 0x0112, "Raw profile type exif"
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_image(content: bytes, path: str = "image") -> Image.Image:
    """Open an encoded image to decode it. Only metadata that change pixels are read: transparency, palette, orientation.

    Args:
        content: The encoded file.
        path: Name for errors.

    Raises:
        ImageError: Not an image, or with samples that cannot be decoded right.
    """
    if content.startswith(png_chunks.SIGNATURE):
        content = png_chunks.keep_pixels(content, path)
    image = _open(content, path)
    if image.format == "TIFF":
        tiff_samples.check_samples(image, path)
    return image


def open_with_metadata(content: bytes, path: str = "image") -> Image.Image:
    """Open an encoded image to read its metadata. Of a PNG whose metadata are damaged, none are there.

    Raises:
        ImageError: As for `open_image`.
    """
    with contextlib.suppress(ImageError):
        return _open(content, path)
    return open_image(content, path)


def open_file(file: Path, path: str) -> Image.Image:
    """Open a file as `open_image` does; of formats other than PNG only the beginning is read.

    Raises:
        ImageError: As for `open_image`, or the file cannot be read.
    """
    try:
        with regular_files.open_file(file) as source:
            if source.read(len(png_chunks.SIGNATURE)) == png_chunks.SIGNATURE:
                source.seek(0)
                return open_image(source.read(), path)
    except OSError as error:
        raise ImageError(path, f"cannot be read ({error.strerror or error})") from error
    image = _open(file, path)
    if image.format == "TIFF":
        tiff_samples.check_samples(image, path)
    return image


def orientation(image: Image.Image) -> int:
    """EXIF orientation of an opened image, 1 to 8; 1 where EXIF has none that can be read. A TIFF is upright already."""
    raw, text = image.info.get("exif", b""), image.info.get(_RAW_EXIF, "")
    if not raw and not text:
        return 1
    exif = Image.Exif()
    try:
        exif.load(raw or bytes.fromhex("".join(text.split("\n")[3:])))
        found = exif.get(_ORIENTATION)
    except Exception:  # damaged EXIF raises nearly anything
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def upright(image: Image.Image) -> Image.Image:
    """The image with its EXIF orientation applied. EXIF itself is not written again: that fails on odd tags."""
    turn = _TURNS.get(orientation(image))
    return image if turn is None else image.transpose(turn)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings about odd metadata.

    Warning filters belong to the whole process, so this goes around a pool of threads, never into them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def first_line(error: Exception) -> str:
    """The message of an exception in one short line."""
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__


def _open(source: bytes | Path, path: str) -> Image.Image:
    if source == b"":
        raise ImageError(path, "the file is empty")
    try:
        return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)
    except PIL.UnidentifiedImageError:
        raise ImageError(path, "not an image that can be read") from None
    except Exception as error:  # a damaged header raises nearly anything: OSError, SyntaxError, struct.error, ValueError
        raise ImageError(path, f"not an image that can be read ({first_line(error)})") from None
