"""Loggers: fed from the plain files, nothing twice, and never a reason for a run to end."""

from __future__ import annotations

import builtins
import contextlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tellapart.errors import RecipeError, SystemLimitError
from tellapart.progress import SILENT, Silent
from tellapart.recipe.load import Recipe, parse
from tellapart.runs import loggers
from tellapart.runs.epoch_log import EpochLog
from tellapart.runs.loggers import feed as feed_module
from tellapart.runs.loggers import open_loggers
from tellapart.runs.loggers.base import RunLogger, Scores
from tellapart.runs.loggers.feed import LoggerFeed, curves
from tellapart.runs.store import Run

EMPTY: dict[str, Any] = {"classifier": {"family": "metadata"}}


def entry(epoch: int) -> dict[str, Any]:
    loss = 1 / epoch
    return {"epoch": epoch, "train_loss": loss, "valid_loss": 2 * loss, "lr": 0.1, "seconds": 1.5, "best": True}


def log_of(path: Path, epochs: int) -> EpochLog:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(entry(n)) + "\n" for n in range(1, epochs + 1)))
    return EpochLog(path)


class _Written(RunLogger):
    """Records every call; raises at the epoch `fails_at`."""

    fails_at = 0

    def __init__(self, runs: Path) -> None:
        self.told: list[Any] = []

    def start(self, run_id: str, recipe: Recipe) -> None:
        self.told.append(run_id)

    def epoch(self, entry: Mapping[str, Any]) -> None:
        if entry["epoch"] == self.fails_at:
            raise OSError("disk full")
        self.told.append(entry["epoch"])

    def finish(self, scores: Scores) -> None:
        self.told.append(sorted(scores))

    def close(self) -> None:
        self.told.append("closed")


