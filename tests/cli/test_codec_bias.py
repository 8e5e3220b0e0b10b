"""`tellapart codec-bias`: what is printed, kept and refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def run(tell, tmp_path: Path) -> Path:
    """A metadata baseline on JPEGs against PNGs."""
    for name in ("real", "fake"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(40):
            noise = np.random.default_rng(i).integers(0, 255, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "data" / name / f"{i:02}.{'jpg' if name == 'real' else 'png'}")
    assert tell("train", tmp_path / "data", "-r", "metadata", "-q").code == 0
    return tmp_path / "data"


def test_the_shifts_and_the_result(tell, run: Path) -> None:
    answer = tell("codec-bias", "metadata", "-q")
    assert answer.code == 0 and answer.err == ""
    assert "Codec bias of metadata-" in answer.out and "data, validation split, 8 images" in answer.out
    lines = [line.split() for line in answer.out.splitlines()]
    assert ["none", "1.000"] in [line[:2] for line in lines]
    assert any(line[:4] == ["png", "fake", "only", "+0.000"] and "1.000" in line for line in lines)
    assert any(line[:2] == ["others", "only"] and line[4].endswith("*") for line in lines)
    assert "The run depends on the file, not only on the pixels" in answer.out and "results: " in answer.out
    again = tell("codec-bias", "metadata", "--json", "-q")
    content = json.loads(again.out)
    assert content["classes"][0]["result"] == "file" and content["quality"] == 75 and content["n"] == 8
    drawn = tell("codec-bias", "metadata", "--figure", "out/shifts.svg", "-q")
    assert "figure: out/shifts.svg" in drawn.out and "<svg" in Path("out/shifts.svg").read_text("utf-8")
    sampled = json.loads(tell("codec-bias", "metadata", "--sample", 6, "--quality", 90, "--json", "-q").out)
    assert (sampled["n"], sampled["available"], sampled["quality"]) == (6, 8, 90)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--quality", 0), "should be greater than or equal to 1"),
        (("--sample", 0), "should be greater than or equal to 1"),
        (("--figure", "shifts.pdf"), "ends in .png or .svg"),
    ],
)
def test_wrong_usage(tell, arguments: tuple[object, ...], says: str) -> None:
    answer = tell("codec-bias", "metadata", *arguments)
    assert answer.code == 2 and says in " ".join(answer.err.replace("│", " ").split())
