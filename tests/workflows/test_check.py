"""The verb: every check has its say, a crash of one loses no other, and a review is obeyed."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tellapart import registry
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.base import SEVERITIES, CheckResult, HealthCheck
from tellapart.checks.review import COLUMNS, write_rows
from tellapart.data.memory import from_arrays
from tellapart.errors import DataError, RecipeError, SystemLimitError
from tellapart.workflows import check as check_module
from tellapart.workflows.check import check

MINE = ("files", "duplicates", "near_duplicates", "groups", "balance", "quality")


@pytest.fixture
def table():
    """Forty different pictures; two pairs of copies, one across classes."""
    images = np.random.default_rng(0).integers(30, 220, (40, 24, 24, 3)).astype(np.uint8)
    images[20], images[31] = images[0], images[2]
    return from_arrays(images, [0, 1] * 20, ["real", "fake"])


def test_the_worst_comes_first(table):
    health = check(table, only=MINE)
    ranks = [SEVERITIES.index(one.result.severity) for one in health.checks]
    assert ranks == sorted(ranks) and health.worst == "leak" and health.is_bad() and not health.failures
    assert {one.name for one in health.checks} == set(MINE)
    json.dumps(health.to_dict(), allow_nan=False)


def test_rows_say_what_to_do(table):
    health = check(table, only=("duplicates",))
    rows = health.rows()
    assert tuple(rows) == COLUMNS and len(rows) == 4 and set(rows["severity"]) == {"leak"}
    assert rows.set_index("id")["action"].to_dict() == {"20": "drop", "0": "review", "2": "review", "31": "review"}
    assert rows["action"].iloc[0] == "drop" and "labeled" in rows["reason"].iloc[1]
    assert health.rows("near_duplicates").empty


def test_only_skip_and_options(table):
    assert [one.name for one in check(table, only=["near-duplicates"]).checks] == ["near_duplicates"]
    names = {one.name for one in check(table, only=MINE, skip=["files", "quality"]).checks}
    assert names == set(MINE) - {"files", "quality"}
    found = check(table, only=["quality"], options={"quality.tiny": 30}).checks[0].result
    assert found.details["tiny"] == 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"only": ["duplicate"]}, "did you mean 'duplicates'"),
        ({"skip": ["file"]}, "did you mean 'files'"),
        ({"options": {"tiny": 3}}, "expected CHECK.OPTION=VALUE"),
        ({"options": {"quality.tinny": 3}}, "did you mean 'tiny'"),
        ({"options": {"qualty.tiny": 3}}, "did you mean 'quality'"),
        ({"options": {"quality.tiny": 0}}, "quality"),
    ],
)
def test_unknown_names_are_said(table, arguments, message):
    with pytest.raises(RecipeError, match=message):
        check(table, **arguments)


def test_a_crash_of_one_check_does_not_lose_the_others(table, monkeypatch):
    class Broken(HealthCheck):
        def _run(self, evidence) -> CheckResult:
            raise ZeroDivisionError("by nought")

    usual = registry.find
    monkeypatch.setattr(check_module.registry, "find", lambda kind, name: Broken if name == "quality" else usual(kind, name))
    health = check(table, only=("quality", "duplicates", "balance"))
    assert health.failures == {"quality": "ZeroDivisionError: by nought"} and len(health.checks) == 3
    assert health.checks[0].name == "duplicates" and health.to_dict()["checks"][-1]["failure"]


def test_a_review_is_obeyed(table, tmp_path):
    path = tmp_path / "fix.csv"
    write_rows(check(table, only=("duplicates",)).rows(), path)
    rows = pd.read_csv(path, dtype=str)
    rows.loc[rows["id"].isin(["2", "31"]), "action"] = "keep"
    rows.to_csv(path, index=False)
    health = check(table, only=("duplicates",), reviewed=path)
    found = health.checks[0].result
    assert len(health.table) == 39 and "20" not in set(health.table.ids)
    assert found.severity == "fine" and "2 images accepted by the review" in found.summary and found.details["accepted"] == 2
    assert not found.is_issue.any() and not health.is_bad(strict=True)


def test_a_review_of_half_a_finding(table, tmp_path):
    path = tmp_path / "fix.csv"
    path.write_text("id,check,action\n0,duplicates,keep\n20,duplicates,keep\n")
    found = check(table, only=("duplicates",), reviewed=path).checks[0].result
    assert found.severity == "leak" and found.is_issue.sum() == 2 and len(found.pairs) == 1 and not found.drops


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,check\n0,duplicates\n", "no column 'action'"),
        ("id,check,action\n0,duplicates,delete\n", "csv:2: unknown action 'delete', expected drop, keep, review"),
        ("id,check,action\n0,duplicates,drop\nx9,duplicates,keep\n", "csv:3: no image 'x9'"),
        ("", "empty"),
    ],
)
def test_a_bad_review_is_said(table, tmp_path, text, message):
    path = tmp_path / "fix.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        check(table, only=("duplicates",), reviewed=path)
    with pytest.raises(DataError, match="cannot be read"):
        check(table, reviewed=tmp_path / "nowhere.csv")


def test_rows_are_not_written_over_a_folder(table, tmp_path):
    with pytest.raises(SystemLimitError, match="is a folder"):
        write_rows(check(table, only=("duplicates",)).rows(), tmp_path)


def test_a_folder_without_classes_is_checked_without_labels(tmp_path):
    images = np.random.default_rng(1).integers(30, 220, (6, 24, 24, 3)).astype(np.uint8)
    images[5] = images[0]
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    health = check(tmp_path, only=MINE)
    found = {one.name: one.result for one in health.checks}
    assert len(health.table) == 6 and health.table.classes == ()
    assert found["duplicates"].severity == "problem" and found["balance"].severity == "skipped"


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no images in it"):
        check(tmp_path)


def test_pseudo_classes_and_splits_of_different_pictures_raise_no_alarm(tiles):
    """What is drawn at random is not found to be wrong. All checks that look at labels or splits; the full count is slow."""
    _no_alarms(tiles[:120], 3)


@pytest.mark.slow
def test_200_random_draws_raise_no_alarm(tiles):
    """The promise: at most 1 % of 200 draws."""
    _no_alarms(tiles, 200)


def _no_alarms(tiles, draws):
    alarms: list[str] = []
    seen = None  # pixels do not change from draw to draw
    for seed in range(draws):
        draw = np.random.default_rng(seed)
        split = draw.choice(["train", "valid", "test"], len(tiles), p=[0.7, 0.1, 0.2])
        evidence = DatasetView(from_arrays(tiles, draw.integers(0, 2, len(tiles)), ["a", "b"], split=split), seed)
        seen = evidence.__dict__["pixel_stats"] = seen or evidence.pixel_stats
        found = [registry.find("checks", name)()(evidence) for name in MINE]
        alarms += [one.summary for one in found if one.severity in check_module.BAD]
    assert len(alarms) <= draws // 100, alarms
