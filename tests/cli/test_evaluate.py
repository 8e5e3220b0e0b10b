"""`tellapart evaluate`: what it prints, and the sweep of --robustness."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from tellapart.cli.robustness import show
from tellapart.perturbations.scores import Robustness, RobustnessCell
from tellapart.types import Score

QUIET = ("--runs", "runs", "-q")


@pytest.fixture
def run(tell, photos) -> str:
    """A run that tells dark from light."""
    return json.loads(tell("train", photos, "-r", "knn", "-q", "--json").out)["run"]


def test_scores_confusions_and_what_is_not_defined(tell, run):
    code, out, err = tell("evaluate", run, *QUIET)
    assert (code, err) == (0, "")
    assert "accuracy" in out and "n = 4)" in out
    assert "not defined here: top-3 (there are no more than 3 classes); top-5" in out
    assert "no image is answered wrongly" in out and "test opened never" in out
    content = json.loads(tell("evaluate", run, *QUIET, "--json").out)
    assert content["confusion"] == {
        "classes": ["dark", "light"], "counts": [[2, 0], [0, 2]], "by_row": [[1, 0], [0, 1]], "by_column": [[1, 0], [0, 1]],
    }  # fmt: skip
    assert "robustness" not in content and content["undefined"]["top-3"] == "there are no more than 3 classes"


def test_wrong_answers_are_counted(tell, run, photos):
    swapped = ("--map", "dark=light", "--map", "light=dark")
    other = photos.rename(photos.parent / "others")
    (other / "dark" / "00.png").unlink()
    out = tell("evaluate", run, other, *swapped, *QUIET).out
    assert "wrong: 39 of 39; true → answered: dark → light: 20 of 20 (100.0%); light → dark: 19 of 19 (100.0%)" in out


def test_robustness(tell, run):
    options = ("evaluate", run, "--robustness", "--damage", "jpeg, crop", *QUIET)
    code, out, err = tell(*options, "--figure", "out/curves.svg")
    assert (code, err) == (0, "")
    assert f"{run} under damage" in out and "validation" not in out
    for text in (
        "undamaged",
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
    cells = content["robustness"]["cells"]
    assert [c["strength"] for c in cells] == [95, 85, 70, 50, 30, 0.9, 0.75, 0.5] and {c["n"] for c in cells} == {4}
    assert content["robustness"]["undamaged"]["accuracy"]["value"] == content["scores"]["accuracy"]["value"]


def test_one_command_is_one_opening(tell, run):
    content = json.loads(tell("evaluate", run, "--open-test", "--robustness", "--damage", "gray", "--json", *QUIET).out)
    assert content["part"] == content["robustness"]["part"] == "test"
    assert content["test_opened"] == content["robustness"]["test_opened"] == 1
    again = json.loads(tell("evaluate", run, "--open-test", "--robustness", "--damage", "gray", "--json", *QUIET).out)
    assert again == content


def test_a_sample_and_other_data(tell, run, photos):
    out = tell("evaluate", run, "--robustness", "--damage", "gray", "--sample", "3", *QUIET).out
    assert "a sample of 3 of 4" in out
    other = photos.rename(photos.parent / "others")
    (other / "dark" / "00.png").unlink()
    out = tell("evaluate", run, other, "--robustness", "--damage", "gray", *QUIET).out
    assert "under damage: others, 39 images" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--damage", "jpeg"], "--damage: only together with --robustness"),
        (["--sample", "3"], "--sample: only together with --robustness"),
        (["--figure", "x.png"], "--figure: only together with --robustness"),
        (["--robustness", "--sample", "0"], "greater than or equal to 1"),
        (["--robustness", "--figure", "curves.pdf"], "ends in .png or .svg"),
    ],
)
def test_wrong_usage(tell, run, arguments, said):
    code, out, err = tell("evaluate", run, *arguments, *QUIET)
    assert code == 2 and out == "" and said in " ".join(err.replace("│", " ").split())


def test_unknown_damages_and_images_that_are_gone(tell, run, photos):
    code, out, err = tell("evaluate", run, "--robustness", "--damage", "jpeg,blurr", *QUIET)
    assert code == 3 and out == "" and "unknown perturbation 'blurr': did you mean 'blur'" in err
    photos.rename(photos.parent / "elsewhere")
    code, out, err = tell("evaluate", run, "--robustness", *QUIET)
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
    assert len(rows) == 6, "title, undamaged and four cells, none folded"
    assert all(len(line) <= 80 for line in rows) and not any("…" in line for line in rows)
    (shot,) = (line for line in rows if line.startswith("screenshot 0.75"))
    assert shot.split()[-2:] == ["<0.001*", "100.0"] and "−100.0 [−100.0, −99.9]" in shot
    assert "not answered: crop 50%: the first image is 50×50, but resize: none expects 100×100" in lines
    assert "note: a note" in lines
