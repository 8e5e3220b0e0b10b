"""`tellapart lr-range`: table, JSON, picture, and that no run is made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

SMALL = ("-r", "mlp", "-s", "train.batch=8", "--steps", "30")


def test_it_suggests_a_rate_draws_it_and_makes_no_run(tell, photos):
    code, out, err = tell("lr-range", photos, *SMALL, "-q", "-o", "pictures/range.png", "--to", "1000")
    assert code == 0 and err == ""
    assert "learning rate" in out and "figure: pictures/range.png" in out
    (line,) = [line for line in out.splitlines() if line.startswith("use it: ")]
    with Image.open("pictures/range.png") as picture:
        assert picture.width > 1000
    assert not Path("runs").exists()
    setting = line.rpartition(" -s ")[2]
    code, _, err = tell("train", photos, "-r", "mlp", "--epochs", "1", "-s", setting, "-q")
    assert code == 0 and err == ""


def test_json_holds_the_whole_curve(tell, photos):
    code, out, _ = tell("lr-range", photos, *SMALL, "-q", "--json", "--from", "1e-5", "--to", "1e-3")
    found = json.loads(out)
    assert code == 0 and found["picture"] == "lr-range.png"
    assert len(found["rates"]) == len(found["losses"]) == len(found["smooth"]) == 30
    assert found["rates"][0] == pytest.approx(1e-5) and found["rates"][-1] == pytest.approx(1e-3)
    assert found["peak"] is None or found["peak"] == min(found["steepest"], found["lowest"] / 10)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-r", "knn"], 4, "the family 'knn' has no learning rate"),
        (["-r", "mlp", "--from", "1", "--to", "0.1"], 4, "learning rates must increase"),
        (["-r", "mlp", "--steps", "3"], 4, "at least 10 steps"),
        (["-r", "mlp", "-o", "."], 6, "is a folder"),
    ],
)
def test_what_cannot_be_tested_is_refused(tell, photos, arguments, code, message):
    found, out, err = tell("lr-range", photos, *arguments, "-q")
    assert found == code and out == "" and message in err and "Traceback" not in err


@pytest.mark.parametrize(("flags", "epochs"), [(("--epochs", "2"), 2), (("--epochs", "2", "-s", "train.epochs=1"), 1)])
def test_epochs_are_those_asked_for_whatever_the_recipe_bounds(tell, photos, flags, epochs):
    """`mlp` bounds the images seen in all; `--epochs` lifts that, and an explicit setting has the last word."""
    found = json.loads(tell("train", photos, "-r", "mlp", *flags, "-q", "--json").out)
    assert len((Path(found["folder"]) / "log.jsonl").read_text().splitlines()) == epochs


def test_minutes_bound_training(tell, photos):
    found = json.loads(tell("train", photos, "-r", "mlp", "--minutes", "5", "--epochs", "1", "-q", "--json").out)
    assert "minutes: 5.0" in (Path(found["folder"]) / "recipe.yaml").read_text()


@pytest.mark.parametrize("flags", [("--epochs", "2"), ("--minutes", "1")])
def test_a_family_that_does_not_train_by_epochs_takes_no_budget(tell, photos, flags):
    code, out, err = tell("train", photos, "-r", "knn", *flags, "-q")
    assert code == 4 and out == "" and "does not use the section 'train'" in err
