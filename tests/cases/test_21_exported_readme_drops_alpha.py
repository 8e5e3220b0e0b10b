"""The lines of an exported README decode a file as `decode` does."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image

from tellapart.data.decode import decode
from tellapart.exporters.hub import READ_IMAGE

_PIXELS = np.random.default_rng(5).integers(0, 256, (12, 9, 3)).astype(np.uint8)
_ALPHA = np.random.default_rng(6).integers(0, 256, (12, 9, 1)).astype(np.uint8)
_DEEP = np.random.default_rng(7).integers(0, 65536, (12, 9)).astype(np.uint16)


def _saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _palette() -> Image.Image:
    return Image.fromarray(_PIXELS).quantize(16)


def _turned(kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _saved(Image.fromarray(_PIXELS), kind, exif=exif)


FILES = {
    "RGB": _saved(Image.fromarray(_PIXELS)),
    "gray": _saved(Image.fromarray(_PIXELS[..., 0])),
    "RGBA": _saved(Image.fromarray(np.dstack([_PIXELS, _ALPHA]))),
    "LA": _saved(Image.fromarray(np.dstack([_PIXELS[..., :1], _ALPHA]), "LA")),
    "RGB with a transparent color": _saved(Image.fromarray(_PIXELS), transparency=tuple(_PIXELS[3, 3].tolist())),
    "palette": _saved(_palette()),
    "palette with transparency": _saved(_palette(), transparency=3),
    "16-bit gray": _saved(Image.fromarray(_DEEP)),
    "16-bit gray TIFF": _saved(Image.fromarray(_DEEP), "TIFF"),
    "one bit": _saved(Image.fromarray(_PIXELS[..., 0]).convert("1")),
    "CMYK JPEG": _saved(Image.fromarray(_PIXELS).convert("CMYK"), "JPEG"),
    "turned JPEG": _turned("JPEG"),
    "turned PNG": _turned("PNG"),
    "WebP with alpha": _saved(Image.fromarray(np.dstack([_PIXELS, _ALPHA])), "WEBP", lossless=True),
}


@pytest.mark.parametrize("name", FILES)
def test_the_readme_decodes_as_the_run_does(name, tmp_path) -> None:
    (tmp_path / "photo").write_bytes(FILES[name])
    lines: dict = {}
    exec(READ_IMAGE, lines)
    np.testing.assert_array_equal(lines["read_image"](tmp_path / "photo"), decode(FILES[name]))


@pytest.mark.slow
def test_the_whole_readme_predicts_as_the_run_does(tmp_path, monkeypatch, capsys) -> None:
    import tellapart as ta
    from tellapart.data.listing import from_paths
    from tellapart.inference.context import Settings
    from tellapart.workflows.export import export

    for c, name in enumerate(("real", "fake")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(20):
            pixels = np.random.default_rng(100 * c + i).integers(0, 90, (16, 16, 3), np.uint8) + np.uint8(120 * c)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i}.png")
    settings = Settings(runs=tmp_path / "runs", device="cpu")
    run = ta.train(tmp_path / "data", "mlp", overrides=["train.epochs=5"], settings=settings)
    folder = export(run, tmp_path / "exported", settings=settings).folder
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(folder)
    for name, content in FILES.items():
        (folder / "photo.jpg").write_bytes(content)
        lines: dict = {}
        exec(code.group(1), lines)
        proba = lines["session"].run(["probabilities"], {"images": lines["pixels"]})[0]
        told = ta.predict(run, from_paths([folder / "photo.jpg"], run.classes), settings=settings)
        np.testing.assert_allclose(proba, told.proba, atol=1e-4, err_msg=name)
