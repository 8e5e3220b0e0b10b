"""Pictures whose files give the class away in every way that a file can."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

CODECS = ("quality", "exif", "progressive", "subsampling", "icc", "comment", "size", "mode", "dpi")


def pixels(seed: int, height: int = 32, width: int = 32) -> np.ndarray:
    """Smooth colors with grain: (height, width, 3) uint8. Nothing in them knows a class."""
    rng = np.random.default_rng(seed)
    small = rng.uniform(40, 215, (4, 4, 3)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    return np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


def leaking(seed: int, fake: bool) -> tuple[bytes, str]:
    """One file and its ending: reals are JPEGs of many kinds, with metadata; fakes are PNGs, some with alpha or text."""
    file, kind = io.BytesIO(), CODECS[seed % len(CODECS)]
    side = 32 + (seed % 5) * (1 if fake else 3)
    picture = Image.fromarray(pixels(seed, side + 4, side))
    if fake:
        if kind == "mode":
            picture.putalpha(255)
        picture.save(file, "PNG", dpi=(72, 72) if kind == "dpi" else None)
        return file.getvalue(), "png"
    exif = Image.Exif()
    exif[0x010F] = "camera"
    if kind == "exif":
        exif[0x0112] = 1 + seed % 8
    more = {
        "progressive": {"progressive": True}, "subsampling": {"subsampling": "4:4:4"}, "comment": {"comment": b"photo"},
        "icc": {"icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()}, "dpi": {"dpi": (300, 300)},
    }.get(kind, {})  # fmt: skip
    if kind == "mode":
        picture = picture.convert("L")
    picture.save(file, "JPEG", quality=75 + seed % 21, exif=exif, **more)
    return file.getvalue(), "jpg"


Plant = Callable[..., Path]


@pytest.fixture(scope="session")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """`plant(40)`: a folder of forty leaking files of each class, one folder a class; made once for each number."""
    made: dict[int, Path] = {}

    def make(each: int) -> Path:
        if each not in made:
            made[each] = tmp_path_factory.mktemp("leaking") / "data"
            for fake, name in enumerate(("real", "fake")):
                (made[each] / name).mkdir(parents=True)
                for i in range(each):
                    content, ending = leaking(each * fake + i, bool(fake))
                    (made[each] / name / f"{i:04}.{ending}").write_bytes(content)
        return made[each]

    return make
