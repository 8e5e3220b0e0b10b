"""Hostile uploads for `serve_load.py --hostile`, made in memory: what stops a server, or fills its memory."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

#: Statuses that are right for a hostile upload: answered, refused, busy or timed out; never an internal error.
ALLOWED = frozenset({200, 400, 408, 413, 415, 422, 503, 504})


@dataclass(frozen=True)
class Hostile:
    """One hostile request.

    Attributes:
        name: What it is.
        path: Where it is posted.
        body: The file, or several for a form.
        params: Of the query.
    """

    name: str
    path: str
    body: bytes | list[bytes]
    params: dict[str, Any] = field(default_factory=dict)

    def arguments(self) -> dict[str, Any]:
        """Arguments of `httpx.AsyncClient.post`."""
        if isinstance(self.body, bytes):
            return {"content": self.body, "headers": {"content-type": "image/png"}, "params": self.params}
        files = [("image", (f"{number}.png", content, "image/png")) for number, content in enumerate(self.body)]
        return {"files": files, "params": self.params}


def hostile_uploads() -> list[Hostile]:
    """One of each kind."""
    predict, explain, batch = "/api/predict", "/api/explain", "/api/predict/batch"
    large_rgba, large_rgb, photo = png("RGBA", 7070, 7070), png("RGB", 7000, 7000), png("RGB", 4000, 3000)
    noise = np.random.default_rng(0).integers(0, 256, (2500, 2500, 3), dtype=np.uint8)
    return [
        Hostile("500 megapixels", predict, bomb(25_000, 20_000)),
        Hostile("49 megapixels, gray", predict, png("L", 7000, 7000)),
        Hostile("49 megapixels, RGB", predict, large_rgb),
        Hostile("900 scans, 49 megapixels", predict, scans(900, 7000)),
        Hostile("900 scans, 6 megapixels", predict, scans(900, 2500)),
        Hostile("90 scans, 6 megapixels", predict, scans(90, 2500)),
        Hostile("L*a*b* TIFF", predict, encoded(Image.new("LAB", (64, 524_288)), "tiff", compression="tiff_lzw")),
        Hostile("CMYK TIFF", predict, encoded(Image.new("CMYK", (64, 524_288)), "tiff", compression="tiff_lzw")),
        Hostile("half a header", predict, photo[:20]),
        Hostile("half a file", predict, encoded(Image.fromarray(noise), "jpeg")[:200_000]),
        Hostile("icon called PNG", predict, encoded(Image.new("RGBA", (256, 256)), "ico")),
        Hostile("19 MB of noise", predict, encoded(Image.fromarray(noise), "png", compress_level=0)),
        Hostile("huge form", batch, [bytes(600_000)] * 32),
        Hostile("form of 60 files", batch, [bytes(300_000)] * 60),
        Hostile("explain 50 megapixels, RGBA", explain, large_rgba),
        Hostile("explain 49 megapixels, RGB", explain, large_rgb),
        Hostile("explain by occlusion", explain, photo, {"method": "occlusion"}),
        Hostile("stability of 12 megapixels", predict, photo, {"stability": True}),
        Hostile("batch of 32 × 50 megapixels, RGBA", batch, [large_rgba] * 32),
        Hostile("batch of 32 × 49 megapixels, RGB", batch, [large_rgb] * 32),
    ]


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """A picture as a file."""
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def png(mode: str, width: int, height: int) -> bytes:
    """A PNG of one color, small for its size."""
    return encoded(
        Image.new(mode, (width, height), 90 if mode == "L" else (9, 200, 60, 120)[: len(mode)]), "png", compress_level=9
    )


def scans(count: int, side: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    whole = encoded(Image.new("RGB", (side, side)), "jpeg", progressive=True, quality=10)
    start = whole.rfind(b"\xff\xda")
    return whole[:-2] + whole[start:-2] * count + b"\xff\xd9"


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises very many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(10_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
