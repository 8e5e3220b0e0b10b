"""No stored number depends on the clock: with clocks that lie, every family gives the same predictions, bit for bit."""

from __future__ import annotations

import ast
import functools
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tellapart as ta
from tellapart import io
from tellapart.inference.context import Settings

SOURCE = Path(ta.__file__).parent
NET = ("classifier.stages=[{widths: [64]}, {widths: [64]}]", "train.epochs=2", "train.batch=16")
MLP = ("train.epochs=2", "train.batch=16", "classifier.widths=[8]")
RECIPES: dict[str, tuple[str, ...]] = {
    "metadata": (), "knn": (), "svm-pca-rbf": ("features.pca=4",), "color-forest": (), "color-boosting": (),
    "mlp": MLP, "cnn-small": NET,
}  # fmt: skip


def _jump(jumps: Iterator[float], passed: float) -> float:
    return passed + next(jumps)


Lie = Callable[[float], float]
LIES: dict[str, Callable[[], Lie]] = {
    "ten times as fast": lambda: lambda passed: 10 * passed,
    "ten times as fast, backwards": lambda: lambda passed: -10 * passed,
    "jumping": lambda: functools.partial(_jump, itertools.cycle((0.0, 900.0, 7.0, -3000.0))),
}
_CLOCKS = ("time", "monotonic", "perf_counter", "process_time", "thread_time")


def lie(patch: pytest.MonkeyPatch, how: Lie, *, only_us: bool) -> None:
    """Bend every clock of `time`, and the time of day that tellapart stores.

    Args:
        patch: Undoes it.
        how: Seconds since the patch → what is said instead.
        only_us: Lie to tellapart alone: threads of the standard library wait for ever by a clock that goes backwards.
    """

    def bent(name: str) -> Callable[[], Any]:
        read = getattr(time, name)
        start = read()

        def told() -> Any:
            ours = str(sys._getframe(1).f_globals.get("__name__")).startswith("tellapart")
            return start + type(start)(how(read() - start)) if ours or not only_us else read()

        return told

    for name in _CLOCKS:
        patch.setattr(time, name, bent(name))
        patch.setattr(time, f"{name}_ns", bent(f"{name}_ns"))

    began = datetime.now(UTC)

    class Day(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return began + timedelta(seconds=how((datetime.now(tz) - began).total_seconds()))

    patch.setattr(io, "datetime", Day)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 PNG files of two classes, dark and bright noise."""
    top, generator = tmp_path_factory.mktemp("clock") / "data", np.random.default_rng(0)
    for name, level in (("real", 100), ("fake", 130)):
        (top / name).mkdir(parents=True)
        for i in range(30):
            pixels = (level + generator.normal(0, 50, (12, 12, 3))).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(top / name / f"{i}.png")
    return top


def results(folder: Path, settings: Settings) -> dict[str, Any]:
    """What a user keeps, by name: predictions of each family, of folds and of an ensemble; ranks; the table of a sweep."""
    found: dict[str, Any] = {}
    for name, overrides in RECIPES.items():
        run = ta.train(folder, name, overrides=overrides, settings=settings)
        found[name] = run.predictions("valid").proba
        found[f"{name}, train"] = run.predictions("train").proba
        found[f"{name}, id"] = run.id
        found[f"{name}, facts"] = {k: v for k, v in run.cost.items() if k not in ("fit_seconds", "images_per_second", "bytes")}
    pair = replace(settings, runs=settings.runs / "pair")
    board = ta.compare(folder, ["knn", "mlp"], overrides=MLP, minutes=1e5, settings=pair)
    found |= {f"rank {row.rank}": row.run_id for row in board.rows}
    found |= {f"{run.id}, test": run.predictions("test").proba for run in board.runs}
    found["combined"] = ta.combine(settings=pair, how="mean").predictions("valid").proba
    found["folds"] = ta.kfold(folder, "mlp", folds=2, overrides=MLP, settings=settings).predictions("oof").proba
    study = ta.sweep(folder, "svm-pca-rbf", grid={"features.pca": [2, 4], "classifier.C": [0.1, 1, 10]}, settings=settings)
    found["sweep"] = study.table.drop(columns="seconds").astype(str).to_numpy(str)
    found["trials"] = [line.partition('"seconds"')[0] for line in (study.folder / "trials.jsonl").read_text().splitlines()]
    return found


@pytest.fixture(scope="module")
def honest(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The results by clocks that are right."""
    return results(folder, Settings(runs=tmp_path_factory.mktemp("honest") / "runs", device="cpu"))


@pytest.mark.parametrize("how", LIES)
def test_clocks_that_lie_change_no_result(
    folder: Path, honest: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    lie(monkeypatch, LIES[how](), only_us=how != "ten times as fast")
    found = results(folder, Settings(runs=tmp_path / "runs", device="cpu"))
    assert found.keys() == honest.keys()
    for name, value in honest.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


# --- who reads a clock ------------------------------------------------------------------------------------------------

#: Modules that read a clock, and what for. Whoever joins them says here why no stored number can depend on it.
READERS = {
    "classifiers/feature_classifier.py": "seconds of a candidate, shown",
    "classifiers/knn.py": "seconds of a candidate, shown",
    "data/identity.py": "whether a file changed while it was read; if so its digest is computed again next time",
    "inference/context.py": "images a second, shown",
    "inference/image_sources/http.py": "limit of a download",
    "inference/resumable_output.py": "how often rows are flushed to the disk",
    "io.py": "the time of day that runs and the ledger are stamped with",
    "progress.py": "rates and remaining time, shown",
    "reports/health_report.py": "the date on a page",
    "reports/report.py": "the date on a page",
    "runs/loggers/mlflow.py": "times that MLflow wants",
    "server/batching.py": "whether a batch takes longer than a request may",
    "server/middleware.py": "latency, limits of requests",
    "server/service.py": "limit of loading",
    "training/loop.py": "seconds of an epoch; with train.minutes the limit, which the run names with its step",
    "workflows/_experiment.py": "seconds of a fit, shown",
    "workflows/calibrate.py": "seconds of a fit, shown",
    "workflows/check.py": "seconds of a check, shown",
    "workflows/combine.py": "seconds of a fit, shown",
    "workflows/compare.py": "with --minutes, which recipes are still begun; the others are named",
    "workflows/sweep.py": "seconds of candidates, shown",
}


def test_only_known_modules_read_a_clock() -> None:
    readers = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if _reads_a_clock(path)}
    assert readers == set(READERS)


def _reads_a_clock(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom | ast.Import)]
    assert not [node for node in imports if isinstance(node, ast.ImportFrom) and node.module == "time"], f"{path}: import time"
    clocks = {
        "time": {*_CLOCKS, *(f"{name}_ns" for name in _CLOCKS)},
        "datetime": {"now", "utcnow", "today"},
        "date": {"today"},
    }
    return any(
        isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr in clocks.get(node.value.id, ())
        for node in ast.walk(tree)
    )
