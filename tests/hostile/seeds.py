"""Sound files of all formats, a few kB each, to be damaged: images by name, and containers by file name."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

_SIZE = (56, 40)  # width, height: small, so that thousands are decoded in seconds; more than one block, tile and strip


def photograph(seed: int = 0, size: tuple[int, int] = _SIZE) -> Image.Image:
    """A picture with gradients, edges and noise, RGB."""
    draw, (width, height) = np.random.default_rng(seed), size
    y, x = np.mgrid[:height, :width]
    waves = np.stack([128 + 100 * np.sin((x * (c + 1) + y * (3 - c)) / 9 + seed) for c in range(3)], axis=2)
    waves[height // 4 : height // 2, width // 4 : width // 2] = (200, 30, 60)
    return Image.fromarray(np.clip(waves + draw.normal(0, 8, waves.shape), 0, 255).astype(np.uint8))


@functools.cache
def images() -> dict[str, bytes]:
    """Name with its ending → file."""
    picture = photograph()
    gray, alpha, deep = picture.convert("L"), picture.convert("RGBA"), _sixteen_bits()
    alpha.putalpha(gray)
    exif, texts = _exif(), PngImagePlugin.PngInfo()
    texts.add_text("parameters", "a street in the rain", zip=True)
    texts.add_itxt("prompt", "a street" * 20, zip=True)
    others = [photograph(seed) for seed in (1, 2)]
    animated: dict[str, Any] = {"save_all": True, "append_images": others, "duration": 40}
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><xmp:CreatorTool>x</xmp:CreatorTool></x:xmpmeta>'
    found = {
        "baseline.jpg": _saved(picture, "JPEG", quality=80, exif=exif, icc_profile=_profile(), xmp=xmp, comment=b"hello"),
        "progressive.jpg": _saved(picture, "JPEG", quality=80, progressive=True),
        "restarts.jpg": _saved(picture, "JPEG", quality=60, subsampling="4:2:2", restart_marker_blocks=2),
        "gray.jpg": _saved(gray, "JPEG"),
        "cmyk.jpg": _saved(picture.convert("CMYK"), "JPEG", progressive=True),
        "mpo.jpg": _saved(picture, "MPO", save_all=True, append_images=others),
        "arithmetic.jpg": _saved(gray, "JPEG").replace(b"\xff\xc0", b"\xff\xc9", 1),
        "rgb.png": _saved(picture, "PNG", exif=exif, pnginfo=texts, icc_profile=_profile()),
        "rgba.png": _saved(alpha, "PNG"),
        "bit.png": _saved(picture.convert("1"), "PNG", transparency=0),
        "gray2.png": _saved(gray.quantize(4), "PNG", bits=2),
        "gray4.png": _saved(gray.quantize(16), "PNG", bits=4),
        "palette.png": _saved(picture.quantize(200), "PNG", transparency=3),
        "deep.png": _saved(deep, "PNG"),
        "interlaced.png": _interlaced(),
        "apng.png": _saved(picture, "PNG", **animated),
        "palette.gif": _saved(picture, "GIF"),
        "animated.gif": _saved(picture, "GIF", transparency=1, **animated),
        "rgb.bmp": _saved(picture, "BMP"),
        "palette.bmp": _saved(picture.quantize(256), "BMP"),
        "rgb.dib": _saved(picture, "DIB"),
        "rgb.ppm": _saved(picture, "PPM"),
        "text.ppm": b"P3 7 5 255\n" + " ".join(map(str, range(105))).encode(),
        "deep.pgm": _saved(deep, "PPM"),
        "rgb.jp2": _saved(picture, "JPEG2000"),
        "tiled.jp2": _saved(alpha, "JPEG2000", tile_size=(32, 32), irreversible=True, quality_layers=[20, 5]),
        "raw.tga": _saved(alpha, "TGA"),
        "rle.tga": _saved(picture.quantize(64), "TGA", compression="tga_rle"),
        "lossy.webp": _saved(picture, "WEBP", exif=exif),
        "lossless.webp": _saved(alpha, "WEBP", lossless=True),
        "animated.webp": _saved(picture, "WEBP", **animated),
        "still.avif": _saved(picture, "AVIF", exif=exif, speed=10),
        "animated.avif": _saved(picture, "AVIF", speed=10, **animated),
        "pages.tif": _saved(picture, "TIFF", exif=exif, save_all=True, append_images=[photograph(1)]),
        "fax.tif": _saved(picture.convert("1"), "TIFF", compression="group4"),
        "fax3.tif": _saved(picture.convert("1"), "TIFF", compression="group3"),
        "ycbcr.tif": _saved(picture, "TIFF", compression="jpeg"),
        "cmyk.tif": _saved(picture.convert("CMYK"), "TIFF", compression="tiff_lzw"),
    }  # fmt: skip
    for compression in ("packbits", "tiff_lzw", "tiff_deflate", "lzma", "zstd"):
        found[f"{compression}.tif"] = _saved(picture, "TIFF", compression=compression, tiffinfo={278: 16})
    return found | {"deep.tif": _written(np.asarray(deep), compression="zlib"), "tiled.tif": _tiled()}


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.copy().save(file, kind, **options)  # of a copy: saving leaves settings of the encoder behind
    return file.getvalue()


def _sixteen_bits() -> Image.Image:
    return Image.fromarray(np.asarray(photograph().convert("L")).astype(np.uint16) * 257)


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0131], exif[0x0132] = "Maker", "Model", "Editor 1.0", "2024:05:06 07:08:09"
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    exif.get_ifd(0x8825)[2] = (51.0, 30.0, 1.0)
    return exif


def _profile() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _interlaced() -> bytes:
    """Pillow writes no interlaced PNG; OpenCV neither: seven passes over gray pixels of 8 bits."""
    import struct
    import zlib

    pixels = np.asarray(photograph().convert("L"))
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = b"".join(
        b"\0" + row.tobytes() for top, left, down, right in passes for row in pixels[top::down, left::right] if row.size
    )
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", *_SIZE, 8, 0, 0, 0, 1)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def _written(values: np.ndarray, **options: Any) -> bytes:
    import tifffile

    file = io.BytesIO()
    tifffile.imwrite(file, values, metadata=None, **options)
    return file.getvalue()


def _tiled() -> bytes:
    return _written(np.asarray(photograph()), tile=(16, 16), photometric="rgb", compression="zlib", predictor=True)


# --- containers ------------------------------------------------------------------------------------------------------


@functools.cache
def containers() -> dict[str, bytes]:
    """File name → file. Each is a data set of 12 images in two classes."""
    pictures = [_saved(photograph(seed, (12, 10)), "PNG") for seed in range(12)]
    folders = {f"{'real' if seed % 2 else 'fake'}/{seed}.png": picture for seed, picture in enumerate(pictures)}
    table = "".join(f"{name},{name[:4]}\n" for name in folders)
    files = folders | {"metadata.csv": f"file_name,label\n{table}".encode()}
    lines = "".join(json.dumps({"file_name": name, "label": name[:4]}) + "\n" for name in folders)
    samples: dict[str, bytes] = {}
    for name, picture in folders.items():
        stem = name[5:].removesuffix(".png")
        samples |= {f"{stem}.png": picture, f"{stem}.cls": name[:1].encode(), f"{stem}.json": b'{"a": 1}'}
    tar = _tar(files)
    return {
        "folders.zip": _zip(folders), "table.zip": _zip(files, zipfile.ZIP_DEFLATED),
        "lines.zip": _zip(folders | {"metadata.jsonl": lines.encode()}, zipfile.ZIP_BZIP2),
        "idx.zip": _zip(_idx()), "arrays.npz": _npz(), "folders.tar": _tar(folders), "gnu.tar": _tar(files, tarfile.GNU_FORMAT),
        "shard.tar": _tar(samples), "table.tar.gz": gzip.compress(tar, mtime=0), "table.tar.bz2": bz2.compress(tar),
        "table.tar.xz": lzma.compress(tar), "table.tar.zst": _zstd(tar), "rows.parquet": _parquet(folders),
        "nested.zip": _zip({"rows.parquet": _parquet(folders)}),
        "table.csv": _quoted(folders),
        "lines.jsonl": lines.encode(), "list.txt": "".join(f"{name} {name[:4]}\n" for name in folders).encode(),
    }  # fmt: skip


def _quoted(names: Iterable[str]) -> bytes:
    return ("file,label,note\n" + "".join(f'{name},{name[:4]},"a, b"\n' for name in names)).encode()


def loose_images() -> dict[str, bytes]:
    """The images that the containers without images name: path → file."""
    with zipfile.ZipFile(io.BytesIO(containers()["folders.zip"])) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zip(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return file.getvalue()


def _tar(files: dict[str, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if kind == tarfile.PAX_FORMAT:
                info.pax_headers = {"comment": "é"}
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("real/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "1.png"
        archive.addfile(link)
    return file.getvalue()


def _zstd(content: bytes) -> bytes:
    import pyarrow as pa

    return pa.compress(content, codec="zstd", asbytes=True)


def _npz() -> bytes:
    draw = np.random.default_rng(0)
    file = io.BytesIO()
    images, labels = draw.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8), np.arange(12) % 2
    np.savez_compressed(file, x_train=images, y_train=labels, x_test=images[:4], y_test=labels[:4])
    return file.getvalue()


def _idx() -> dict[str, bytes]:
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
    head = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in images.shape)
    labels = b"\0\0\x08\x01" + (12).to_bytes(4, "big") + bytes(i % 2 for i in range(12))
    return {
        "train-images-idx3-ubyte.gz": gzip.compress(head + images.tobytes(), mtime=0), "train-labels-idx1-ubyte": labels,
    }  # fmt: skip


def _parquet(folders: dict[str, bytes]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pa.table({
        "image": [{"bytes": content, "path": name} for name, content in folders.items()],
        "label": [int(name.startswith("real")) for name in folders], "text": list(folders),
    })  # fmt: skip
    file = io.BytesIO()
    pq.write_table(rows, file, row_group_size=5)
    return file.getvalue()
