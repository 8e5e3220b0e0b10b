"""Little trees of images to scan."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import pytest
from PIL import Image


class Tree(Protocol):
    """Makes a folder: images by path, and other files by path and content (None: an empty folder)."""

    def __call__(self, *images: str, files: Mapping[str, str | bytes | None] | None = None) -> Path: ...


def picture(seed: int) -> bytes:
    """A PNG of 4×4 pixels; every seed gives other bytes."""
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (seed % 256, seed // 256 % 256, seed // 65536)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """See `Tree`; each call makes a new folder named `data`."""
    made = 0

    def make(*images: str, files: Mapping[str, str | bytes | None] | None = None) -> Path:
        nonlocal made
        made += 1
        top = tmp_path / str(made) / "data"
        contents = {name: picture(i) for i, name in enumerate(images)} | dict(files or {})
        top.mkdir(parents=True)
        for name, content in contents.items():
            path = top / name
            (path if content is None else path.parent).mkdir(parents=True, exist_ok=True)
            if content is not None:
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return top

    return make


@pytest.fixture
def pack() -> Callable[[Path, str], Path]:
    """`pack(folder, "zip")` or `"tar"`: an archive beside the folder with the folder in it."""

    def make(folder: Path, kind: str) -> Path:
        target = folder.parent / f"{folder.name}.{kind}"
        paths = sorted(folder.rglob("*"))
        if kind == "zip":
            with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
                for path in paths:
                    archive.write(path, path.relative_to(folder.parent))
        else:
            with tarfile.open(target, "w") as archive:
                for path in paths:
                    archive.add(path, path.relative_to(folder.parent), recursive=False)
        return target

    return make
