"""`tellapart evaluate --bias`: what is printed, kept and refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def run(tell, tmp_path: Path) -> Path:
    """A null on JPEGs against PNGs."""
    for name in ("real", "fake"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(40):
            noise = np.random.default_rng(i).integers(0, 255, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "data" / name / f"{i:02}.{'jpg' if name == 'real' else 'png'}")
    assert tell("train", tmp_path / "data", "-r", "metadata", "-q").code == 0
    return tmp_path / "data"


def test_the_shifts_and_the_verdict(tell, run: Path) -> None:
    answer = tell("evaluate", "metadata", "--bias", "-q")
    assert answer.code == 0 and answer.err == ""
    assert "one class written anew: data, valid part, 8 images" in answer.out
    lines = [line.split() for line in answer.out.splitlines()]
    assert ["as", "they", "are", "none", "1.000"] in [line[:5] for line in lines]
    assert any(line[:4] == ["png", "fake", "only", "+0.000"] and "1.000" in line for line in lines)
    assert any(line[:2] == ["others", "only"] and line[4].endswith("*") for line in lines)
    assert "The run reads the file, not only the picture" in answer.out and "kept in " in answer.out
    again = tell("evaluate", "metadata", "--bias", "--json", "-q")
    content = json.loads(again.out)["bias"]
    assert content["classes"][0]["verdict"] == "file" and content["quality"] == 75 and content["n"] == 8
    drawn = tell("evaluate", "metadata", "--bias", "--figure", "out/shifts.svg", "-q")
    assert "figure: out/shifts.svg" in drawn.out and "<svg" in Path("out/shifts.svg").read_text("utf-8")
    sampled = json.loads(tell("evaluate", "metadata", "--bias", "--sample", 6, "--quality", 90, "--json", "-q").out)["bias"]
    assert (sampled["n"], sampled["of"], sampled["quality"]) == (6, 8, 90)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--quality", 80), "--quality: only together with --bias"),
        (("--bias", "--robustness"), "--bias and --robustness: ask for one at a time"),
        (("--bias", "--quality", 0), "should be greater than or equal to 1"),
        (("--sample", 5), "--sample: only together with --robustness or --bias"),
    ],
)
def test_wrong_usage(tell, arguments: tuple[object, ...], says: str) -> None:
    answer = tell("evaluate", "metadata", *arguments)
    assert answer.code == 2 and says in " ".join(answer.err.replace("│", " ").split())
