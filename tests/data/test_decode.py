"""One rule from every kind of file to uint8 pixels."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tellapart.data.decode import decode, decode_to, header
from tellapart.data.folder_walk import IMAGE_ENDINGS
from tellapart.errors import ImageError
from tellapart.recipe.schema import Inputs


def encode(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def raw_png(width: int, height: int, bits: int, color: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG written by hand: what Pillow cannot write itself."""
    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def over_white(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return (color * alpha + 255.0 * (255 - alpha)) / 255


def is_sound(pixels: np.ndarray, *shape: int) -> bool:
    return pixels.dtype == np.uint8 and pixels.shape == shape and pixels.flags.c_contiguous


def test_rgb_is_taken_as_it_is():
    pixels = noise(5, 7)
    found = decode(encode(Image.fromarray(pixels)))
    assert is_sound(found, 5, 7, 3)
    assert (found == pixels).all()


def test_gray_is_repeated_or_kept():
    pixels = noise(5, 7, 1)
    content = encode(Image.fromarray(pixels))
    assert (decode(content) == pixels[:, :, None]).all()
    assert is_sound(decode(content), 5, 7, 3)
    assert is_sound(decode(content, mode="gray"), 5, 7, 1)
    assert (decode(content, mode="gray")[:, :, 0] == pixels).all()


def test_color_to_gray_is_itu_601_luma():
    pixels = noise(6, 6)
    found = decode(encode(Image.fromarray(pixels)), mode="gray")[:, :, 0]
    assert np.abs(found - pixels @ np.array([0.299, 0.587, 0.114])).max() <= 1


def test_of_16_bit_gray_the_upper_byte_is_kept():
    values = np.array([[0, 255, 256, 1000], [32767, 32768, 65279, 65535]], dtype=np.uint16)
    found = decode(encode(Image.fromarray(values)))
    assert is_sound(found, 2, 4, 3)
    assert found[:, :, 0].tolist() == (values >> 8).tolist() == [[0, 0, 1, 3], [127, 128, 254, 255]]


def test_16_bit_color_and_16_bit_gray_follow_the_same_rule():
    values = np.random.default_rng(0).integers(0, 65536, (3, 4), dtype=np.uint16)
    gray = raw_png(4, 3, 16, 0, b"".join(b"\0" + row.astype(">u2").tobytes() for row in values))
    color = raw_png(4, 3, 16, 2, b"".join(b"\0" + np.repeat(row, 3).astype(">u2").tobytes() for row in values))
    assert (decode(gray) == decode(color)).all()
    assert (decode(color)[:, :, 1] == values >> 8).all()


def test_32_bit_values_are_refused():
    with pytest.raises(ImageError, match="deep.tif: signed integers have no agreed black and white"):
        decode(encode(Image.fromarray(np.array([[0, 70000]], dtype=np.int32)), "TIFF"), path="deep.tif")


def test_1_bit():
    bits = np.array([[True, False, True], [False, False, True]])
    found = decode(encode(Image.fromarray(bits)))
    assert (found == np.where(bits, 255, 0)[:, :, None]).all()


def test_a_palette_is_looked_up():
    image = Image.fromarray(noise(8, 8) // 64 * 64).quantize(16)
    content = encode(image)
    assert Image.open(io.BytesIO(content)).mode == "P"
    assert (decode(content) == np.asarray(image.convert("RGB"))).all()


def test_a_transparent_palette_entry_is_white():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    found = decode(encode(image, transparency=0))
    assert found.tolist() == [[[255, 255, 255], [200, 100, 50]]]


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_laid_over_white(mode):
    pixels = noise(6, 5, len(mode))
    image = Image.merge(mode, [Image.fromarray(pixels[:, :, i].copy()) for i in range(len(mode))])
    found = decode(encode(image))
    assert is_sound(found, 6, 5, 3)
    assert np.abs(found - over_white(pixels[:, :, :-1].astype(float), pixels[:, :, -1:].astype(float))).max() <= 1


@pytest.mark.parametrize("image", [Image.new("L", (2, 2), 7), Image.new("RGB", (2, 2), (7, 7, 7)), Image.new("1", (2, 2), 0)])
def test_a_transparent_color_is_white(image):
    clear = {"L": 7, "RGB": (7, 7, 7), "1": 0}[image.mode]
    assert (decode(encode(image, transparency=clear)) == 255).all()


def test_a_transparent_value_of_16_bit_gray_is_white():
    rows = b"".join(b"\0" + struct.pack(">HH", 1000, 2000) for _ in range(2))
    content = raw_png(2, 2, 16, 0, rows, chunk(b"tRNS", struct.pack(">H", 1000)))
    assert decode(content)[0, :, 0].tolist() == [255, 7]


def test_cmyk_jpeg():
    flat = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # cyan 0, magenta and yellow full: red
    found = decode(encode(flat, "JPEG", quality=95))
    assert is_sound(found, 16, 16, 3)
    assert np.abs(found.astype(int) - (255, 0, 0)).max() <= 6


#: EXIF orientation → what undoes it, on (H, W, C).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_orientation_is_applied_and_the_header_knows_it(orientation, kind):
    blocks = np.kron(noise(2, 3, 1)[:, :, None] // 2 + 64, np.ones((8, 8, 3), np.uint8))  # flat, so that JPEG is nearly exact
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"tiffinfo": {0x0112: orientation}} if kind == "TIFF" else {"exif": exif}
    options |= {"WEBP": {"lossless": True}, "JPEG": {"quality": 100}}.get(kind, {})
    content = encode(Image.fromarray(blocks), kind, **options)
    found = decode(content)
    expected = UPRIGHT[orientation](blocks)
    assert is_sound(found, *expected.shape)
    assert np.abs(found.astype(int) - expected).max() <= (2 if kind == "JPEG" else 0)
    assert header(content)[:2] == expected.shape[:2]


@pytest.mark.parametrize("cut", range(6, 32, 3))
def test_damaged_exif_spoils_neither_the_picture_nor_its_header(cut):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encode(Image.fromarray(noise(8, 12)), "JPEG", exif=exif.tobytes()[:cut])
    assert header(content)[:2] == decode(content).shape[:2]


@pytest.mark.parametrize(("kind", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("PNG", {})])
def test_of_several_frames_the_first_counts(kind, options):
    frames = [Image.new("RGB", (6, 4), color) for color in ("red", "blue", "lime")]
    content = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(content)).n_frames == 3
    assert (decode(content) == (255, 0, 0)).all()
    assert is_sound(decode(content), 4, 6, 3)


def test_every_ending_that_scan_looks_for_can_be_decoded():
    image = Image.fromarray(noise(8, 12, 1)).convert("RGB")
    for ending in sorted(IMAGE_ENDINGS):
        kind = Image.registered_extensions()[{".jpe": ".jpg", ".jfif": ".jpg"}.get(ending, ending)]
        assert decode(encode(image, kind), path=ending).shape == (8, 12, 3), ending


def test_a_stereo_jpeg_gives_its_first_picture():
    left, right = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    content = encode(left, "MPO", save_all=True, append_images=[right], quality=95)
    assert np.abs(decode(content).astype(int) - (255, 0, 0)).max() <= 4


def test_floats_are_refused():
    content = encode(Image.fromarray(np.zeros((3, 3), np.float32)), "TIFF")
    with pytest.raises(ImageError, match="f.tif: floating-point") as caught:
        decode(content, path="f.tif")
    assert "8 or 16 bits" in (caught.value.hint or "")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_truncated_files_are_refused(kind, kept):
    content = encode(Image.fromarray(noise(40, 40)), kind)
    with pytest.raises(ImageError, match="half.img: "):
        decode(content[: int(len(content) * kept)], path="half.img")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"this is a text, whatever its name says\n" * 20, "not an image"),
        (b"\x89PNG\r\n\x1a\n", "not an image"),
        (b"\xff\xd8\xff", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "not an image"),
    ],
)
def test_what_is_no_image_is_named(content, why):
    for read in (decode, header):
        with pytest.raises(ImageError, match=f"cats/x.png: {why}") as caught:
            read(content, path="cats/x.png")
        assert " at 0x" not in caught.value.message  # it is written into runs: no addresses of this process


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"P6 ", b"RIFF", b"\xff\xd8\xff"]),
)
def test_noise_is_an_image_or_an_image_error(content, start):
    try:
        assert decode(start + content, max_pixels=10_000).dtype == np.uint8
    except ImageError as error:
        assert error.path == "image"


