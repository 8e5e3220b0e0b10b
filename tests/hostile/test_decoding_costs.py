"""Small files that would take long or much memory to read are refused before the work begins, with a sentence."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from tellapart.data.decode import decode, header
from tellapart.data.metadata import read_header, read_metadata
from tellapart.data.open_image import quiet
from tellapart.errors import ImageError


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def many_scans() -> bytes:
    """A progressive JPEG whose last scan is repeated, each time at the cost of the whole picture."""
    content = saved(Image.new("RGB", (64, 64)), "JPEG", progressive=True)
    scan = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + scan * 200 + content[-2:]


def many_segments() -> bytes:
    content = saved(Image.new("RGB", (64, 64)), "JPEG")
    return content[:2] + b"\xff\xfe\0\2" * 20_000 + content[2:]


def long_fill() -> bytes:
    content = saved(Image.new("RGB", (64, 64)), "JPEG")
    return content[:2] + b"\xff" * 100_000 + content[2:]


def many_chunks() -> bytes:
    content = saved(Image.new("RGB", (64, 64)), "PNG")
    chunk = struct.pack(">I4sI", 0, b"IDAT", zlib.crc32(b"IDAT"))
    return content[:-12] + chunk * 20_000 + content[-12:]


def run_length_bmp() -> bytes:
    """11 kB that promise 175 megapixels, which Pillow fills one at a time."""
    width, height, pixels = 65_000, 2_700, b"\x01\x05\0\0" * 2_700
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(pixels), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078 + len(pixels), 0, 0, 1078) + info + bytes(1024) + pixels


def gray_of_254() -> bytes:
    return b"P5 2100 2100 254\n" + bytes(2100 * 2100)


def wide_webp() -> bytes:
    return saved(Image.new("RGB", (16_383, 5_500)), "WEBP", lossless=True, quality=0, method=0)


def clear_png() -> bytes:
    """A header that promises 150 megapixels with transparency: 1.2 GB while they are laid over white."""
    content = bytearray(saved(Image.new("RGBA", (8, 8)), "PNG"))
    content[16:24] = struct.pack(">II", 12_500, 12_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def progressive_jpeg() -> bytes:
    content = bytearray(saved(Image.new("RGB", (8, 8)), "JPEG", progressive=True))
    frame = content.index(b"\xff\xc2")
    content[frame + 5 : frame + 9] = struct.pack(">HH", 12_000, 12_500)
    return bytes(content)


def arithmetic() -> bytes:
    return saved(Image.new("L", (64, 64)), "JPEG").replace(b"\xff\xc0", b"\xff\xc9", 1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (many_scans, "more than 100 scans"),
        (many_segments, "more than 10,000 segments"),
        (long_fill, "bytes of fill before the pixels"),
        (many_chunks, "more than 10,9.. chunks"),
        (run_length_bmp, r"samples of a rare coding \(BMP\)"),
        (gray_of_254, r"samples of a rare coding \(PPM\)"),
        (wide_webp, r"over the limit of 89 at 12 bytes a pixel \(WEBP, RGB\)"),
        (clear_png, r"over the limit of 134 at 8 bytes a pixel \(PNG, RGBA\)"),
        (progressive_jpeg, r"over the limit of 107 at 10 bytes a pixel \(JPEG, RGB\)"),
        (arithmetic, "arithmetic or lossless coding is not supported"),
    ],
)
def test_is_refused(make: Callable[[], bytes], said: str):
    with pytest.raises(ImageError, match=rf"^x: .*{said}"):
        decode(make(), path="x")


def test_the_limit_of_memory_is_raised_as_the_hint_says() -> None:
    """Where the pixels are refused for their bytes, too; then the file is only found to be cut short."""
    with pytest.raises(ImageError) as caught:
        decode(clear_png())
    told = int((caught.value.hint or "").rpartition(" ")[2].replace(",", ""))
    with pytest.raises(ImageError, match="truncated"):
        decode(clear_png()[:-12], max_pixels=told)
    with pytest.raises(ImageError, match="over the limit"):
        decode(clear_png()[:-12], max_pixels=told - 2)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "AVIF", "PNG", "TIFF"])
def test_only_the_first_frame_is_decoded(kind: str, monkeypatch: pytest.MonkeyPatch):
    """However many frames there are: nobody asks for their number, which makes Pillow read them all."""
    frames = [Image.new("RGB", (32, 24), (60 * number, 0, 0)) for number in range(4)]
    content = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    for of in {type(Image.open(io.BytesIO(content))), *Image.Image.__subclasses__()}:
        for name in ("n_frames", "is_animated"):
            if isinstance(vars(of).get(name), property):
                monkeypatch.setattr(of, name, property(lambda image: pytest.fail("counts the frames")))
    assert decode(content).shape == (24, 32, 3) and decode(content).max() < 10
    with quiet():
        read_header(content)
        read_metadata(content)


def test_a_tag_that_nobody_reads_may_hold_a_million_numbers():
    """Only the tags that matter are unpacked. Pillow keeps the others as bytes."""
    content = saved(Image.new("RGB", (8, 8)), "TIFF")
    start = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, start)[0]
    entries = content[start + 2 : start + 2 + 12 * count] + struct.pack("<HHII", 60_000, 3, 1_000_000, 8)
    moved = content + bytes(2_000_000) + struct.pack("<H", count + 1) + entries + bytes(4)
    moved = moved[:4] + struct.pack("<I", len(content) + 2_000_000) + moved[8:]
    with quiet():
        from tellapart.data.open_image import open_image
        from tellapart.data.tiff_samples import _tags

        tags = _tags(open_image(moved))
    assert 60_000 not in tags and decode(moved).shape == (8, 8, 3)


def test_transparency_is_laid_over_white_in_bands():
    """The bands meet without a seam, and give what the whole picture gives."""
    pixels = np.random.default_rng(0).integers(0, 256, (2_100, 1_031, 4), dtype=np.uint8)
    image = Image.fromarray(pixels)
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    whole = np.asarray(Image.alpha_composite(white, image).convert("RGB"))
    assert np.array_equal(decode(saved(image, "PNG", compress_level=1)), whole)


def test_every_call_of_pillow_names_the_formats():
    """`Image.open` without `formats` tries every reader that Pillow has; some decode as they open."""
    import ast
    from pathlib import Path

    import tellapart

    found = 0
    for file in Path(tellapart.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Image.open", "PIL.Image.open"):
                found += 1
                assert "formats" in {keyword.arg for keyword in node.keywords}, f"{file}:{node.lineno}"
    assert found == 1  # in `data/open_image.py`


def test_a_header_is_read_as_the_picture_is():
    """What is refused for its cost by `decode` is refused by the header, where the header tells."""
    for make in (many_segments, run_length_bmp, gray_of_254, many_chunks):
        with pytest.raises(ImageError):
            header(make())
