"""What a finished run must hold; hostile folders of whole runs are in tests/hostile/test_run_folders.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tellapart.errors import RunError
from tellapart.runs._fields import Fields
from tellapart.runs.store import Run
from tellapart.runs.validation import MOST_CLASSES, MOST_NAME, check_classes, check_run, check_score

PATH = Path("scores.json")
SCORE = {"value": 0.5, "n": 10, "low": 0.2, "high": 0.8, "higher_is_better": True, "unit": ""}


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "from 1 to 32,768 classes, found 0"),
        ([str(n) for n in range(MOST_CLASSES + 1)], "from 1 to 32,768 classes, found 32769"),
        (["a", "b", "a"], "each class once, found 'a'"),
        (["a", ""], "names of 1 to 1,000 characters, found ''"),
        (["a", "x" * (MOST_NAME + 1)], "names of 1 to 1,000 characters"),
        (["a", 7], "a list of texts"),
        ("ab", "a list of texts"),
    ],
)
def test_class_names(classes: Any, message: str) -> None:
    assert check_classes(Fields(PATH, {"classes": ["b", "a"]}), "classes") == ["b", "a"]
    with pytest.raises(RunError) as caught:
        check_classes(Fields(PATH, {"classes": classes}), "classes")
    assert caught.value.message.startswith(f"{PATH}: classes: expected {message}")


@pytest.mark.parametrize(
    "change",
    [{"value": 1.5}, {"low": -0.1}, {"n": -1}, {"n": 2.5}, {"higher_is_better": 1}, {"unit": None}, {"value": "0.5"}],
)
def test_a_score_lies_in_the_range_of_its_metric(change: dict[str, Any]) -> None:
    check_score(Fields(PATH, SCORE), "accuracy")
    check_score(Fields(PATH, SCORE | {"value": None, "low": None, "high": None}), "accuracy")
    check_score(Fields(PATH, SCORE | {"value": -0.5, "low": -1}), "matthews")
    check_score(Fields(PATH, SCORE | {"value": 7.5, "high": 9, "unit": "nats"}), "log-loss")
    with pytest.raises(RunError, match=f"{PATH}: "):
        check_score(Fields(PATH, SCORE | change), "accuracy")


def test_a_missing_field_of_a_score_is_named() -> None:
    for name in SCORE:
        with pytest.raises(RunError, match=f"{PATH}: {name}: expected a value, found no such field"):
            check_score(Fields(PATH, {key: value for key, value in SCORE.items() if key != name}), "accuracy")


CHANGES: dict[str, tuple[str, Callable[[dict[str, Any]], object], str]] = {
    "positive": ("data.json", lambda c: c.update(positive="maybe"), "positive: expected one of the classes"),
    "count": ("data.json", lambda c: c["counts"]["train"].update(real=-1), "counts.train.real: expected a whole number"),
    "split": ("data.json", lambda c: c["counts"].update(extra={}), "counts: expected splits among train, valid, test"),
    "problem": ("data.json", lambda c: c.update(problems=[{"kind": "a"}]), r"problems\[0\].where: expected a value"),
    "cost": ("scores.json", lambda c: c["cost"].update(parameters="many"), "cost.parameters: expected a whole number"),
    "environment": ("environment.json", lambda c: c.pop("device"), "device: expected a value, found no such field"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_damaged_fact_is_named_with_its_file(write_run, name: str) -> None:
    run: Run = write_run("svm")
    check_run(run.folder, deep=False)
    file, change, message = CHANGES[name]
    edit(run.folder / file, change)
    with pytest.raises(RunError, match=f"{file}: {message}") as caught:
        check_run(run.folder, deep=False)
    assert caught.value.hint == "copy the run again from its source, or move its folder elsewhere"


def test_an_older_version_is_named(write_run) -> None:
    run = write_run("svm")
    edit(run.folder / "environment.json", lambda content: content.update(packages={"tellapart": "0.1.0"}))
    with pytest.raises(RunError, match="was written by tellapart 0.1.0, whose runs this version cannot read"):
        check_run(run.folder, deep=False)
