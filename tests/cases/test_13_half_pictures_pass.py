"""Case 13: half pictures are corrupt and never decoded, whatever made them look whole."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.files import Files
from tellapart.data.decode import decode
from tellapart.data.scan import scan
from tellapart.errors import ImageError


def smooth() -> Image.Image:
    y, x = np.mgrid[:96, :128]
    waves = np.stack([128 + 100 * np.sin(x / 9), 128 + 100 * np.cos(y / 7), (x + y) % 256], -1)
    noise = np.random.default_rng(0).normal(0, 12, (96, 128, 3))
    return Image.fromarray((waves + noise).clip(0, 255).astype(np.uint8))


def encode(kind: str, **options) -> bytes:
    file = io.BytesIO()
    smooth().save(file, kind, **options)
    return file.getvalue()


CODECS = [
    ("JPEG", {"quality": 90}),
    ("JPEG", {"quality": 90, "progressive": True}),
    ("JPEG", {"quality": 90, "restart_marker_blocks": 2}),
    ("PNG", {}),
    ("WEBP", {"quality": 80}),
    ("WEBP", {"lossless": True}),
    ("AVIF", {}),
    ("GIF", {}),
    ("JPEG2000", {}),
    ("TGA", {"compression": "tga_rle"}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "packbits"}),
]


@pytest.mark.parametrize(("kind", "options"), CODECS)
@pytest.mark.parametrize("share", [0.4, 0.5, 0.7, 0.9])
def test_a_second_half_of_zeros(kind: str, options: dict, share: float):
    content = encode(kind, **options)
    kept = int(share * len(content))
    with pytest.raises(ImageError, match="half.img: "):
        decode(content[:kept] + bytes(len(content) - kept), path="half.img")
    assert decode(content).shape == (96, 128, 3)


@pytest.mark.parametrize(("kind", "options"), [*CODECS, ("BMP", {}), ("PPM", {}), ("TIFF", {}), ("TGA", {})])
@pytest.mark.parametrize("share", [0.4, 0.5, 0.7, 0.9])
def test_a_file_cut_short(kind: str, options: dict, share: float):
    content = encode(kind, **options)
    with pytest.raises(ImageError, match="half.img: "):
        decode(content[: int(share * len(content))], path="half.img")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_jpeg_cut_and_closed(options: dict, share: float):
    content = encode("JPEG", quality=90, **options)
    with pytest.raises(ImageError, match="the file is truncated"):
        decode(content[: int(share * len(content))] + b"\xff\xd9")


def test_a_wrong_checksum_of_the_pixels_of_a_png():
    content = bytearray(encode("PNG"))
    content[len(content) // 2] ^= 1
    with pytest.raises(ImageError, match="a chunk of type IDAT has a wrong checksum"):
        decode(bytes(content))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "TIFF", "BMP"])
def test_zeros_after_the_end_of_a_whole_file_are_no_fault(kind: str):
    content = encode(kind)
    assert (decode(content + bytes(1000)) == decode(content)).all()


def test_check_names_it(tmp_path: Path):
    content = encode("JPEG", quality=90)
    for name in ("real", "fake"):
        (tmp_path / name).mkdir()
        for row in range(6):
            (tmp_path / name / f"{row}.jpg").write_bytes(content)
    (tmp_path / "fake" / "z.jpg").write_bytes(content[: len(content) // 2] + bytes(len(content) // 2))
    table = scan(tmp_path)
    found = Files(Files.Options())(DatasetView(table))
    assert found.severity == "problem"
    assert {str(table.ids[row]): reason for row, reason in found.reasons.items()} == {
        "fake/z.jpg": "the file is truncated: the JPEG has no end marker after its pixels"
    }


def test_check_reports_an_uncompressed_file_that_ends_in_zeros(tmp_path: Path):
    for name in ("real", "fake"):
        (tmp_path / name).mkdir()
        for row in range(4):
            smooth().crop((row, row, row + 64, row + 64)).save(tmp_path / name / f"{row}.bmp")
    half = tmp_path / "real" / "3.bmp"
    content = half.read_bytes()
    half.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    found = Files(Files.Options())(DatasetView(scan(tmp_path)))
    assert found.severity == "notice"
    assert "1 ending in zero bytes" in found.summary
