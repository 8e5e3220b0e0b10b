"""The data at a glance."""

from __future__ import annotations

import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tellapart.data.memory import from_arrays
from tellapart.data.scan import scan
from tellapart.data.summary import summarize
from tellapart.types import Problem


def encode(mode: str, size: tuple[int, int], kind: str) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind)
    return file.getvalue()


def printed(summary, width=100) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(summary)
    return console.file.getvalue()


@pytest.fixture
def mixed(tree):
    return tree(
        files={
            "train/a/1.png": encode("RGB", (8, 6), "PNG"),
            "train/a/2.png": encode("RGBA", (8, 6), "PNG"),
            "train/b/1.jpg": encode("L", (30, 20), "JPEG"),
            "train/b/2.png": encode("I;16", (2, 3), "PNG"),
            "test/a/1.gif": encode("P", (8, 6), "GIF"),
            "test/b/broken.png": b"nothing of the kind",
            "test/b/cut.jpg": encode("RGB", (64, 64), "JPEG")[:10],
            "notes.txt": "x",
        }
    )


@pytest.mark.parametrize("kind", [None, "zip", "tar"])
def test_what_is_counted(mixed, pack, kind):
    table = scan(pack(mixed, kind) if kind else mixed)
    summary = summarize(table)
    assert summary.classes == {"a": {"train": 2, "test": 1, "all": 3}, "b": {"train": 2, "test": 2, "all": 4}}
    assert summary.images == 7 and summary.unlabeled == 0 and summary.bytes == table.frame["size"].sum()
    headers = summary.headers
    assert headers.sizes == {(8, 6): 3, (2, 3): 1, (30, 20): 1} and next(iter(headers.sizes)) == (8, 6)
    assert headers.formats == {"PNG": 3, "GIF": 1, "JPEG": 1}
    assert headers.modes == {"P": 1, "I;16": 1, "L": 1, "RGB": 1, "RGBA": 1}
    assert headers.smallest == (2, 3) and headers.largest == (30, 20) and headers.probed == 7
    assert [p.where.rpartition("/")[2] for p in headers.unreadable] == ["broken.png", "cut.jpg"]
    assert summary.problem_counts == {"other file": 1}
    assert summary.root == str(mixed.parent / f"data.{kind}" if kind else mixed)


def test_it_is_json_and_it_prints(mixed):
    summary = summarize(scan(mixed))
    assert json.loads(json.dumps(summary.to_dict(), allow_nan=False)) == summary.to_dict()
    text = printed(summary)
    for told in (
        "train",
        "all",
        "8×6 (60%), from 2×3 to 30×20",
        "corrupt image 2",
        "not used: 1 file with the ending .txt",
        "broken.png",
    ):
        assert told in text


def test_no_pixels_are_decoded(mixed, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("decoded")

    table = scan(mixed)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    assert summarize(table).headers.probed == 7


def test_the_probe_is_spread_evenly(tree):
    table = scan(tree(*[f"a/{i:03d}.png" for i in range(100)], *[f"b/{i:03d}.png" for i in range(100)]))
    summary = summarize(table, probe=5)
    assert summary.headers.probed == 5 and "read of 5 images" in printed(summary)


def test_arrays():
    table = from_arrays(np.zeros((4, 6, 8, 3), np.uint8), ["real", "fake", "real", -1], groups=["x", "x", "y", ""])
    summary = summarize(table)
    assert summary.headers.formats == {"pixels": 4} and summary.headers.sizes == {(8, 6): 4}
    assert summary.unlabeled == 1 and summary.groups == 2 and summary.positive == "fake" and summary.bytes == 0
    assert "1 of them without a label" in printed(summary) and "no problems found" in printed(summary)


def test_long_lists_are_shortened(tree):
    top = tree(*[f"class {i:02d}/{n}.png" for i in range(20) for n in range(1 + i % 3)])
    table = scan(top).without(np.array([], dtype=int), [Problem("missing file", f"t.csv:{i}", "gone") for i in range(14)])
    text = printed(summarize(table))
    assert "… 8 more" in text and "1–3" in text and "class 12" not in text
    assert "missing file 14" in text and "… and 4 more" in text
    assert len(summarize(table).to_dict()["problems"]) == 10 and len(summarize(table).classes) == 20


def test_a_bomb_is_named(tree):
    bomb = bytearray(encode("1", (1, 1), "PNG"))
    bomb[16:24] = struct.pack(">II", 40_000, 20_000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    headers = summarize(scan(tree("a/1.png", files={"b/1.png": bytes(bomb)}))).headers
    assert [p.where for p in headers.unreadable] == ["b/1.png"] and "decompression bomb" in headers.unreadable[0].message


def test_real_sizes(shared_data):
    assert summarize(scan(shared_data("scenes.tar")), probe=9).headers.sizes == {(1280, 720): 9}
    assert summarize(scan(shared_data("fashion-mnist")), probe=9).headers.sizes == {(28, 28): 9}
