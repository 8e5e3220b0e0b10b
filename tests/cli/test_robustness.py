"""`tellapart robustness`: what is printed, written and refused."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from tellapart.cli.robustness import show
from tellapart.perturbations.scores import Robustness, RobustnessCell
from tellapart.types import Score

QUIET = ("--runs", "runs", "-q")


@pytest.fixture
def run(tell, photos) -> str:
    """A run that tells dark from light."""
    return json.loads(tell("train", photos, "-r", "knn", "-q", "--json").out)["run"]


def test_scores_of_every_cell(tell, run):
    options = ("robustness", run, "--perturbation", "jpeg, crop", *QUIET)
    code, out, err = tell(*options, "--figure", "out/curves.svg")
    assert (code, err) == (0, "")
    assert f"Robustness of {run}: photos, validation split, 4 images" in out
    for text in (
        "none",
        "jpeg 95",
        "jpeg 30",
        "crop 50%",
        "change in points",
        "* worse, p < 0.05",
        "figure: out/curves.svg",
    ):
        assert text in out
    assert "No loss is significant" in out and "gray" not in out
    assert "<svg" in Path("out/curves.svg").read_text("utf-8")
    assert tell(*options, "--figure", "curves.png").code == 0
    assert Path("curves.png").read_bytes().startswith(b"\x89PNG")
    content = json.loads(tell(*options, "--json").out)
    cells = content["cells"]
    assert [c["strength"] for c in cells] == [95, 85, 70, 50, 30, 0.9, 0.75, 0.5] and {c["n"] for c in cells} == {4}
    assert {c["perturbation"] for c in cells} == {"jpeg", "crop"} and content["unperturbed"]["accuracy"]["value"] == 1


def test_one_command_is_one_opening(tell, run):
    content = json.loads(tell("robustness", run, "--open-test", "--perturbation", "gray", "--json", *QUIET).out)
    assert content["split"] == "test" and content["test_opened"] == 1
    again = json.loads(tell("robustness", run, "--open-test", "--perturbation", "gray", "--json", *QUIET).out)
    assert again == content


def test_a_sample_and_other_data(tell, run, photos):
    out = tell("robustness", run, "--perturbation", "gray", "--sample", "3", *QUIET).out
    assert "a sample of 3 of 4" in out
    other = photos.rename(photos.parent / "others")
    (other / "dark" / "00.png").unlink()
    for path in other.rglob("*.png"):  # the same pictures in other files
        with Image.open(path) as image:
            image.load()
        image.save(path, compress_level=0)
    out = tell("robustness", run, other, "--perturbation", "gray", *QUIET).out
    assert "others, 39 images" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sample", "0"], "greater than or equal to 1"),
        (["--figure", "curves.pdf"], "ends in .png or .svg"),
    ],
)
def test_wrong_usage(tell, run, arguments, said):
    code, out, err = tell("robustness", run, *arguments, *QUIET)
    assert code == 2 and out == "" and said in " ".join(err.replace("│", " ").split())


def test_unknown_perturbations_and_missing_images(tell, run, photos):
    code, out, err = tell("robustness", run, "--perturbation", "jpeg,blurr", *QUIET)
    assert code == 3 and out == "" and "unknown perturbation 'blurr': did you mean 'blur'" in err
    photos.rename(photos.parent / "elsewhere")
    code, out, err = tell("robustness", run, *QUIET)
    assert code == 5 and out == "" and "are no longer in" in err and "Traceback" not in err
    assert tell("evaluate", run, *QUIET).code == 0, "the stored scores need no image"


def test_the_table_fits_80_columns():
    worst = Score(-1.0, 99_999, -1.0, -0.999)
    accuracy = {"accuracy": Score(0.5, 99_999, 0.497, 0.503)}
    cells = [
        RobustnessCell(name, strength, 99_999, accuracy, Score(1.0, 99_999, 0.99, 1.0), {}, worst, 0.0, 0.0)
        for name, strength in (("screenshot", 0.75), ("brightness", -0.3), ("jpeg", 95))
    ]
    cells.append(RobustnessCell("crop", 0.5, 99_999, {}, reason="is 50×50, but resize: none expects 100×100"))
    recoded = Score(0, 99_999, 0, 0.001)
    found = Robustness(
        "r", "d", "valid", 99_999, 99_999, ("a", "b"), accuracy, recoded, tuple(cells), 0, ("a note",), Path("x")
    )  # fmt: skip
    console = Console(width=80, record=True, file=io.StringIO())
    show(found, console)
    lines = console.export_text().splitlines()
    rows = [line.rstrip() for line in lines if "99,999" in line]
    assert len(rows) == 6, "title, unperturbed and four cells, none folded"
    assert all(len(line) <= 80 for line in rows) and not any("…" in line for line in rows)
    (shot,) = (line for line in rows if line.startswith("screenshot 0.75"))
    assert shot.split()[-2:] == ["<0.001*", "100.0"] and "−100.0 [−100.0, −99.9]" in shot
    assert "not predicted: crop 50%: the first image is 50×50, but resize: none expects 100×100" in lines
    assert "note: a note" in lines
