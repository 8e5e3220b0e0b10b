"""Encoded images become uint8 pixels, by one rule.

1. The first frame of an animation, the first page of a TIFF.
2. EXIF orientation is applied. Other metadata are not read: damaged or large ones change nothing.
3. Of 16 bits a channel the upper 8 are kept, in gray as in color; 12 bits are scaled first. 32 bits, signed integers, floats
   and L*a*b* are refused (see `tiff_samples`).
4. Palettes are looked up; alpha, wherever it comes from, is laid over white; CMYK and YCbCr are converted by Pillow.
5. `rgb` gives three channels (gray repeated); `gray` gives one, ITU-R 601-2 luma.
6. With `Inputs.region` a box or the largest face is cut out, with `Inputs.keep` < 1 the border is cut off. Geometry as
   `Inputs.resize` says; resampling is Pillow's bicubic, which antialiases when shrinking.

Truncated files are errors, never half an image (see `whole_files`). Nothing here guesses: a file that breaks a step is named.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import PIL
from PIL import Image, ImageOps

from tellapart.data import tiff_samples
from tellapart.data.open_image import first_line, open_image, orientation, quiet, upright
from tellapart.data.whole_files import load_whole
from tellapart.errors import ImageError
from tellapart.recipe.schema import Inputs

#: Part of every cache key: another decoder may give other pixels.
DECODER = f"pillow-{PIL.__version__}/2"
_BAND = 2**20  # pixels laid over white at a time
_MOST_BYTES, _USUAL = 2**30, 6  # bytes that decoding a picture may take; of a pixel, so that both limits meet
#: Bytes that Pillow holds for a pixel of a mode; 4 for others.
_HELD = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
#: Bytes of a pixel that decoders of some formats hold besides: coefficients, planes, canvases.
_DECODER = {"WEBP": 8, "AVIF": 8, "JPEG2000": 16}
_GRAY_MODES = {"1", "L", "I;16", "I;16B", "I;16L", "I"}


def decode(
    content: bytes | np.ndarray,
    *,
    mode: Literal["rgb", "gray"] = "rgb",
    path: str = "image",
    max_pixels: int = 178_956_970,
) -> np.ndarray:
    """Decode one image at its own size.

    Args:
        content: The encoded file, or (H, W) or (H, W, 3) uint8 pixels.
        mode: Channels to return.
        path: Name for errors.
        max_pixels: Refuse larger images, before decoding them.

    Returns:
        (H, W, 3) uint8 RGB, or (H, W, 1) uint8 for `gray`.

    Raises:
        ImageError: Not an image, truncated, of an unknown pixel type, or too large.
    """
    with quiet():
        return _pixels(decode_image(content, path, max_pixels), mode)


def decode_to(content: bytes | np.ndarray, inputs: Inputs, path: str = "image", found: np.ndarray | None = None) -> np.ndarray:
    """Decode one image to the resolved size and mode of `inputs`: (H, W, C) uint8. Threads may call it, inside `quiet`.

    Args:
        content: As of `decode`.
        inputs: Resolved.
        path: Name for errors.
        found: (4,) float32, where the region lies, see `data.regions`; None: a face is looked for, a box is not given.

    Raises:
        ImageError: As for `decode`; with `resize: none`, another size; nothing in the region, and `missing: error`.
    """
    height, width = target_size(inputs)
    mode = "gray" if inputs.mode == "gray" else "rgb"
    whole = inputs.keep == 1 and inputs.region is None
    if isinstance(content, np.ndarray) and content.shape[:2] == (height, width) and whole:
        pixels = content if content.ndim == 3 else content[:, :, None]
        if pixels.shape[2] == (1 if mode == "gray" else 3):
            return np.ascontiguousarray(pixels)
    image = decode_image(content, path, inputs.max_pixels)
    if not whole:
        from tellapart.data.regions import crop_box  # imports pandas, which the decoding processes of `serve` do without

        image = image.crop(crop_box(image.size, inputs, _find(image, inputs) if found is None else found, path))
    return _pixels(_fit(image, (width, height), inputs.resize, path), mode)


def decode_rgb(content: bytes | np.ndarray, path: str, max_pixels: int) -> np.ndarray:
    """One image as its file holds it, (H, W) or (H, W, 3) uint8, upright: to be handed to `decode_to` several times.

    Raises:
        ImageError: As for `decode`.
    """
    return content if isinstance(content, np.ndarray) else np.asarray(decode_image(content, path, max_pixels))


def find_region(content: bytes | np.ndarray, inputs: Inputs, path: str = "image") -> np.ndarray:
    """Look for the region of one image: (4,) float32, see `data.regions`. Threads may call it, inside `quiet`.

    Raises:
        ImageError: As for `decode`.
        DataError: The detector is not there.
    """
    return _find(decode_image(content, path, inputs.max_pixels), inputs)


def _find(image: Image.Image, inputs: Inputs) -> np.ndarray:
    """A face; a box stands in the table, and is not seen in an image."""
    from tellapart.data.faces import find_face
    from tellapart.data.regions import NOTHING

    face = inputs.region.face if inputs.region else None
    return find_face(np.asarray(image.convert("RGB")), face) if face else NOTHING


def target_size(inputs: Inputs) -> tuple[int, int]:
    """(height, width) of resolved inputs."""
    if inputs.size == "auto":
        raise ValueError("inputs.size must be resolved before decoding")
    return (inputs.size, inputs.size) if isinstance(inputs.size, int) else inputs.size


def header(content: bytes | np.ndarray, path: str = "image") -> tuple[int, int, bool]:
    """(height, width, is gray) from the header alone, EXIF orientation applied.

    Raises:
        ImageError: Not an image.
    """
    if isinstance(content, np.ndarray):
        return content.shape[0], content.shape[1], content.ndim == 2
    with quiet():
        image = open_image(content, path)
        width, height = image.size
        swapped = image.format != "TIFF" and orientation(image) >= 5  # the size of a TIFF is upright already
    return (width, height, image.mode in _GRAY_MODES) if swapped else (height, width, image.mode in _GRAY_MODES)


def check_decompression_bomb(image: Image.Image, path: str, max_pixels: int = Inputs().max_pixels) -> None:
    """Refuse an image by the size that its header states.

    Raises:
        ImageError: It has more than `max_pixels` pixels, or decoding it takes more than 1 GiB, or more than 6 bytes for each of
            `max_pixels` if these are more.
    """
    width, height = image.size
    each = bytes_per_pixel(image)
    limit = min(max_pixels, max(_MOST_BYTES, _USUAL * max_pixels) // each)
    if width * height > limit:
        size = f"{width}×{height} is {width * height / 1e6:,.0f} megapixels"
        why = f" at {each} bytes a pixel ({image.format}, {image.mode})" if limit < max_pixels else ""
        needed = width * height * max(each, _USUAL) // _USUAL + 1
        hint = f"if it is meant, raise inputs.max_pixels to {needed:,}"
        raise ImageError(path, f"{size}, over the limit of {limit / 1e6:,.0f}{why}: a decompression bomb?", hint=hint)


def bytes_per_pixel(image: Image.Image) -> int:
    """Bytes of a pixel at the peak: what the decoder holds, the picture, and a copy of it where it is converted or turned."""
    held = _HELD.get(image.mode, 4)
    plain = image.mode in ("L", "RGB") and "transparency" not in image.info
    copies = 0 if plain and orientation(image) <= 1 else 4
    decoder = 6 if "progressive" in image.info or "progression" in image.info else _DECODER.get(image.format or "", 0)
    return held + copies + decoder + (6 if image.mode.startswith("I") else 0)


def decode_image(content: bytes | np.ndarray, path: str, max_pixels: int) -> Image.Image:
    """Decode one image at its own size to a Pillow image of mode L or RGB, upright. Arguments and errors as of `decode`."""
    if isinstance(content, np.ndarray):
        return Image.fromarray(np.ascontiguousarray(content))
    image = open_image(content, path)
    check_decompression_bomb(image, path, max_pixels)
    try:
        load_whole(image, content, path)
        return upright(_eight_bit(image, path))
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(path, "there is not enough memory to decode it") from None
    except Exception as error:  # decoders raise nearly anything on damaged data
        raise ImageError(path, f"cannot be decoded ({first_line(error)})") from None


def _eight_bit(image: Image.Image, path: str) -> Image.Image:
    """Any Pillow mode to L or RGB; the metadata are kept."""
    if image.mode == "F":
        raise ImageError(path, "floating-point pixels have no agreed white", hint="save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        return _upper_byte(image, path)
    if image.has_transparency_data:
        return _over_white(image.convert("LA") if image.mode == "La" else image)
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _over_white(image: Image.Image) -> Image.Image:
    """An image with transparency, over white. In bands: each copy of 50 megapixels takes 200 MB, and this makes one."""
    laid = Image.new("RGB", image.size)
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        band = image.crop(box).convert("RGBA")
        laid.paste(Image.alpha_composite(Image.new("RGBA", band.size, (255, 255, 255, 255)), band).convert("RGB"), box)
    laid.info = image.info
    return laid


def _upper_byte(image: Image.Image, path: str) -> Image.Image:
    """16-bit gray to L, as Pillow itself does with 16-bit color; the one value a PNG may call transparent is white."""
    values = np.asarray(image)
    if values.dtype.itemsize > 2 and (values.min() < 0 or values.max() > 65535):
        raise ImageError(path, f"32-bit values from {values.min()} to {values.max()}", hint="save it with 8 or 16 bits")
    values = values.astype(np.uint16)
    clear = image.info.get("transparency")
    if clear is not None:
        values[values == clear] = 65535
    if image.format == "TIFF":
        values = tiff_samples.sixteen_bits(image, values)
    gray = Image.fromarray((values >> 8).astype(np.uint8))
    gray.info = image.info
    return gray


def _fit(image: Image.Image, size: tuple[int, int], resize: str, path: str) -> Image.Image:
    """`image` at `size` (width, height)."""
    if image.size == size:
        return image
    if resize == "none":
        found, wanted = (f"{w}×{h}" for w, h in (image.size, size))
        raise ImageError(path, f"is {found}, but resize: none expects {wanted}", hint="choose another inputs.resize")
    if resize == "crop":
        return ImageOps.fit(image, size, Image.Resampling.BICUBIC)
    if resize == "pad":
        return ImageOps.pad(image, size, Image.Resampling.BICUBIC)
    if resize == "center":
        return _center(image, size)
    return image.resize(size, Image.Resampling.BICUBIC)


def _center(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Cut the middle; where the image is smaller, continue it by reflection. No pixel is resampled."""
    pixels = np.asarray(image)
    for axis, target in ((0, size[1]), (1, size[0])):
        have = pixels.shape[axis]
        if have < target:
            before = (target - have) // 2
            margin = [(0, 0)] * pixels.ndim
            margin[axis] = (before, target - have - before)
            pixels = np.pad(pixels, margin, mode="symmetric")
        start = (pixels.shape[axis] - target) // 2
        pixels = pixels.take(range(start, start + target), axis=axis)
    return Image.fromarray(np.ascontiguousarray(pixels))


def _pixels(image: Image.Image, mode: str) -> np.ndarray:
    pixels = np.asarray(image.convert("L" if mode == "gray" else "RGB"))
    return pixels[:, :, None] if pixels.ndim == 2 else pixels
