"""`tellapart combine`: what it prints, and what it says to bad input."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def trained(tell, photos):
    for recipe in ("knn", "spectrum-linear"):
        assert tell("train", photos, "-r", recipe, "-q").code == 0
    return photos


def test_combine_prints_members_weights_and_the_paired_test(tell, trained):
    found = tell("combine", "knn", "spectrum", "--how", "weighted", "-q")
    assert found.code == 0, found.err
    assert "knn-" in found.out and "weight" in found.out and "ensemble" in found.out
    assert "no evidence of a gain over" in found.out and "exact McNemar p" in found.out
    assert "run: " in found.out


def test_combine_as_json_then_predict_then_leaderboard(tell, trained):
    found = tell("combine", "--how", "geometric-mean", "-q", "--json")
    content = json.loads(found.out)
    assert content["gain"]["result"] == "no evidence of a gain" and len(content["gain"]["members"]) == 2
    assert set(content["scores"]) == {"train", "valid"} and content["scores"]["valid"]["accuracy"]["n"] == 4
    predicted = tell("predict", content["run"], trained / "dark", "-q")
    assert predicted.code == 0, predicted.err
    board = json.loads(tell("leaderboard", "--json").out)
    assert content["run"] in [row["run_id"] for row in board[0]["runs"]]


def test_options_of_the_combiner(tell, trained):
    assert tell("combine", "--how", "greedy", "-s", "metric=accuracy", "-s", "bags=2", "-q").code == 0
    wrong = tell("combine", "--how", "greedy", "-s", "bag=2", "-q")
    assert wrong.code == 4 and "did you mean 'bags'" in wrong.err
    assert tell("combine", "-s", "bags", "-q").code == 2


def test_bad_input_has_exit_codes_and_no_traceback(tell, trained):
    for arguments, code, message in (
        (("knm-9",), 5, "unknown run"),
        (("knn",), 5, "expected at least two"),
        (("--between", "2", "3"), 5, "0 of 2 members are left"),
        (("--how", "vot"), 4, "did you mean 'vote'"),
        (("--checkpoints",), 5, "has no stored epochs"),
        (("--how", "soup"), 5, "is not a network on images"),
        (("--top", "1"), 2, "--top"),
    ):
        found = tell("combine", *arguments, "-q")
        assert found.code == code and message in found.err and "Traceback" not in found.err, (arguments, found)
