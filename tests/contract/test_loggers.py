"""Every logger keeps every promise. What it wrote is read back with its own program, where `READ` says how."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tellapart import registry
from tellapart.plugins import check_logger, promises


def _tensorboard(runs: Path, run: str) -> Iterable[tuple[str, int]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(runs / "tensorboard" / run)).Reload()
    return [(name, point.step) for name in found.Tags()["scalars"] for point in found.Scalars(name)]


def _mlflow(runs: Path, run: str) -> Iterable[tuple[str, int]]:
    asked = "select key, step from metrics join runs using (run_uuid) where runs.name = ?"
    with contextlib.closing(sqlite3.connect(runs / "mlflow.db")) as base:
        return base.execute(asked, (run,)).fetchall()


READ: dict[str, Callable[[Path, str], Iterable[tuple[str, int]]]] = {"tensorboard": _tensorboard, "mlflow": _mlflow}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all promises: making a database takes seconds, and each promise has runs of its own."""
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize("promise", [p.name for p in promises("logger")])
@pytest.mark.parametrize("name", registry.names("loggers"))
def test_logger(name: str, promise: str, runs: Path) -> None:
    check_logger(registry.find("loggers", name), runs=runs, read=READ.get(name), only=promise)
