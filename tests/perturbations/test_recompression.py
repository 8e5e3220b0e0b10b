"""The versions of an image whose predictions are compared: five files, decoded as the image itself is."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tellapart.data.jpeg_quality import estimate_quality
from tellapart.errors import ImageError
from tellapart.perturbations.recompression import AS_IS, RECOMPRESSIONS, recompress, recompress_once


def encoded(mode: str = "RGB", size: tuple[int, int] = (61, 40)) -> bytes:
    """A PNG of a smooth picture."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    bands = [128 + 100 * np.sin((x + c * y) / 11) for c in range(1 if mode == "L" else 3)]
    target = io.BytesIO()
    Image.fromarray(np.stack(bands, 2).squeeze().astype(np.uint8), mode).save(target, "png")
    return target.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_every_version_has_the_size_and_the_color_of_the_image(mode: str) -> None:
    content = encoded(mode)
    files = recompress(content, "a.png", 10_000)
    assert len(files) == len(RECOMPRESSIONS) == 5 and RECOMPRESSIONS[0] == AS_IS and files[0] is content
    kinds = []
    for file in files:
        with Image.open(io.BytesIO(file)) as image:
            kinds.append(image.format)
            assert image.size == (61, 40) and image.mode == mode
    assert kinds == ["PNG", "JPEG", "JPEG", "PNG", "PNG"]


def test_the_names_say_the_quality() -> None:
    for name, file in zip(RECOMPRESSIONS, recompress(encoded(), "a.png", 10_000), strict=True):
        if name.startswith("JPEG"):
            with Image.open(io.BytesIO(file)) as image:
                quality, exact = estimate_quality(np.array([image.quantization[0]], dtype=float))
            assert exact.all() and quality.tolist() == [int(name.split()[1])]


def test_a_lossier_version_differs_more() -> None:
    content = encoded()
    with Image.open(io.BytesIO(content)) as image:
        wanted = np.asarray(image).astype(float)
    apart = {}
    for name, file in zip(RECOMPRESSIONS, recompress(content, "a.png", 10_000), strict=True):
        with Image.open(io.BytesIO(file)) as image:
            apart[name] = float(np.abs(np.asarray(image) - wanted).mean())
    assert apart[AS_IS] == 0 < apart["JPEG 90"] < apart["JPEG 70"] and 0 < apart["scaled 3/4"] < apart["scaled 1/2"]


def test_one_version_equals_that_of_all() -> None:
    content = encoded()
    assert [recompress_once(content, "a.png", name, 10_000) for name in RECOMPRESSIONS] == recompress(content, "a.png", 10_000)


def test_what_cannot_be_decoded_is_named() -> None:
    with pytest.raises(ImageError, match="half.png"):
        recompress(encoded()[:200], "half.png", 10_000)
    with pytest.raises(ImageError, match="large.png"):
        recompress_once(encoded(), "large.png", "JPEG 90", 1_000)
    assert recompress_once(b"no image", "a", AS_IS, 10) == b"no image", "it is not decoded"
