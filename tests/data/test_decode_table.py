"""Every kind of samples against a second opinion: the values that were written, tifffile, or OpenCV; or it is refused."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from tellapart.data.decode import decode, header
from tellapart.errors import ImageError

#: Name → (file, (H, W) or (H, W, C) uint8 that must come out, or None: it is refused, largest difference).
Case = tuple[bytes, np.ndarray | None, int]
CASES: dict[str, Callable[[], Case]] = {}


def values(shape: tuple[int, ...], bits: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).integers(0, 2**bits, shape)
    drawn.flat[: min(2, drawn.size)] = (0, 2**bits - 1)[: min(2, drawn.size)]
    return drawn


def eight(samples: np.ndarray, bits: int) -> np.ndarray:
    """Samples on the scale 0 … 255: wide ones lose their lower bits, narrow ones are stretched."""
    return samples >> (bits - 8) if bits >= 8 else samples * 255 // (2**bits - 1)


def over_white(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    alpha = alpha[:, :, None] / 255
    return np.rint(color * alpha + 255 * (1 - alpha))


# --- PNG, against the values that were written ---------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples: np.ndarray, bits: int, color: int, *extra: bytes) -> bytes:
    """`samples`: (H, W, C)."""
    height, width, _ = samples.shape
    rows = samples.reshape(height, -1)
    if bits == 16:
        packed = [row.astype(">u2").tobytes() for row in rows]
    else:
        each = (rows[:, :, None] >> np.arange(bits)[::-1]) & 1
        packed = [np.packbits(row.ravel().astype(np.uint8)).tobytes() for row in each]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in packed)))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + body + chunk(b"IEND", b"")


def add_png(shape: tuple[int, int], color: int, channels: int, bits: int, clear: bool) -> None:
    def make() -> Case:
        samples = values((*shape, channels), bits, seed=bits)
        extra, alpha = [], np.full(shape, 255)
        shown = eight(samples, bits)
        if color == 3:
            palette = values((2**bits, 3), 8, seed=1)
            extra.append(chunk(b"PLTE", palette.astype(np.uint8).tobytes()))
            shown = palette[samples[:, :, 0]]
            if clear:
                half = values((2 ** (bits - 1),), 8, seed=2)
                extra.append(chunk(b"tRNS", half.astype(np.uint8).tobytes()))
                alpha = np.concatenate([half, np.full(2 ** (bits - 1), 255)])[samples[:, :, 0]]
        elif clear:
            one = samples[-1, -1]
            extra.append(chunk(b"tRNS", struct.pack(f">{channels}H", *one)))
            alpha = np.where((samples == one).all(2), 0, 255)
            if color == 2 and bits == 16:
                return png(samples, bits, color, *extra), None, 0
        elif color >= 4:
            shown, alpha = shown[:, :, :-1], shown[:, :, -1]
        return png(samples, bits, color, *extra), over_white(shown, alpha), 1

    name = {0: "gray", 2: "rgb", 3: "palette", 4: "gray-alpha", 6: "rgba"}[color]
    CASES[f"png-{name}-{bits}{'-trns' if clear else ''}-{shape[1]}x{shape[0]}"] = make


for _shape in ((1, 1), (5, 7), (9, 16)):
    for _color, _channels, _bits in (
        (0, 1, (1, 2, 4, 8, 16)),
        (2, 3, (8, 16)),
        (3, 1, (1, 2, 4, 8)),
        (4, 2, (8, 16)),
        (6, 4, (8, 16)),
    ):
        for _each in _bits:
            for _clear in (False, True) if _color < 4 else (False,):
                add_png(_shape, _color, _channels, _each, _clear)


# --- TIFF, against tifffile ------------------------------------------------------------------------------------------------


def tiff(samples: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, metadata=None, **options)
    return file.getvalue()


def add_tiff(name: str, make: Callable[[], np.ndarray], bits: int, refused: bool = False, **options) -> None:
    def case() -> Case:
        content = tiff(make(), **options)
        found = tifffile.imread(io.BytesIO(content))
        if refused:
            return content, None, 0
        if options.get("planarconfig") == "separate":
            found = np.moveaxis(found, 0, -1)
        if options.get("colormap") is not None:
            return content, (options["colormap"] >> 8).T[found], 0
        if options.get("photometric") == "miniswhite":
            found = (2**bits - 1) - found.astype(np.int64)
        shown = eight(found.astype(np.int64), bits)
        if "extrasamples" not in options:
            return content, shown, 0
        color, alpha = shown[:, :, :-1], shown[:, :, -1]
        if options["extrasamples"] == ["assocalpha"]:  # multiplied by alpha already
            return content, np.clip(color + 255 - alpha[:, :, None], 0, 255), 3
        return content, over_white(color, alpha), 1

    CASES[f"tiff-{name}"] = case


def premultiplied(shape: tuple[int, int], bits: int) -> np.ndarray:
    alpha = values((*shape, 1), bits, seed=3)
    return np.concatenate([values((*shape, 3), bits) * alpha // (2**bits - 1), alpha], axis=2).astype(f"u{bits // 8}")


_STORED = list(itertools.product((None, "zlib"), "<>", ({"rowsperstrip": 3}, {"tile": (16, 16)})))
for _bits, (_compression, _order, _layout) in itertools.product((8, 16), _STORED):
    _end = f"{_bits}-{_compression}-{'le' if _order == '<' else 'be'}-{next(iter(_layout))}"
    _options = {"compression": _compression, "byteorder": _order, **_layout}
    _type = f"u{_bits // 8}"
    for _photometric in ("minisblack", "miniswhite"):
        add_tiff(
            f"gray-{_photometric}-{_end}",
            lambda b=_bits, t=_type: values((20, 37), b).astype(t),
            _bits,
            refused=(_photometric, _bits, _order) == ("miniswhite", 16, ">"),
            photometric=_photometric,
            **_options,
        )
    for _planar in ("contig", "separate"):
        _axes = (20, 37, 3) if _planar == "contig" else (3, 20, 37)
        add_tiff(
            f"rgb-{_planar}-{_end}",
            lambda b=_bits, t=_type, a=_axes: values(a, b).astype(t),
            _bits,
            photometric="rgb",
            planarconfig=_planar,
            **_options,
        )
    for _alpha in ("unassalpha", "assocalpha"):
        add_tiff(
            f"rgb-{_alpha}-{_end}",
            lambda b=_bits: premultiplied((20, 37), b),
            _bits,
            photometric="rgb",
            extrasamples=[_alpha],
            **_options,
        )
    if _bits == 8:
        _map = values((3, 256), 16, seed=5).astype(np.uint16)
        add_tiff(
            f"palette-{_end}", lambda: values((20, 37), 8).astype("u1"), 8, photometric="palette", colormap=_map, **_options
        )

for _photometric, _order in itertools.product(("minisblack", "miniswhite"), "<>"):
    add_tiff(
        f"bilevel-{_photometric}-{'le' if _order == '<' else 'be'}",
        lambda: values((20, 37), 1).astype(bool),
        1,
        photometric=_photometric,
        byteorder=_order,
    )
for _type in ("i1", "i2", "i4", "u4", "f2", "f4", "f8"):
    add_tiff(f"gray-{_type}", lambda t=_type: values((20, 37), 7).astype(t), 8, refused=True, photometric="minisblack")


def by_hand(samples: np.ndarray, bits: int, photometric: int, compression: int = 1, **tags: int) -> bytes:
    """A little-endian TIFF of one strip. `samples`: (H, W) or (H, W, C)."""
    height, width = samples.shape[:2]
    each = (samples.reshape(height, -1)[:, :, None] >> np.arange(bits)[::-1]) & 1
    data = b"".join(np.packbits(row.ravel().astype(np.uint8)).tobytes() for row in each)
    if compression == 8:
        data = zlib.compress(data)
    count = samples.shape[2] if samples.ndim == 3 else 1
    data += b"\0" * (len(data) % 2)
    rows = {
        256: width, 257: height, 258: bits, 259: compression, 262: photometric, 273: 8, 277: count, 278: height, 279: len(data),
        **{int(tag[1:]): value for tag, value in tags.items()},
    }  # fmt: skip
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in sorted(rows.items()))
    return b"II*\0" + struct.pack("<L", 8 + len(data)) + data + struct.pack("<H", len(rows)) + entries + bytes(4)


for _bits, _photometric, _compression in itertools.product((1, 2, 4, 12), (0, 1), (1, 8)):

    def _gray(bits: int = _bits, photometric: int = _photometric, compression: int = _compression) -> Case:
        samples = values((6, 8), bits, seed=4)
        shown = samples if photometric else 2**bits - 1 - samples
        refused = bits == 12 and not photometric
        return by_hand(samples, bits, photometric, compression), None if refused else eight(shown, bits), 0

    CASES[f"tiff-by-hand-gray-{_bits}-{'black' if _photometric else 'white'}-is-zero-{_compression}"] = _gray

CASES["tiff-by-hand-lab"] = lambda: (by_hand(values((4, 6, 3), 8), 8, 8), None, 0)
CASES["tiff-by-hand-gray-24"] = lambda: (by_hand(values((4, 6), 24), 24, 1), None, 0)


# --- what Pillow writes, against OpenCV or the values that were written ---------------------------------------------------


def smooth(height: int = 48, width: int = 72) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([128 + 100 * np.sin(x / 9), 128 + 100 * np.cos(y / 7), (x + y) % 200], -1).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def add_codec(name: str, mode: str, kind: str, tolerance: int, **options) -> None:
    def case() -> Case:
        content = encoded(Image.fromarray(smooth()).convert(mode), kind, **options)
        return content, cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB), tolerance

    CASES[f"{name}-{mode.lower()}"] = case


for _mode, _progressive, _subsampling in itertools.product(("L", "RGB", "CMYK"), (False, True), (0, 1, 2)):
    add_codec(f"jpeg-{'progressive' if _progressive else 'baseline'}-{_subsampling}", _mode, "JPEG", 3,
              progressive=_progressive, subsampling=_subsampling, quality=92)  # fmt: skip
for _mode, _kind, _tolerance, _options in (
    ("RGB", "WEBP", 2, {"quality": 80}),
    ("RGB", "WEBP", 0, {"lossless": True}),
    ("RGB", "AVIF", 3, {"quality": 80}),
    *((mode, "BMP", 0, {}) for mode in ("1", "L", "P", "RGB")),
    *((mode, "PPM", 0, {}) for mode in ("1", "L", "RGB")),
    *((mode, "JPEG2000", 0, {}) for mode in ("L", "RGB")),
    *((mode, "GIF", 0, {}) for mode in ("L", "P")),
):
    add_codec(f"{_kind.lower()}{'-lossless' if _options.get('lossless') else ''}", _mode, _kind, _tolerance, **_options)


def add_exact(name: str, mode: str, kind: str, **options) -> None:
    def case() -> Case:
        pixels = smooth()
        if mode in ("RGBA", "LA"):
            color = pixels if mode == "RGBA" else pixels[:, :, :1]
            alpha = np.arange(48 * 72).reshape(48, 72) % 256
            image = Image.fromarray(np.concatenate([color, alpha[:, :, None].astype(np.uint8)], axis=2), mode)
            return encoded(image, kind, **options), over_white(color.astype(float), alpha), 1
        image = Image.fromarray(pixels).convert(mode)
        return encoded(image, kind, **options), np.asarray(image.convert("RGB")), 0

    CASES[f"{name}-{mode.lower()}"] = case


for _mode, _kind, _options in (
    ("RGBA", "WEBP", {"lossless": True, "exact": True}),
    *((mode, "TGA", {}) for mode in ("L", "P", "RGB", "RGBA")),
    ("RGB", "TGA", {"compression": "tga_rle"}),
    *((mode, "TIFF", {}) for mode in ("LA", "P", "RGBA", "CMYK")),
    ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    ("L", "TIFF", {"compression": "packbits"}),
    ("1", "TIFF", {"compression": "group4"}),
    ("1", "TIFF", {"compression": "group3"}),
    *((mode, kind, {}) for mode in ("LA", "RGBA") for kind in ("JPEG2000", "PNG")),
):
    add_exact(f"{_kind.lower()}-{_options.get('compression', 'plain')}", _mode, _kind, **_options)


def add_ppm(magic: str, largest: int) -> None:
    def case() -> Case:
        channels = 3 if magic in ("P3", "P6") else 1
        samples = np.random.default_rng(0).integers(0, largest + 1, (6, 8, channels))
        if magic in ("P2", "P3"):
            body = " ".join(map(str, samples.ravel())).encode()
        else:
            body = samples.astype(">u2" if largest > 255 else "u1").tobytes()
        return f"{magic} 8 6 {largest}\n".encode() + body, np.rint(samples * 255 / largest), 1

    CASES[f"ppm-{magic}-{largest}"] = case


for _magic, _largest in itertools.product(("P2", "P3", "P5", "P6"), (1, 100, 255, 4095, 65535)):
    add_ppm(_magic, _largest)


def test_the_table_is_long():
    assert len(CASES) >= 200


@pytest.mark.parametrize("name", CASES)
def test_pixels_are_right_or_refused(name: str):
    content, expected, tolerance = CASES[name]()
    if expected is None:
        with pytest.raises(ImageError, match="name.img: "):
            decode(content, path="name.img")
        return
    found = decode(content)
    expected = np.broadcast_to(expected[:, :, None] if expected.ndim == 2 else expected, found.shape)
    assert np.abs(found.astype(int) - expected).max() <= tolerance
    assert header(content)[:2] == found.shape[:2]
