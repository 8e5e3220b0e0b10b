"""`tellapart kfold`: table, intervals, JSON, and what it says to bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from tellapart.cli import kfold
from tellapart.errors import RecipeError, SplitError

Ask = Callable[..., Result]


@pytest.fixture
def ask(tell: Any) -> Ask:
    """The command alone, in the empty folder of `tell`."""
    app = typer.Typer()
    app.command()(kfold.run)
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


def test_a_line_for_each_fold_then_mean_and_intervals(ask: Ask, photos: Path) -> None:
    found = ask(photos, "-r", "knn", "--folds", 4, "-q")
    assert found.exit_code == 0, found.output
    lines = found.stdout.splitlines()
    assert lines[0] == "4-fold-knn: 32 images of the train and validation splits; the test split stays sealed"
    assert lines[1].split() == "fold n accuracy [95 % interval] macro F1 log loss fit".split()
    assert [line.split()[:2] for line in lines[2:6]] == [[str(fold), "8"] for fold in (1, 2, 3, 4)]
    assert lines[6].startswith("mean ± sd") and "1.000 ± 0.000" in lines[6] and lines[7].split()[:2] == ["pooled", "32"]
    assert "accuracy pooled: 1.000, 95 % interval 0.893–1.000, over the 32 images" in lines[8]
    assert "no interval" in lines[9] and "Nadeau & Bengio" in lines[9], "equal folds say nothing about spread"
    assert "each of 32 images is predicted by the one model that was not trained on it" in found.stdout
    assert lines[-1].startswith("run: ") and Path(lines[-1].removeprefix("run: "), "kfold.json").exists()


def test_json_has_all_of_it(ask: Ask, photos: Path) -> None:
    found = ask(
        photos, "-r", "pixels-forest", "--folds", 2, "--repeats", 2, "--seeds", 2, "-s", "classifier.trees=3", "-q", "--json"
    )
    assert found.exit_code == 0, found.output
    content = json.loads(found.stdout)
    assert set(content) == {"run", "folder", "scores", "kfold", "cost", "left_out"}
    detail = content["kfold"]
    assert [detail[k] for k in ("folds", "repeats", "seeds", "n")] == [2, 2, 2, 32] and len(detail["each"]) == 8
    assert {"mean", "sd", "low", "high", "folds"} == set(detail["over_folds"]["accuracy"])
    assert len(detail["over_seeds"]["accuracy"]["means"]) == len(detail["over_repeats"]["accuracy"]["means"]) == 2
    assert content["scores"]["valid"]["accuracy"]["n"] == 4 and detail["pooled"]["accuracy"]["n"] == 32


def test_repeats_and_seeds_are_named_and_their_spread_is_shown(ask: Ask, photos: Path) -> None:
    found = ask(photos, "-r", "pixels-forest", "--folds", 2, "--repeats", 2, "--seeds", 2, "-s", "classifier.trees=3", "-q")
    assert found.exit_code == 0, found.output
    assert "2, repeat 2, seed 1" in found.stdout
    assert "over 2 repeats: mean accuracy" in found.stdout and "over 2 seeds: mean accuracy" in found.stdout


def test_minutes_are_divided_among_the_models(ask: Ask, photos: Path) -> None:
    tiny = ("-s", "classifier.stages=[{widths: [4]}]", "-s", "inputs.size=8", "--epochs", 1)
    found = ask(photos, "-r", "cnn-small", *tiny, "--folds", 2, "--minutes", 3, "-q", "--json")
    assert found.exit_code == 0, found.output
    content = json.loads(found.stdout)
    recipe = Path(content["folder"], content["kfold"]["each"][0]["run"], "recipe.yaml").read_text("utf-8")
    assert "minutes: 1.5" in recipe


def test_bad_input(ask: Ask, photos: Path) -> None:
    for arguments, kind, message in (
        (("-r", "knn", "--folds", 1), SplitError, "at least 2 folds are needed"),
        (("-r", "knn", "--folds", 17), SplitError, "too small for 17 folds"),
        (("-r", "knnn"), RecipeError, "did you mean 'knn'"),
    ):
        found = ask(photos, *arguments, "-q")
        assert isinstance(found.exception, kind) and message in str(found.exception)
    assert ask(photos, "-r", "knn", "--repeats", 0).exit_code == 2