def bomb(side: int) -> bytes:
    """A PNG of side × side zeros, a few hundred kB, made a row at a time."""
    packer = zlib.compressobj(9)
    row = b"\0" * (1 + side // 8)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    start = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_before_it_is_decoded():
    content = bomb(20_000)
    assert len(content) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=r"boom\.png: 20000×20000 is 400 megapixels, over the limit of 179") as caught:
            decode(content, path="boom.png")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "inputs.max_pixels" in (caught.value.hint or "")
    assert peak < 2**20
    assert header(content) == (20_000, 20_000, True)


def test_the_limit_is_a_setting():
    content = encode(Image.new("L", (30, 40)))
    assert is_sound(decode(content, max_pixels=1200), 40, 30, 3)
    with pytest.raises(ImageError):
        decode(content, max_pixels=1199)
    with pytest.raises(ImageError):
        decode_to(content, Inputs(size=8, mode="rgb", max_pixels=1199))


def test_one_pixel():
    content = encode(Image.new("RGB", (1, 1), (1, 2, 3)))
    assert decode(content).tolist() == [[[1, 2, 3]]]
    for resize in ("stretch", "crop", "pad", "center"):
        found = decode_to(content, Inputs(size=(3, 5), mode="rgb", resize=resize))
        assert is_sound(found, 3, 5, 3)
        if resize != "pad":
            assert (found == (1, 2, 3)).all()


