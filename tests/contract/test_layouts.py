"""Every layout of a data set keeps every promise, on a small data set that `WRITE` writes; a new layout is added there."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tellapart import registry
from tellapart.plugins import check_layout, promises


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 5, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def _images(folder: Path, *names: str) -> None:
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(seed))


def _folders(folder: Path) -> None:
    _images(folder, *(f"{split}/{kind}/{i}.png" for split in ("train", "test") for kind in ("real", "fake") for i in range(3)))


def _table(folder: Path) -> None:
    _images(folder, *(f"images/{i}.png" for i in range(4)))
    (folder / "train.csv").write_text("id,label,source\n0,cat,a\n1,dog,b\n2,cat,\n", encoding="utf-8")
    (folder / "test.csv").write_text("id\n3\n", encoding="utf-8")


def _idx(folder: Path) -> None:
    for stem, count in (("train", 6), ("t10k", 4)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 3, 5), np.uint8)
        images = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in pixels.shape) + pixels.tobytes()
        labels = b"\0\0\x08\x01" + count.to_bytes(4, "big") + bytes(i % 2 for i in range(count))
        (folder / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images, mtime=0))
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(labels)


def _parquet(folder: Path) -> None:
    (folder / "data").mkdir()
    for split in ("train", "test"):
        images = [{"bytes": png(i), "path": f"{i}.png"} for i in range(4)]
        pq.write_table(pa.table({"image": images, "label": [0, 1, 0, 1]}), folder / "data" / f"{split}-00000-of-00001.parquet")


def _lists(folder: Path) -> None:
    _images(folder, *(f"images/{i}.png" for i in range(5)))
    (folder / "train.txt").write_text("images/0.png 0\nimages/1.png 1\nimages/2.png 0\n", encoding="utf-8")
    (folder / "test.txt").write_text("images/3.png 0\nimages/4.png 1\n", encoding="utf-8")


def _image_folder(folder: Path) -> None:
    for split in ("train", "test"):
        _images(folder, *(f"{split}/{i}.png" for i in range(3)))
        lines = [json.dumps({"file_name": f"{i}.png", "label": ("cat", "dog")[i % 2]}) for i in range(3)]
        (folder / split / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")


def _nested_table(folder: Path) -> None:
    _images(folder, *(f"images/{i}.png" for i in range(4)))
    (folder / "labels").mkdir()
    (folder / "labels" / "train.csv").write_text("id,label\n0,cat\n1,dog\n2,cat\n3,dog\n", encoding="utf-8")


def _numpy_arrays(folder: Path) -> None:
    for split, count in (("train", 6), ("test", 4)):
        np.save(folder / f"x_{split}.npy", np.random.default_rng(count).integers(0, 256, (count, 3, 5), np.uint8))
        np.save(folder / f"y_{split}.npy", np.arange(count) % 2)


def _web_dataset(folder: Path) -> None:
    _images(folder, *(f"{i:04d}.png" for i in range(4)))
    for i in range(4):
        (folder / f"{i:04d}.cls").write_text(str(i % 2), encoding="utf-8")


WRITE: dict[str, Callable[[Path], None]] = {
    "folders": _folders,
    "idx": _idx,
    "image_folder": _image_folder,
    "lists": _lists,
    "nested_table": _nested_table,
    "numpy_arrays": _numpy_arrays,
    "parquet": _parquet,
    "table": _table,
    "web_dataset": _web_dataset,
}


@pytest.mark.parametrize("promise", [p.name for p in promises("layout")])
@pytest.mark.parametrize("name", registry.names("layouts"))
def test_layout(name: str, promise: str) -> None:
    check_layout(registry.find("layouts", name), WRITE[name], only=promise)


@pytest.mark.parametrize("name", registry.names("layouts"))
def test_the_layout_that_wins_is_the_one_that_was_written(name: str, tmp_path: Path) -> None:
    from tellapart.data.layouts.base import LayoutOptions
    from tellapart.data.listing import list_folder
    from tellapart.data.scan import choose_layout

    WRITE[name](tmp_path)
    assert type(choose_layout(list_folder(str(tmp_path)), LayoutOptions())[0]) is registry.find("layouts", name)
