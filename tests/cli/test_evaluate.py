"""`tellapart evaluate`: what it prints."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from tellapart.cli.evaluate import print_slices
from tellapart.metrics.slices import slices
from tellapart.types import Predictions

QUIET = ("--runs", "runs", "-q")


@pytest.fixture
def run(tell, photos) -> str:
    """A run that tells dark from light."""
    return json.loads(tell("train", photos, "-r", "knn", "-q", "--json").out)["run"]


def test_scores_confusions_and_what_is_not_defined(tell, run):
    code, out, err = tell("evaluate", run, *QUIET)
    assert (code, err) == (0, "")
    assert "accuracy" in out and "n = 4)" in out
    assert "undefined: top-3 (there are no more than 3 classes); top-5" in out
    positive = "ositive class: light (the second class; choose with --positive)"
    assert positive in out and positive in tell("leaderboard", "--runs", "runs").out
    assert "all images are predicted correctly" in out and "test split opened: never" in out
    content = json.loads(tell("evaluate", run, *QUIET, "--json").out)
    assert content["confusion"] == {
        "classes": ["dark", "light"], "counts": [[2, 0], [0, 2]], "by_row": [[1, 0], [0, 1]], "by_column": [[1, 0], [0, 1]],
    }  # fmt: skip
    assert "slices" not in content and content["undefined"]["top-3"] == "there are no more than 3 classes"


def test_wrong_answers_are_counted(tell, run, photos):
    swapped = ("--map", "dark=light", "--map", "light=dark")
    other = photos.rename(photos.parent / "others")
    (other / "dark" / "00.png").unlink()
    out = tell("evaluate", run, other, *swapped, "--include-seen", *QUIET).out
    assert "errors: 39 of 39; true → predicted: dark → light: 20 of 20 (100.0%); light → dark: 19 of 19 (100.0%)" in out
    assert "note: not independent: 2" in out and "test split of the run opened: once" in out


def test_slices_fit_80_columns_and_say_what_is_undefined():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 300)
    proba = rng.dirichlet([2, 2], 600).astype(np.float32)
    ids = np.array([f"i{row}" for row in range(600)], dtype=object)
    source = np.where(labels == 1, "generator", np.where(np.arange(600) < 10, "[b]scan", "camera"))
    frame = pd.DataFrame({"id": ids, "source": source, "size": np.arange(600) * 91, "same": "x"})
    report = slices(Predictions(ids, proba, labels, ("real", "fake")), frame)
    console = Console(width=80, record=True, file=io.StringIO(), markup=False)
    print_slices(console, report)
    text = console.export_text()
    table = text.partition("Worst:")[0].partition("No slice")[0].splitlines()
    assert len([line for line in table if line.startswith(" ") and line.strip()]) >= len(report.slices)
    assert all(len(line.rstrip()) <= 80 for line in table)
    rows = {line.split()[0]: line for line in table if line.strip()}
    assert "too small" in rows["[b]scan"] and "–" in rows["generator"]
    assert "undefined, no image of fake; no image of real in the slice" in text
    assert "not sliced by same: all images have the value x" in text
    assert "less than 80% power" in text


@pytest.mark.parametrize("option", ["--robustness", "--bias"])
def test_robustness_and_codec_bias_are_commands_of_their_own(tell, option):
    code, out, err = tell("evaluate", "knn", option)
    assert code == 2 and out == "" and "No such option" in err
