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
from PIL import Image, ImageFile, PngImagePlugin, TiffImagePlugin

from tellapart.data import jpeg_scans, png_chunks, tiff_samples
from tellapart.errors import ImageError
from tellapart.regular_files import LARGEST_IMAGE, IrregularFileError, read_bytes

#: What the endings that `scan` looks for stand for.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "TGA", "AVIF")
Image.MAX_IMAGE_PIXELS = None  # our own limit, `Inputs.max_pixels`, is checked before any pixel is decoded
PngImagePlugin.MAX_TEXT_CHUNK = 2**24  # workflows of image generators exceed Pillow's 1 MiB; longer texts are not read
TiffImagePlugin.READ_LIBTIFF = True  # Pillow's own reader accepts missing strips and misreads planes of 16 bits
_SLOW_CODECS = frozenset({"bmp_rle", "ppm", "ppm_plain"})  # which Pillow decodes in Python, 0.5 µs a sample
_MOST_SLOW = 4_000_000
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
        try:
            tiff_samples.check_samples(image, path)
        except ImageError:
            raise
        except Exception as error:  # a damaged tag has another type than it should
            raise ImageError(path, f"its tags cannot be read ({first_line(error)})") from None
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
    """Open a file as `open_image` does.

    Raises:
        ImageError: As for `open_image`, or the file cannot be read.
    """
    try:
        content = read_bytes(file, LARGEST_IMAGE)
    except IrregularFileError as error:
        raise ImageError(path, error.reason) from error
    except OSError as error:
        raise ImageError(path, f"cannot be read ({error.strerror or error})") from error
    return open_image(content, path)


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


def _open(content: bytes, path: str) -> Image.Image:
    """Open a file whose header takes a moment to read and whose pixels are decoded in compiled code.

    Raises:
        ImageError: It is none.
    """
    if not content:
        raise ImageError(path, "the file is empty")
    if content.startswith(jpeg_scans.SIGNATURE):
        jpeg_scans.check_segments(content, path)
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except PIL.UnidentifiedImageError:
        raise ImageError(path, "not an image that can be read") from None
    except Exception as error:  # a damaged header raises nearly anything: OSError, SyntaxError, struct.error, ValueError
        raise ImageError(path, f"not an image that can be read ({first_line(error)})") from None
    slow = isinstance(image, ImageFile.ImageFile) and any(tile.codec_name in _SLOW_CODECS for tile in image.tile)
    samples = image.width * image.height * len(image.getbands())
    if slow and samples > _MOST_SLOW:
        what = f"{samples:,} samples of a rare coding ({image.format}), of which at most {_MOST_SLOW:,} are decoded"
        raise ImageError(path, what, hint="save it as PNG")
    return image