def test_arrays_pass_through():
    gray, color = noise(4, 6, 1), noise(4, 6)
    assert (decode(gray) == gray[:, :, None]).all()
    assert (decode_to(gray, Inputs(size=(4, 6), mode="gray"))[:, :, 0] == gray).all()
    assert (decode_to(color, Inputs(size=(4, 6), mode="rgb")) == color).all()
    assert is_sound(decode_to(color[:, ::-1], Inputs(size=(4, 6), mode="rgb")), 4, 6, 3)
    assert is_sound(decode_to(gray, Inputs(size=(2, 3), mode="rgb")), 2, 3, 3)
    assert header(gray) == (4, 6, True)
    assert header(color) == (4, 6, False)


def test_stretch_resamples_both_sides_bicubically():
    image = Image.fromarray(noise(20, 30))
    found = decode_to(encode(image), Inputs(size=(10, 8), mode="rgb", resize="stretch"))
    assert (found == np.asarray(image.resize((8, 10), Image.Resampling.BICUBIC))).all()


def test_crop_keeps_the_middle_of_the_long_side():
    stripes = np.zeros((10, 30, 3), np.uint8)
    stripes[:, 10:20] = 200
    found = decode_to(encode(Image.fromarray(stripes)), Inputs(size=10, mode="rgb", resize="crop"))
    assert is_sound(found, 10, 10, 3)
    assert (found[:, 2:-2] == 200).all()


def test_pad_keeps_everything_and_fills_with_black():
    found = decode_to(encode(Image.new("RGB", (30, 10), "white")), Inputs(size=30, mode="rgb", resize="pad"))
    assert is_sound(found, 30, 30, 3)
    assert (found[10:20] == 255).all()
    assert not found[:10].any()
    assert not found[20:].any()


@pytest.mark.parametrize("encoded", [True, False])
def test_keep_cuts_the_border_off_before_anything_else(encoded: bool):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 20, 3), dtype=np.uint8)
    content = encode(Image.fromarray(pixels)) if encoded else pixels
    found = decode_to(content, Inputs(size=(5, 10), mode="rgb", keep=0.5))
    assert (found == pixels[2:7, 5:15]).all()


def test_center_cuts_without_resampling():
    pixels = noise(9, 12)
    found = decode_to(encode(Image.fromarray(pixels)), Inputs(size=(5, 4), mode="rgb", resize="center"))
    assert (found == pixels[2:7, 4:8]).all()


def test_center_mirrors_where_the_image_is_smaller():
    pixels = noise(2, 3)
    found = decode_to(encode(Image.fromarray(pixels)), Inputs(size=(2, 7), mode="rgb", resize="center"))
    assert (found == pixels[:, [1, 0, 0, 1, 2, 2, 1]]).all()
    gray = decode_to(noise(2, 3, 1), Inputs(size=(9, 9), mode="gray", resize="center"))
    assert is_sound(gray, 9, 9, 1)


def test_resize_none_refuses_another_size_and_says_both():
    content = encode(Image.new("RGB", (5, 4)))
    assert is_sound(decode_to(content, Inputs(size=(4, 5), mode="rgb", resize="none")), 4, 5, 3)
    with pytest.raises(ImageError, match="odd.png: is 5×4, but resize: none expects 8×8"):
        decode_to(content, Inputs(size=8, mode="rgb", resize="none"), "odd.png")


def test_unresolved_inputs_are_a_fault_of_ours():
    with pytest.raises(ValueError, match="resolved"):
        decode_to(encode(Image.new("RGB", (5, 4))), Inputs())


sides = st.integers(1, 40) | st.sampled_from([1, 2, 300, 1000])


@settings(max_examples=150, deadline=None)
@given(
    sides,
    sides,
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(["stretch", "crop", "pad", "center"]),
    st.sampled_from(["rgb", "gray"]),
    st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]),
)
def test_every_size_in_gives_the_size_asked(height, width, new_height, new_width, resize, mode, kind):
    content = encode(Image.new(kind, (width, height)))
    found = decode_to(content, Inputs(size=(new_height, new_width), mode=mode, resize=resize))
    assert is_sound(found, new_height, new_width, 1 if mode == "gray" else 3)
    assert header(content)[:2] == (height, width) == decode(content).shape[:2]
