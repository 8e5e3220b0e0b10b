"""One place opens images."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import pytest
from PIL import Image

import tellapart
from tellapart.data.open_image import open_file, open_image, open_with_metadata, orientation, upright
from tellapart.errors import ImageError

OPENERS = ("Image.open", "PIL.Image.open", "cv2.imread", "cv2.imdecode")


def test_nothing_else_opens_images():
    top = Path(tellapart.__file__).parent
    found = [
        path.relative_to(top).as_posix()
        for path in sorted(top.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in OPENERS
    ]
    assert found == ["data/open_image.py"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
def test_a_file_is_opened_as_its_content_is(kind: str, tmp_path: Path):
    file = io.BytesIO()
    Image.new("RGB", (5, 3)).save(file, kind)
    (tmp_path / "a.img").write_bytes(file.getvalue())
    for image in (open_file(tmp_path / "a.img", "a.img"), open_image(file.getvalue()), open_with_metadata(file.getvalue())):
        with image:
            assert (image.size, image.format) == ((5, 3), kind)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(ImageError, match="gone.png: cannot be read"):
        open_file(tmp_path / "gone.png", "gone.png")


def test_upright_keeps_an_image_without_orientation():
    image = Image.new("RGB", (5, 3))
    assert orientation(image) == 1
    assert upright(image) is image
