"""File metadata by class: what is named, what is a leak and what only a notice, and what cannot be looked at."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tellapart as ta
from tellapart.check._carriers import Column
from tellapart.check._evidence import Evidence
from tellapart.check.metadata import Metadata, metadata_columns
from tellapart.features._metadata import read_metadata


def encoded(
    pixels: np.ndarray, kind: str = "JPEG", mode: str = "RGB", quality: int = 80, dpi: tuple[int, int] = (72, 72)
) -> bytes:
    target = io.BytesIO()
    image = Image.fromarray(pixels).convert(mode)
    if kind == "JPEG":
        image.save(target, kind, quality=quality, dpi=dpi)
    else:
        image.save(target, kind)
    return target.getvalue()


def columns_of(*contents: bytes) -> dict[str, Column]:
    return {c.name: c for c in metadata_columns(np.stack([read_metadata(content) for content in contents]))}


def test_columns_say_what_the_files_are(tiles: np.ndarray) -> None:
    found = columns_of(encoded(tiles[0], quality=75), encoded(tiles[0, :64], "PNG", "L"), encoded(tiles[1], "WEBP"))
    said = {name: [c.words.get(v, "") for v in c.values.tolist()] for name, c in found.items() if c.words}
    assert said["format"] == ["format JPEG", "format PNG", "format WEBP"]
    assert said["size"] == ["size 128×128", "size 128×64", "size 128×128"]
    assert said["colour mode"][1] == "mode L" and said["JPEG quality"] == ["JPEG quality 75", "", ""]
    assert said["subsampling"][0] == "chroma 4:2:0" and said["EXIF"] == ["no EXIF"] * 3 and said["dpi"][0] == "72 dpi"
    assert found["byte count"].values[0] == len(encoded(tiles[0], quality=75)) and found["byte count"].content


@pytest.mark.parametrize(
    "mend, said",
    [
        (lambda p: encoded(p, mode="L"), "mode L occurs only in 'fake'"),
        (lambda p: encoded(p, dpi=(300, 300)), "300 dpi occurs only in 'fake'"),
        (lambda p: encoded(p[:, :60]), "size 60×64 occurs only in 'fake'"),
    ],
    ids=["mode", "dpi", "size"],
)
def test_other_marks_are_named(tiles: np.ndarray, mend: Callable[[np.ndarray], bytes], said: str) -> None:
    labels = np.arange(100) % 2
    contents = [mend(t[:64, :64]) if label else encoded(t[:64, :64]) for t, label in zip(tiles, labels, strict=False)]
    found = Metadata()(Evidence(ta.from_bytes(contents, [("real", "fake")[k] for k in labels])))
    assert found.severity == "leak" and said in found.summary, found.summary
    assert found.is_issue.all() and "null" in found.advice


def test_a_byte_count_that_the_picture_explains_is_a_notice(tiles: np.ndarray) -> None:
    """Plain pictures are small files: nothing in how they were written differs."""
    labels = np.arange(120) % 2
    pictures = [t[:64, :64] // 8 if label else t[:64, :64] for t, label in zip(tiles, labels, strict=False)]
    found = Metadata()(Evidence(ta.from_bytes([encoded(p) for p in pictures], [("real", "fake")[k] for k in labels])))
    assert found.severity == "notice" and "byte count: higher in 'real'" in found.summary


def test_copies_of_few_files_are_no_evidence(tiles: np.ndarray) -> None:
    """Four files of a class, thirty times each: eight files are known, not 240."""
    contents = [encoded(t[:64, :64], quality=q) for t, q in zip(tiles, [70] * 4 + [90] * 4, strict=False)] * 30
    table = ta.from_bytes(contents, (["real"] * 4 + ["fake"] * 4) * 30)
    assert Metadata()(Evidence(table)).severity == "fine"


def test_what_has_no_metadata_is_skipped(tiles: np.ndarray, shared_data: Callable[[str], Path]) -> None:
    assert Metadata()(Evidence(ta.from_arrays(tiles[:8], ["a", "b"] * 4))).severity == "skipped"
    assert Metadata()(Evidence(ta.from_bytes([encoded(t) for t in tiles[:8]], ["a"] * 8))).severity == "skipped"
    assert Metadata()(Evidence(ta.from_bytes([encoded(t) for t in tiles[:8]], [None] * 8))).severity == "skipped"


def test_headers_that_cannot_be_read_count_for_nothing(tiles: np.ndarray) -> None:
    contents = [encoded(t[:64, :64]) for t in tiles[:100]] + [b"no image"] * 100
    evidence = Evidence(ta.from_bytes(contents, ["real"] * 100 + ["fake"] * 100))
    assert not Metadata()(evidence).is_issue.any() and len(evidence.unreadable) == 100
