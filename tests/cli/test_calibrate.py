"""`tellapart calibrate`, and what `predict` says of a run that it made."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from tellapart.calibration.decision import Decision
from tellapart.calibration.decision import score_decisions as judge_by
from tellapart.cli.evaluate import decision_content, decision_lines, report_lines
from tellapart.inference.decision import decision
from tellapart.runs.store import open_run
from tellapart.types import Predictions
from tellapart.workflows.calibrate import score_decisions


@pytest.fixture
def trained(tell, photos) -> Path:
    """Two classes, of which the second is positive by name; neighbors on them."""
    (photos / "light").rename(photos / "fake")
    (photos / "dark").rename(photos / "real")
    tell("train", photos, "-r", "knn", "-q")
    return photos


def test_what_it_prints(tell, trained):
    code, out, err = tell("calibrate", "knn", "--how", "platt", "--prior", "fake=0.02", "--fpr", "0.3", "-q")
    assert code == 0 and err == ""
    assert re.search(r"before +1\.000 \[", out) and re.search(r"after +1\.000 \[", out)
    assert "n=4, 95 % intervals" in out and "cross-fitted" in out
    assert "no evidence that calibration helped: log loss" in out or "calibration helped: log loss" in out
    assert "platt, slope" in out and "(4 validation images)" in out
    assert "corrected for other class frequencies: fake 0.02 (from 0.5), real 0.98 (from 0.5)" in out
    assert "fake at or above " in out and "on validation TPR 1.000" in out
    assert "decisions on the validation split, where it was chosen: decided 1.000" in out
    assert "A prior changes the probabilities, not the ROC curve" in out
    (run,) = Path("runs").glob("platt-knn-*")
    assert f"run: {run.resolve()}" in out


def test_json(tell, trained):
    code, out, err = tell("calibrate", "knn", "--unsure", "0.5", "--method", "aps", "--how", "none", "-q", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "") and found["run"].startswith("decision-knn-")
    assert found["decision"]["sets"]["method"] == "aps" and found["effect"]["after"] is None
    assert found["decision"] == decision(open_run(found["run"])).to_dict() and found["summary"] and found["notes"]


def test_predict_shows_the_decision_and_the_predicted_class(tell, trained):
    tell("calibrate", "knn", "--band", "0.2", "1", "--how", "none", "-q")
    run = next(Path("runs").glob("decision-*")).name
    shots = [trained / "fake" / "03.png", trained / "real" / "03.png"]
    code, out, err = tell("predict", run, *shots, "-q")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"{shots[0]}: fake (fake 100.0%; at or above 1)"
    assert out.splitlines()[1] == f"{shots[1]}: real (real 100.0%; below 0.2)"
    assert out.splitlines()[2] == "0 of 2 images: unsure"
    rows = list(csv.reader(io.StringIO(tell("predict", run, *shots, "-q", "--csv").out)))
    assert rows[0] == ["image", "predicted", "decision", "reason", "fake", "real"] and [row[2] for row in rows[1:]] == [
        "fake",
        "real",
    ]
    entries = json.loads(tell("predict", run, *shots, "-q", "--json").out)
    assert [(e["decision"], e["reason"]) for e in entries] == [("fake", "at or above 1"), ("real", "below 0.2")]


def test_unsure_is_counted(tell, trained):
    """A coverage that four validation images cannot promise: every set holds both classes."""
    tell("calibrate", "knn", "--unsure", "0.95", "--how", "none", "-q")
    run = next(Path("runs").glob("decision-*")).name
    out = tell("predict", run, trained / "real", "-q").out
    assert out.count(": unsure (real ") == 20 and "possible: fake, real" in out
    assert out.splitlines()[-1] == "20 of 20 images: unsure"


def test_a_run_without_decisions_is_as_it_was(tell, trained):
    shot = trained / "real" / "03.png"
    assert tell("predict", "knn", shot, "-q").out == f"{shot}: real 100.0%\n"
    tell("calibrate", "knn", "-q")  # a map alone: nothing beyond the most probable class
    run = next(Path("runs").glob("temperature-*")).name
    assert tell("predict", run, shot, "-q", "--csv").out.splitlines()[0] == "image,predicted,fake,real"
    assert "because" not in tell("predict", run, shot, "-q", "--json").out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--prior", "fake"), 2, "expected NAME=NUMBER"),
        (("--prior", "fake=much"), 2, "expected NAME=NUMBER"),
        (("--prior", "fak=0.1"), 3, "the prior names 'fak', which is not one of fake, real"),
        (("--prior", "fake=1.5"), 3, "a sum of at most 1"),
        (("--cost", "HIT=5"), 2, "expected MISS=… or ALARM=…"),
        (("--cost", "miss=5", "--fpr", "0.1"), 4, "give `cost` or `fpr`, not both"),
        (("--how", "plat"), 4, "'platt'"),
        (("--band", "0.9", "0.1"), 4, "0 ≤ low ≤ high ≤ 1"),
    ],
)
def test_what_is_asked_wrongly(tell, trained, arguments, code, message):
    found = tell("calibrate", "knn", *arguments, "-q")
    assert found.code == code and message in re.sub(r"[\s│]+", " ", found.err) and "Traceback" not in found.err


def test_a_threshold_needs_two_classes(tell, trained):
    (trained / "other").mkdir()
    for shot in sorted((trained / "real").glob("*.png")):
        (trained / "other" / shot.name).write_bytes((trained / "fake" / shot.name).read_bytes() + b" ")
    tell("train", trained, "-r", "knn", "-q", "--overwrite", "--runs", "three")
    code, _, err = tell("calibrate", "knn", "--fpr", "0.1", "--runs", "three", "-q")
    assert code == 3 and "a threshold needs exactly two classes, found 3: fake, other, real" in err and "--unsure 0.9" in err
    assert tell("calibrate", "knn", "--unsure", "0.5", "--runs", "three", "-q").code == 0


def test_costs_may_be_given_in_any_case(tell, trained):
    found = json.loads(tell("calibrate", "knn", "--cost", "Miss=5", "-q", "--json").out)
    assert "false alarm 1, miss 5" in found["decision"]["threshold"]["reason"]


def test_lines_for_evaluate(tell, trained):
    tell("calibrate", "knn", "--fpr", "0.3", "--unsure", "0.6", "-q")
    run = open_run(next(Path("runs").glob("temperature-*")).name)
    answers = run.predictions("valid")
    assert isinstance(answers, Predictions)
    lines = decision_lines(run, answers, "test")
    report = score_decisions(run, answers)
    assert lines == report_lines(report, "test") and len(lines) == 3
    assert lines[0].startswith("threshold for fake ") and f"TPR {report.tpr}, FPR {report.fpr}" in lines[0]
    assert lines[1].startswith("decisions on the test split: decided ") and "where it was chosen" not in lines[1]
    assert "prediction sets with target coverage 0.6: the true class is in 1.000" in lines[2]
    assert decision_content(run, answers) == report.to_dict()
    parent = open_run(run.data["parents"][0])
    assert decision_lines(parent, answers, "valid") == [] and decision_content(parent, answers) is None


def test_lines_say_what_is_not_defined(tell, trained):
    tell("calibrate", "knn", "--fpr", "0.3", "-q")
    run = open_run(next(Path("runs").glob("temperature-*")).name)
    answers = run.predictions("valid")
    assert answers is not None
    one = Predictions(answers.ids[:1], answers.proba[:1], answers.labels[:1], answers.classes)
    (first, second) = decision_lines(run, one, "other")
    assert first.count("undefined") == 1 and "n=1" in second and "on these images" in second
    nothing = Decision(answers.classes, 4, sets=decision_of_all(answers))
    assert "every image is unsure, n=1" in report_lines(judge_by(nothing, one), "other")[0]


def decision_of_all(answers: Predictions):
    """Sets that always hold every class."""
    from tellapart.calibration.conformal import Conformal

    return Conformal.fit(answers.proba, answers.labels, 0.99)
