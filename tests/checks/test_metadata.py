"""File metadata by class: what is named, what is a leak and what only a notice, and what cannot be looked at."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import tellapart as ta
from tellapart.checks._associations import Feature
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.metadata import Metadata, metadata_features


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


def columns_of(*contents: bytes) -> dict[str, Feature]:
    evidence = DatasetView(ta.from_bytes(list(contents), ["real"] * len(contents)))
    return {c.name: c for c in metadata_features(evidence.metadata, evidence.texts)}


def test_columns_say_what_the_files_are(tiles: np.ndarray) -> None:
    found = columns_of(encoded(tiles[0], quality=75), encoded(tiles[0, :64], "PNG", "L"), encoded(tiles[1], "WEBP"))
    said = {name: [c.words.get(v, "") for v in c.values.tolist()] for name, c in found.items() if c.words}
    assert said["format"] == ["format JPEG", "format PNG", "format WEBP"]
    assert said["size"] == ["size 128×128", "size 128×64", "size 128×128"]
    assert said["color mode"][1] == "mode L" and said["JPEG quality"] == ["JPEG quality 75", "", ""]
    assert said["subsampling"][0] == "chroma 4:2:0" and said["EXIF"] == ["no EXIF"] * 3 and said["dpi"][0] == "72 dpi"
    assert found["byte count"].values[0] == len(encoded(tiles[0], quality=75)) and found["byte count"].content_dependent


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
    found = Metadata()(DatasetView(ta.from_bytes(contents, [("real", "fake")[k] for k in labels])))
    assert found.severity == "leak" and said in found.summary, found.summary
    assert found.is_issue.all() and "metadata" in found.advice


def with_exif(pixels: np.ndarray, software: str = "", taken: str = "", camera: str = "") -> bytes:
    exif, target = Image.Exif(), io.BytesIO()
    exif[0x0131], exif[0x0110] = software, camera
    exif.get_ifd(0x8769)[0x9003] = taken
    Image.fromarray(pixels).save(target, "JPEG", exif=exif)
    return target.getvalue()


def with_chunks(pixels: np.ndarray, texts: dict[str, str], chunk: bytes = b"") -> bytes:
    info, target = PngInfo(), io.BytesIO()
    for name, text in texts.items():
        info.add_text(name, text)
    if chunk:
        info.add(chunk, b"jumb")
    Image.fromarray(pixels).save(target, "PNG", pnginfo=info)
    return target.getvalue()


def test_what_a_file_says_of_its_making_is_read(tiles: np.ndarray) -> None:
    pixels = tiles[0, :32, :32]
    xmp = io.BytesIO()
    Image.fromarray(pixels).save(xmp, "JPEG", xmp=b'<x:xmpmeta xmp:CreatorTool="Editor 3"/>')
    found = columns_of(
        with_exif(pixels, "Editor 1\0", "2024:02:29 12:00:00", "Camera"), with_exif(pixels, "", "0000:00:00 00:00:00"),
        with_chunks(pixels, {"Software": "Editor 2", "parameters": "a cat"}, b"caBX"), xmp.getvalue(),
    )  # fmt: skip
    said = {name: [c.words.get(v, "") for v in c.values.tolist()] for name, c in found.items() if c.words}
    assert said["software"] == ["software 'Editor 1'", "no software", "software 'Editor 2'", "software 'Editor 3'"]
    assert said["camera"] == ["camera 'Camera'", *["no camera"] * 3]
    assert said["text chunks"] == [*["no text chunks"] * 2, "text chunks 'Software, parameters'", "no text chunks"]
    assert said["credentials"][2] == "content credentials (C2PA)" and said["credentials"][0].startswith("no ")
    days = datetime(2024, 2, 29, 12, tzinfo=UTC).timestamp() / 86400
    assert found["date"].values[0] == days and np.isnan(found["date"].values[1:]).all()


def test_tables_are_those_of_the_jpeg_alone(tiles: np.ndarray) -> None:
    pixels = tiles[0, :32, :32]
    found = columns_of(*(with_exif(pixels, s, d) for s, d in (("A", ""), ("B", ""), ("A", "2024:01:01 00:00:00"))))
    assert list(found["JPEG tables"].words.values()) == ["JPEG tables 1"]


def test_a_clock_that_was_never_set_leaves_the_date_of_writing(tiles: np.ndarray) -> None:
    exif, target = Image.Exif(), io.BytesIO()
    exif[0x0132] = "2020:01:01 00:00:00"
    exif.get_ifd(0x8769)[0x9003] = "0000:00:00 00:00:00"
    Image.fromarray(tiles[0, :32, :32]).save(target, "JPEG", exif=exif)
    assert columns_of(target.getvalue())["date"].values[0] == datetime(2020, 1, 1, tzinfo=UTC).timestamp() / 86400


def test_content_credentials_of_a_jpeg_are_seen(tiles: np.ndarray) -> None:
    plain = encoded(tiles[0, :32, :32])
    box = b"JP\0\1\0\0\0\1" + b"\0\0\0\x18jumb" + b"\0" * 16
    segment = b"\xff\xeb" + (len(box) + 2).to_bytes(2, "big") + box
    found = columns_of(plain, plain[:2] + segment + plain[2:])["credentials"]
    assert [found.words[v] for v in found.values] == ["no content credentials (C2PA)", "content credentials (C2PA)"]


def test_one_cause_is_told_once(tiles: np.ndarray) -> None:
    labels = np.arange(100) % 2
    contents = [
        encoded(t[:64, :64]) if k else with_exif(t[:64, :64], "Editor", camera="Camera")
        for t, k in zip(tiles, labels, strict=False)
    ]
    found = Metadata()(DatasetView(ta.from_bytes(contents, [("real", "fake")[k] for k in labels])))
    assert "no EXIF occurs only in 'fake'" in found.summary
    assert "no software" not in found.summary and "camera" not in found.summary


@pytest.mark.parametrize(
    "written, said",
    [
        (lambda p, fake, n: with_exif(p, ("Camera 1", "Editor 1")[fake]), "software 'Editor 1' occurs only in 'fake'"),
        (lambda p, fake, n: with_exif(p, taken=f"20{(10, 20)[fake] + n % 10}:01:01 00:00:00"), "date: higher in 'fake'"),
        (lambda p, fake, n: with_chunks(p, {"prompt": f"{n}"} if fake else {}), "text chunks 'prompt' occurs only in 'fake'"),
    ],
    ids=["software", "date", "prompt"],
)  # fmt: skip
def test_who_wrote_a_file_and_when_is_named(tiles: np.ndarray, written: Callable[..., bytes], said: str) -> None:
    labels = np.arange(100) % 2
    contents = [written(t[:64, :64], int(k), n) for n, (t, k) in enumerate(zip(tiles, labels, strict=False))]
    found = Metadata()(DatasetView(ta.from_bytes(contents, [("real", "fake")[k] for k in labels])))
    assert found.severity == "leak" and said in found.summary, found.summary


def test_a_byte_count_that_the_picture_explains_is_a_notice(tiles: np.ndarray) -> None:
    """Plain pictures are small files: nothing in how they were written differs."""
    labels = np.arange(120) % 2
    pictures = [t[:64, :64] // 8 if label else t[:64, :64] for t, label in zip(tiles, labels, strict=False)]
    found = Metadata()(DatasetView(ta.from_bytes([encoded(p) for p in pictures], [("real", "fake")[k] for k in labels])))
    assert found.severity == "notice" and "byte count: higher in 'real'" in found.summary


def test_copies_of_few_files_are_no_evidence(tiles: np.ndarray) -> None:
    """Four files of a class, thirty times each: eight files are known, not 240."""
    contents = [encoded(t[:64, :64], quality=q) for t, q in zip(tiles, [70] * 4 + [90] * 4, strict=False)] * 30
    table = ta.from_bytes(contents, (["real"] * 4 + ["fake"] * 4) * 30)
    assert Metadata()(DatasetView(table)).severity == "fine"


def test_what_has_no_metadata_is_skipped(tiles: np.ndarray, shared_data: Callable[[str], Path]) -> None:
    assert Metadata()(DatasetView(ta.from_arrays(tiles[:8], ["a", "b"] * 4))).severity == "skipped"
    assert Metadata()(DatasetView(ta.from_bytes([encoded(t) for t in tiles[:8]], ["a"] * 8))).severity == "skipped"
    assert Metadata()(DatasetView(ta.from_bytes([encoded(t) for t in tiles[:8]], [None] * 8))).severity == "skipped"


def test_headers_that_cannot_be_read_count_for_nothing(tiles: np.ndarray) -> None:
    contents = [encoded(t[:64, :64]) for t in tiles[:100]] + [b"no image"] * 100
    evidence = DatasetView(ta.from_bytes(contents, ["real"] * 100 + ["fake"] * 100))
    assert not Metadata()(evidence).is_issue.any() and len(evidence.unreadable) == 100
