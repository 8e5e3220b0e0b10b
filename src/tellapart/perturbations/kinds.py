"""Nine perturbations of images that occur between camera and classifier, each from weak to strong.

A perturbation takes the decoded pixels of a file at their original size and returns a new file, since a classifier may use the
file and not only its pixels: JPEG and WebP as their codecs write them, everything else as PNG. Metadata of the original file
are dropped. Random values (noise) depend only on the id of the image.

    jpeg        quality, chroma at half size (4:2:0), as most software writes it
    webp        quality, lossy
    scale       both sides times this, and back to the original size; Pillow's bicubic both ways
    blur        Gaussian, standard deviation in pixels; the image is reflected at its border
    noise       Gaussian, standard deviation of values from 0 to 255; the same pattern at every strength
    crop        the center, this share of each side; the image gets smaller
    brightness  all values times 1 + this
    gray        luma (ITU-R BT.601), one channel
    screenshot  the image as a viewer displays it and a screen grab stores it: resampled to this share of its size (bicubic),
                values through an 8-bit gamma table and back (a color-managed display; it merges 17 of 256 levels), and a
                window's frame in gray 200 around it, 1 % of the longer side wide, 1 pixel at least
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tellapart.errors import DataError, unknown_name

#: Stored with every sweep: increase it when a perturbation changes.
VERSION = 1
FRAME, GAMMA = 200, 1.2
#: zlib's fastest: 0.06 s for 1280×720 where Pillow's usual level 6 takes 0.22 s, for a file a sixth larger.
PNG_LEVEL = 1
_BICUBIC = Image.Resampling.BICUBIC


@dataclass(frozen=True)
class Perturbation:
    """One kind of perturbation.

    Attributes:
        name: Name on the command line.
        strengths: Strengths from weak to strong; for brightness, from dark to bright.
        words: Text for a sentence, with `{}` for the strength: "JPEG at quality {}".
        shown: Format of a strength for `str.format`.
        apply: (pixels (H, W, C) uint8 with C = 1 or 3, strength, id) → an encoded file.
    """

    name: str
    strengths: tuple[float, ...]
    words: str
    shown: str
    apply: Callable[[np.ndarray, float, str], bytes]

    def text(self, strength: float) -> str:
        """Format a strength for display.

        >>> PERTURBATIONS["brightness"].text(-0.15), PERTURBATIONS["crop"].text(0.9), PERTURBATIONS["gray"].text(0)
        ('−15%', '90%', '')
        """
        return self.shown.format(strength).replace("-", "−")

    def sentence(self, strength: float) -> str:
        """Describe the perturbation and its strength in a sentence.

        >>> PERTURBATIONS["jpeg"].sentence(50)
        'JPEG at quality 50'
        """
        return self.words.format(self.text(strength))


def select_perturbations(names: Sequence[str] | None) -> tuple[Perturbation, ...]:
    """Select perturbations by name, in the order of `PERTURBATIONS`; None: all.

    Raises:
        DataError: An unknown name, or an empty list.
    """
    if names is None:
        return tuple(PERTURBATIONS.values())
    for name in names:
        if name not in PERTURBATIONS:
            raise DataError(unknown_name("perturbation", name, PERTURBATIONS))
    if not names:
        raise DataError("expected at least one perturbation, found none", hint=f"choose from {', '.join(PERTURBATIONS)}")
    return tuple(perturbation for name, perturbation in PERTURBATIONS.items() if name in names)


def as_png(pixels: np.ndarray) -> bytes:
    """Encode unchanged pixels as a PNG file. `pixels`: (H, W, C) uint8, C = 1 or 3."""
    return _encoded(_picture(pixels), "PNG", compress_level=PNG_LEVEL)


def _jpeg(pixels: np.ndarray, quality: float, name: str) -> bytes:
    del name
    return _encoded(_picture(pixels), "JPEG", quality=int(quality), subsampling="4:2:0")


def _webp(pixels: np.ndarray, quality: float, name: str) -> bytes:
    del name
    return _encoded(_picture(pixels), "WEBP", quality=int(quality))


def _scale(pixels: np.ndarray, share: float, name: str) -> bytes:
    del name
    picture = _picture(pixels)
    return as_png(_pixels(_resized(picture, share).resize(picture.size, _BICUBIC)))


def _blur(pixels: np.ndarray, sigma: float, name: str) -> bytes:
    from scipy import ndimage  # not at the top: the decoding processes of `serve` import this module

    del name
    return as_png(_rounded(ndimage.gaussian_filter(pixels.astype(np.float32), (sigma, sigma, 0), mode="mirror", truncate=5)))


def _noise(pixels: np.ndarray, sigma: float, name: str) -> bytes:
    bell = _generator(name).standard_normal(pixels.shape, dtype=np.float32)
    return as_png(_rounded(pixels + np.float32(sigma) * bell))


def _crop(pixels: np.ndarray, share: float, name: str) -> bytes:
    del name
    height, width = (max(1, round(side * share)) for side in pixels.shape[:2])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return as_png(pixels[top : top + height, left : left + width])


def _brightness(pixels: np.ndarray, change: float, name: str) -> bytes:
    del name
    return as_png(_rounded(np.arange(256) * (1 + change))[pixels])


def _gray(pixels: np.ndarray, strength: float, name: str) -> bytes:
    del strength, name
    return as_png(_pixels(_picture(pixels).convert("L")))


def _screenshot(pixels: np.ndarray, share: float, name: str) -> bytes:
    del name
    levels = np.arange(256) / 255
    table = _rounded(255 * (_rounded(255 * levels ** (1 / GAMMA)) / 255) ** GAMMA)
    shown = table[_pixels(_resized(_picture(pixels), share))]
    border = max(1, round(0.01 * max(shown.shape[:2])))
    return as_png(np.pad(shown, ((border, border), (border, border), (0, 0)), constant_values=FRAME))


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))


def _pixels(picture: Image.Image) -> np.ndarray:
    pixels = np.asarray(picture)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _resized(picture: Image.Image, share: float) -> Image.Image:
    width, height = (max(1, round(side * share)) for side in picture.size)
    return picture.resize((width, height), _BICUBIC)


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _generator(name: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little"))


#: Name → perturbation, in the order in which tables show them.
PERTURBATIONS = {
    perturbation.name: perturbation
    for perturbation in (
        Perturbation("jpeg", (95, 85, 70, 50, 30), "JPEG at quality {}", "{:g}", _jpeg),
        Perturbation("webp", (90, 75, 50, 30), "WebP at quality {}", "{:g}", _webp),
        Perturbation("scale", (0.75, 0.5, 0.25), "scaling to {} and back", "{:g}", _scale),
        Perturbation("blur", (0.5, 1, 2), "blur of {} pixels", "{:g}", _blur),
        Perturbation("noise", (2, 5, 10), "noise of {} in 255", "{:g}", _noise),
        Perturbation("crop", (0.9, 0.75, 0.5), "cropping to {} of the side", "{:.0%}", _crop),
        Perturbation("brightness", (-0.3, -0.15, 0.15, 0.3), "brightness {}", "{:+.0%}", _brightness),
        Perturbation("gray", (1,), "gray", "", _gray),
        Perturbation("screenshot", (0.9, 0.75, 0.5), "a screenshot at {} of the size", "{:g}", _screenshot),
    )
}
