"""`tellapart align`: what is printed, what is refused, and back to the source."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

import tellapart as ta


@pytest.fixture
def leaking(photos: Path) -> Path:
    """The dark ones are JPEGs, the light ones PNGs."""
    for path in sorted((photos / "dark").iterdir()):
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            image.save(path.with_suffix(".jpg"))
        path.unlink()
    return photos


def test_aligned_compared_and_traced_back(tell, leaking: Path, tmp_path: Path) -> None:
    answer = tell("align", leaking, "-o", tmp_path / "out", "-q")
    assert answer.code == 0 and answer.err == ""
    assert "photos: 40 of 40 images, 8×8 pixels, PNG without compression" in answer.out
    assert "out-of-fold AUROC: before 1.000 (95 % interval" in answer.out and "after 0.500 (95 % interval" in answer.out
    assert f"next: tellapart compare {tmp_path / 'out'}" in answer.out
    assert tell("train", tmp_path / "out", "-r", "metadata", "-q").code == 0
    answer = tell("align", tmp_path / "out", "--verify", "-q")
    assert answer.code == 0 and answer.out == "40 of 40 images contain the pixels of their sources, bit for bit\n"
    (leaking / "light" / "07.png").write_bytes(b"")
    answer = tell("align", tmp_path / "out", "--verify", "-q")
    assert answer.code == 1 and "39 of 40" in answer.out and "from light/07.png: the source has changed" in answer.out
    found = json.loads(tell("align", tmp_path / "out", "--verify", "-q", "--json").out)
    assert found["faults"] == 1 and len(found["sources"]) == 40


def test_the_same_as_json(tell, leaking: Path, tmp_path: Path) -> None:
    answer = tell(
        "align", leaking, "-o", tmp_path / "out", "--format", "jpeg", "--quality", "80-95", "--json", "-q", "--seed", 3
    )
    content = json.loads(answer.out)
    assert content["options"] == {
        "encoder": "jpeg", "quality": [80, 95], "size": None, "keep": 0.95, "grid": "keep", "seed": 3,
    }  # fmt: skip
    assert content["written"] == 40 and content["baseline_after"]["n"] == 40 and content["folder"] == str(tmp_path / "out")
    assert len(ta.scan(tmp_path / "out")) == 40
    again = tell("align", leaking, "-o", tmp_path / "out", "--format", "jpeg", "--quality", "80-95", "--json", "--seed", 3)
    assert json.loads(again.out) == content and f"reusing {tmp_path / 'out'}" in again.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "-o is missing"),
        (("-o", "out", "--quality", "90"), "--quality: only together with --format jpeg"),
        (("-o", "out", "--format", "jpeg", "--quality", "high"), "--quality high: expected a number"),
        (("-o", "out", "--size", "10x"), "--size 10x: expected a number"),
        (("-o", "out", "--size", "8", "--keep", "0.5"), "--keep and --size: --keep chooses the size"),
        (("-o", "out", "--verify"), "--verify and -o: --verify writes nothing"),
    ],
)
def test_wrong_usage(tell, photos: Path, arguments: tuple[str, ...], says: str) -> None:
    answer = tell("align", photos, *arguments)
    assert answer.code == 2 and says in " ".join(answer.err.replace("│", " ").split()) and not Path("out").exists()


@pytest.mark.parametrize(
    ("code", "arguments", "says"),
    [
        (3, ("-o", "{photos}/aligned"), "lies inside the data"),
        (3, ("-o", "out", "--size", "9"), "no image of the class 'dark' is large enough for 9×9 pixels"),
        (3, ("-o", "out", "--size", "4x8"), "expected a size of at least 8×8, found 4×8"),
        (
            3,
            ("-o", "out", "--format", "jpeg", "--quality", "95-75"),
            "expected a quality from 1 to 100, low to high, found 95-75",
        ),
        (6, ("-o", "{photos}.txt/out"), "the copy cannot be written"),
    ],
)
def test_what_cannot_be_done(tell, photos: Path, code: int, arguments: tuple[str, ...], says: str) -> None:
    photos.with_suffix(".txt").write_text("a file")
    given = [text.replace("{photos}", str(photos)) for text in arguments]
    answer = tell("align", photos, *given, "-q")
    assert answer.code == code and says in answer.err and answer.out == "" and "Traceback" not in answer.err


def test_nothing_to_align(tell, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    answer = tell("align", tmp_path / "empty", "-o", "out", "-q")
    assert answer.code == 3 and "no images in it" in answer.err and not Path("out").exists()
