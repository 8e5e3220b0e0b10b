"""Scans of a JPEG: pixels as Pillow decodes them; cut scans, holes and endless scans are found."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from PIL import Image

from tellapart.data.decode import decode
from tellapart.data.jpeg_scans import find_scans
from tellapart.errors import ImageError

OPTIONS = [
    {},
    {"progressive": True},
    {"optimize": True, "quality": 10},
    {"restart_marker_blocks": 3},
    {"restart_marker_rows": 1, "progressive": True},
    {"subsampling": 0, "quality": 98},
]


def encode(mode: str = "RGB", size: tuple[int, int] = (70, 50), **options) -> bytes:
    drawn = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(drawn).resize(size, Image.Resampling.BICUBIC).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (17, 33), (70, 50)])
def test_pixels_are_those_of_pillow(mode: str, options: dict, size: tuple[int, int]):
    content = encode(mode, size, **options)
    assert (decode(content) == np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))).all()


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("options", OPTIONS)
def test_a_scan_cut_anywhere_is_found(mode: str, options: dict):
    """Anywhere but in its last block, and between scans: fewer scans are a coarser picture, which JPEG permits."""
    content = encode(mode, (160, 120), **options)
    ends = find_scans(content).ends
    cuts = [cut for cut in range(ends[0] // 2, ends[-1], 23) if cut > find_scans(content).first]
    cuts = [cut for cut in cuts if all(not -60 < cut - end < 150 for end in ends)]
    missed = []
    for cut in cuts:
        with contextlib.suppress(ImageError):
            missed.append((cut, decode(content[:cut] + b"\xff\xd9").shape))
    assert not missed
    assert len(cuts) > 5


def test_a_flat_picture_may_consist_of_zeros():
    flat = io.BytesIO()
    Image.new("L", (2048, 1024)).save(flat, "JPEG", optimize=True)
    assert bytes(512) in flat.getvalue()
    assert not decode(flat.getvalue()).any()


def test_a_hole_is_found():
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (100, 120, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "JPEG", quality=90)
    content, middle = file.getvalue(), len(file.getvalue()) // 2
    with pytest.raises(ImageError, match="hole|truncated"):
        decode(content[:middle] + bytes(4096) + content[middle + 4096 :])


def test_a_file_with_an_end_after_its_pixels_may_hold_more():
    content = encode()
    assert (decode(content + encode()) == decode(content)).all()


def test_many_scans_are_refused_before_they_are_decoded():
    content = encode(progressive=True)
    ends = find_scans(content).ends
    scan = content[ends[-2] : ends[-1]]
    with pytest.raises(ImageError, match=r"more than 100 scans is not decoded"):
        decode(content[: ends[-1]] + scan * 101 + b"\xff\xd9")


def test_scans_are_counted():
    assert len(find_scans(encode()).ends) == 1
    assert len(find_scans(encode(progressive=True)).ends) == 10
    assert find_scans(encode()[:-2]).closed is False