class _Heard(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.shown: list[Any] = []

    def say(self, text: str, style: str = "") -> None:
        self.said.append(text)

    def curves(self, rows: Any) -> None:
        self.shown.append(rows)


@pytest.fixture
def feed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[LoggerFeed, _Written, _Heard]:
    logger, heard = _Written(tmp_path), _Heard()
    monkeypatch.setattr(feed_module, "open_loggers", lambda names, runs: dict.fromkeys(names, logger))
    return LoggerFeed(["written"], tmp_path, heard), logger, heard


# --- feeding ----------------------------------------------------------------------------------------------------------


def test_a_resumed_run_is_logged_from_its_first_epoch(feed: Any, tmp_path: Path) -> None:
    told, logger, heard = feed
    log = log_of(tmp_path / "log.jsonl", 2)
    with told:
        append = told.watch("a", parse(EMPTY), log)
        append(entry(3))
    assert logger.told == ["a", 1, 2, 3, "closed"]
    assert [e["epoch"] for e in EpochLog(log.path).entries] == [1, 2, 3]
    assert heard.shown == [curves([entry(n) for n in (1, 2, 3)]), {}]


def test_a_finished_run_is_logged_from_start_to_end(feed: Any, write_run: Callable[..., Run]) -> None:
    told, logger, _ = feed
    run = write_run("metadata")
    log_of(run.folder / "log.jsonl", 2)
    with told:
        assert told.replay(run) is run
    assert logger.told == [run.id, 1, 2, ["train", "valid"], "closed"]


def test_a_logger_that_fails_is_named_and_the_epochs_are_kept(feed: Any, tmp_path: Path) -> None:
    told, logger, heard = feed
    logger.fails_at = 2
    log = EpochLog(tmp_path / "log.jsonl")
    with told:
        append = told.watch("a", parse(EMPTY), log)
        for epoch in (1, 2, 3):
            append(entry(epoch))
    assert logger.told == ["a", 1] and log.last_epoch == 3
    (line,) = heard.said
    assert "written failed" in line and "disk full" in line


def test_ctrl_c_is_no_failure_of_a_logger(feed: Any, tmp_path: Path) -> None:
    told, logger, heard = feed
    with pytest.raises(KeyboardInterrupt), told:
        told.watch("a", parse(EMPTY), EpochLog(tmp_path / "log.jsonl"))
        raise KeyboardInterrupt
    assert logger.told == ["a", "closed"] and not heard.said


def test_curves_hold_what_was_measured() -> None:
    assert curves([{"epoch": 1, "train_loss": 0.5, "seconds": 1}]) == {"loss": {"train": [0.5]}}
    assert curves([]) == {}


# --- opening ----------------------------------------------------------------------------------------------------------


def test_an_unknown_logger_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'tensorboard'"):
        open_loggers(["tensorbord"], tmp_path)


@pytest.mark.parametrize(("name", "package"), [("tensorboard", "torch.utils.tensorboard"), ("mlflow", "alembic")])
def test_a_missing_extra_is_named_before_any_work(
    name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = builtins.__import__

    def without(module: str, *rest: Any, **named: Any) -> Any:
        if module.startswith(package):
            raise ModuleNotFoundError(f"No module named {module!r}")
        return plain(module, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SystemLimitError, match=f"{name} needs packages") as caught:
        LoggerFeed([name], tmp_path, SILENT)
    assert caught.value.hint == 'in the checkout: pip install ".[track]"'


def test_no_logger_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loggers, "_open", lambda *_: pytest.fail("opened"))
    assert LoggerFeed((), tmp_path, SILENT).loggers == {}


# --- the programs -----------------------------------------------------------------------------------------------------


def twice(name: str, runs: Path, run: Run) -> None:
    """A session that is cut off after two epochs; one that resumes and ends; one that finds the run finished."""
    log = log_of(runs / "log.jsonl", 0)
    for epochs in ((1, 2), (2, 3)):  # the second epoch is done again, as after a kill between log and state
        with LoggerFeed([name], runs, SILENT) as told:
            append = told.watch(run.id, parse(EMPTY), log)
            for epoch in epochs:
                append(entry(epoch))
            if 3 in epochs:
                told.finish(run)
    (run.folder / "log.jsonl").write_bytes(log.path.read_bytes())
    with LoggerFeed([name], runs, _Loud()) as told:
        told.replay(run)


class _Loud(Silent):
    def say(self, text: str, style: str = "") -> None:
        pytest.fail(text)


def test_tensorboard_has_every_epoch_once(tmp_path: Path, write_run: Callable[..., Run]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = write_run("metadata")
    twice("tensorboard", tmp_path, run)
    found = EventAccumulator(str(tmp_path / "tensorboard" / run.id)).Reload()
    points = found.Scalars("loss/train")
    assert [p.step for p in points] == [1, 2, 3]
    assert [p.value for p in points] == pytest.approx([1, 1 / 2, 1 / 3])
    (accuracy,) = found.Scalars("scores/valid/accuracy")
    assert accuracy.step == 3 and accuracy.value == pytest.approx(run.scores("valid")["accuracy"].value)
    assert "best" not in found.Tags()["scalars"] and "recipe/text_summary" in found.Tags()["tensors"]
    assert len(list((tmp_path / "tensorboard" / run.id).iterdir())) == 1


@pytest.mark.slow
def test_mlflow_has_every_epoch_once(tmp_path: Path, write_run: Callable[..., Run]) -> None:
    run = write_run("metadata")
    twice("mlflow", tmp_path / "my runs", run)
    with contextlib.closing(sqlite3.connect(tmp_path / "my runs" / "mlflow.db")) as base:
        points = base.execute("select step, value from metrics where key = 'loss/train' order by step").fetchall()
        scores = base.execute("select step, value from metrics where key = 'scores/valid/accuracy'").fetchall()
        runs = base.execute("select name, status from runs").fetchall()
        params = dict(base.execute("select key, value from params").fetchall())
    assert [step for step, _ in points] == [1, 2, 3]
    assert [value for _, value in points] == pytest.approx([1, 1 / 2, 1 / 3])
    assert scores == [(3, run.scores("valid")["accuracy"].value)]
    assert runs == [(run.id, "FINISHED")]
    assert params["classifier.family"] == "metadata" and params["seed"] == "0"
    assert not (tmp_path / "mlruns").exists() and not Path("mlruns").exists()
