"""Pictures for the page: the one that was sent, and its map as a layer to lay over it."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import matplotlib
import numpy as np
from PIL import Image

from tellapart.data.decode import decode
from tellapart.reports.explain_figures import COLORS, overlay

LONGEST = 720  # pixels of a preview: enough for a phone held across, little enough to travel twice


@dataclass(frozen=True)
class Preview:
    """A picture as a `data:` address, with its size on the page."""

    uri: str
    width: int
    height: int

    @property
    def tiny(self) -> bool:
        """Whether its pixels are shown as squares."""
        return max(self.width, self.height) <= 128


def preview(content: bytes, name: str, max_pixels: int) -> Preview:
    """An encoded picture, upright and shrunk.

    Raises:
        ImageError: It cannot be decoded.
    """
    image = Image.fromarray(decode(content, path=name, max_pixels=max_pixels))
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return as_uri(image, "jpeg" if max(image.size) > 128 else "png")


def colorize(values: np.ndarray) -> Image.Image:
    """A map as colors that cover more the higher it is: (H, W) float32 in [0, 1] → RGBA, at the size of a preview."""
    shrunk = Image.fromarray(values.astype(np.float32))
    scale = min(1.0, LONGEST / max(values.shape))
    size = (max(1, round(values.shape[1] * scale)), max(1, round(values.shape[0] * scale)))
    small = np.asarray(shrunk.resize(size, Image.Resampling.BILINEAR)).clip(0, 1)
    colors = matplotlib.colormaps[COLORS](0.15 + 0.85 * small)
    colors[..., 3] = np.sqrt(small)
    return Image.fromarray(np.rint(255 * colors).astype(np.uint8), "RGBA")


def overlay_png(pixels: np.ndarray, values: np.ndarray) -> bytes:
    """A picture under its map, at its own size: (H, W, 3) uint8 and (H, W) float32 in [0, 1] → PNG."""
    return encoded(Image.fromarray(overlay(pixels, values)), "png")


def gray(values: np.ndarray) -> bytes:
    """A map at its own size, (H, W) float32 in [0, 1] → PNG, 8 bits of gray."""
    return encoded(Image.fromarray(np.rint(255 * values).astype(np.uint8)), "png")


def encoded(image: Image.Image, kind: str) -> bytes:
    """An image as a file: "png" or "jpeg"."""
    target = io.BytesIO()
    image.save(target, kind, **({"quality": 88} if kind == "jpeg" else {}))
    return target.getvalue()


def as_uri(image: Image.Image, kind: str) -> Preview:
    """An image as a `data:` address."""
    content = base64.b64encode(encoded(image, kind)).decode()
    return Preview(f"data:image/{kind};base64,{content}", *image.size)
