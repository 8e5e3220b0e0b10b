"""What a TIFF says of its samples and its strips."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from tellapart.data.decode import decode, header
from tellapart.errors import ImageError


def tiff(samples: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, metadata=None, **options)
    return file.getvalue()


def test_lab_is_refused_before_its_slow_conversion():
    file = io.BytesIO()
    Image.new("LAB", (8, 8)).save(file, "TIFF")
    for read in (decode, header):
        with pytest.raises(ImageError, match=r"pixels in CIE L\*a\*b\* are not supported") as caught:
            read(file.getvalue())
    assert "RGB" in (caught.value.hint or "")


@pytest.mark.parametrize("layout", [{"rowsperstrip": 4}, {"tile": (16, 16)}])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_fewer_strips_than_rows(layout: dict, compression: str | None):
    content = tiff(np.full((64, 40), 9, np.uint8), compression=compression, **layout)
    assert decode(content).shape == (64, 40, 3)
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        height = file.pages[0].tags["ImageLength"]
        place = height.valueoffset
    longer = bytearray(content)
    longer[place : place + 2] = (6400).to_bytes(2, "little")
    with pytest.raises(ImageError, match="tall.tif: "):
        decode(bytes(longer), path="tall.tif")


def test_strips_beyond_the_file():
    content = bytearray(tiff(np.full((64, 40), 9, np.uint8)))
    with tifffile.TiffFile(io.BytesIO(bytes(content))) as file:
        place = file.pages[0].tags["StripOffsets"].valueoffset
    content[place : place + 4] = (len(content) - 100).to_bytes(4, "little")
    with pytest.raises(ImageError, match=r"the file is truncated: [\d,]+ bytes are needed, it has"):
        decode(bytes(content))


def test_a_palette_of_8_bits():
    file = io.BytesIO()
    image = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert("P")
    image.save(file, "TIFF")
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as opened:
        tag = opened.pages[0].tags["ColorMap"]
    content = bytearray(file.getvalue())
    shifted = np.frombuffer(bytes(content[tag.valueoffset : tag.valueoffset + 1536]), "<u2") >> 8
    content[tag.valueoffset : tag.valueoffset + 1536] = shifted.astype("<u2").tobytes()
    assert (decode(bytes(content)) == decode(file.getvalue())).all()
    assert decode(bytes(content)).any()
