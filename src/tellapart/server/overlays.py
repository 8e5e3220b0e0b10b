"""Images for the page: a preview of the upload, and its heatmap as a transparent layer."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import matplotlib
import numpy as np
from PIL import Image

from tellapart.reports.explain_figures import COLORS, overlay

MAX_SIDE = 720  # pixels of a preview: enough for a phone in landscape; the preview is sent twice


@dataclass(frozen=True)
class Preview:
    """An image as a `data:` URI, with its size on the page."""

    uri: str
    width: int
    height: int

    @property
    def tiny(self) -> bool:
        """Whether the image is so small that its pixels are shown as squares."""
        return max(self.width, self.height) <= 128


def preview(pixels: np.ndarray) -> Preview:
    """The preview of an image: (H, W, 3) uint8, of at most `MAX_SIDE` pixels on its longer side."""
    image = Image.fromarray(pixels)
    return as_uri(image, "jpeg" if max(image.size) > 128 else "png")


def colorize(values: np.ndarray) -> Image.Image:
    """Color a heatmap, more opaque where it is higher.

    Args:
        values: (H, W) float32 in [0, 1].

    Returns:
        RGBA, at the size of a preview.
    """
    shrunk = Image.fromarray(values.astype(np.float32))
    scale = min(1.0, MAX_SIDE / max(values.shape))
    size = (max(1, round(values.shape[1] * scale)), max(1, round(values.shape[0] * scale)))
    small = np.asarray(shrunk.resize(size, Image.Resampling.BILINEAR)).clip(0, 1)
    colors = matplotlib.colormaps[COLORS](0.15 + 0.85 * small)
    colors[..., 3] = np.sqrt(small)
    return Image.fromarray(np.rint(255 * colors).astype(np.uint8), "RGBA")


def overlay_png(pixels: np.ndarray, values: np.ndarray) -> bytes:
    """Blend an image and its heatmap, at full size: (H, W, 3) uint8 and (H, W) float32 in [0, 1] → PNG."""
    return encode(Image.fromarray(overlay(pixels, values)), "png")


def grayscale_png(values: np.ndarray) -> bytes:
    """A heatmap at full size, (H, W) float32 in [0, 1] → 8-bit grayscale PNG."""
    return encode(Image.fromarray(np.rint(255 * values).astype(np.uint8)), "png")


def encode(image: Image.Image, kind: str) -> bytes:
    """Encode an image; `kind` is "png" or "jpeg"."""
    target = io.BytesIO()
    image.save(target, kind, **({"quality": 88} if kind == "jpeg" else {}))
    return target.getvalue()


def as_uri(image: Image.Image, kind: str) -> Preview:
    """Encode an image as a `data:` URI."""
    content = base64.b64encode(encode(image, kind)).decode()
    return Preview(f"data:image/{kind};base64,{content}", *image.size)
