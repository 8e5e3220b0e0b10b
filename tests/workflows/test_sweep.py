"""The verb `sweep`, end to end on tiny arrays: what is shared, kept, resumed, refitted and left closed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tellapart as ta
from tellapart.errors import DataError, Interrupted, RecipeError
from tellapart.inference.context import Settings
from tellapart.reports.sweep_figures import write_figures
from tellapart.search.study import Study, TrialFile
from tellapart.workflows.sweep import _Work

ADD = TrialFile.add
GRID = {"features.pca": [3, 9], "classifier.C": [0.01, 1, 100]}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded pixels beside the test."""
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def table() -> ta.ImageTable:
    """200 noisy images of two classes that are hard to tell apart."""
    generator = np.random.default_rng(0)
    images = [generator.normal(level, 60, (100, 8, 8)).clip(0, 255) for level in (120, 128)]
    return ta.from_arrays(np.concatenate(images).astype(np.uint8), ["a"] * 100 + ["b"] * 100)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Runs beside the data."""
    return Settings(runs=tmp_path / "runs", device="cpu")


@pytest.fixture
def go(table: ta.ImageTable, settings: Settings) -> Callable[..., Study]:
    """`go(grid=…)`: a sweep of the SVM."""

    def run(recipe: str = "svm-pca-rbf", **asked: Any) -> Study:
        return ta.sweep(table, recipe, settings=settings, **asked)

    return run


def test_the_shared_table_is_that_of_separate_runs(go: Any, table: ta.ImageTable, settings: Settings) -> None:
    study = go(grid=GRID)
    assert len(study.table) == 6 and study.settings == ("features.pca", "classifier.C")
    trials = {json.dumps(t.values): t for t in TrialFile(study.folder / "trials.jsonl").found.values()}
    for row in study.table.to_dict("records"):
        varied = {name: row[name] for name in study.settings}
        run = ta.train(table, "svm-pca-rbf", overrides=[f"{k}={v}" for k, v in varied.items()], settings=settings)
        for part in ("train", "valid"):
            assert row[part] == run.scores(part)["accuracy"].value
        found = run.predictions("valid")
        assert found is not None
        assert trials[json.dumps(varied)].right.tolist() == (found.predicted == found.labels).tolist()
        assert row["log_loss"] == pytest.approx(run.scores("valid")["log-loss"].value, abs=1e-5)
        assert (row["valid_low"], row["valid_n"]) == (run.scores("valid")["accuracy"].low, 20)
        assert row["valid_high"] == run.scores("valid")["accuracy"].high and row["train_n"] == 140
        assert row["gap"] == pytest.approx(row["train"] - row["valid"])
    by_count = study.table.groupby("features.pca")["explained_variance"].first()
    assert 0 < by_count[3] < by_count[9] < 1
    assert study.table["valid"].is_monotonic_decreasing and study.table["valid"].nunique() > 1


def test_groups_widen_the_intervals(go: Any, table: ta.ImageTable, settings: Settings) -> None:
    groups = [f"{place // 5}" for place in range(len(table))]
    grouped = replace(table, frame=table.frame.assign(group=groups))
    study = ta.sweep(grouped, "svm-pca-rbf", grid={"classifier.C": [1, 10]}, settings=settings)
    score = study.run.scores("valid")["accuracy"]
    assert study.table[["valid_low", "valid_high"]].iloc[0].tolist() == [score.low, score.high]
    assert study.folder != go(grid={"classifier.C": [1, 10]}).folder


def test_the_best_is_a_run_and_the_test_part_stays_closed(go: Any, settings: Settings) -> None:
    study = go(grid=GRID)
    assert [run.id for run in ta.list_runs(settings.runs)] == [study.run.id], "only the best became a run"
    assert study.run.recipe["features"]["pca"] == study.best["features.pca"]
    assert study.run.recipe["classifier"]["C"] == study.best["classifier.C"]
    assert study.run.scores("valid")["accuracy"].value == study.table["valid"].iloc[0]
    assert study.run.scores("test") == {} and not (settings.runs / "ledger.jsonl").exists()
    assert study.within == (study.table["valid"][1:] >= study.table["valid_low"][0]).sum()


def test_what_is_written_can_be_read(go: Any) -> None:
    study = go(grid=GRID)
    read = pd.read_csv(study.folder / "table.csv")
    pd.testing.assert_frame_equal(read.drop(columns="run"), study.table.drop(columns="run"))
    content = json.loads((study.folder / "table.json").read_text())
    assert content["trials"] == study.to_dict()["trials"] and content["requested"]["strategy"] == "grid"
    names = {path.name for path in write_figures(study)}
    assert names == {"heatmap.svg", "heatmap.png", "curves.svg", "curves.png"}
    drawing = (study.folder / "heatmap.svg").read_text()
    assert drawing.count('id="best"') == 1 and f"{study.table['valid'].iloc[0]:.3f}" in drawing
    assert drawing.count('id="alike"') == study.alike
    with Image.open(study.folder / "curves.png") as picture:
        assert picture.width > 1000


@pytest.mark.parametrize("finished", [1, 4])
def test_a_sweep_that_was_cut_off_goes_on(go: Any, monkeypatch: pytest.MonkeyPatch, finished: int) -> None:
    kept = _watch(monkeypatch, stop_after=finished)
    with pytest.raises(RuntimeError, match="killed"):
        go(grid=GRID)
    assert len(kept) == finished
    kept = _watch(monkeypatch)
    study = go(grid=GRID)
    assert len(kept) == 6 - finished and len(study.table) == 6
    kept = _watch(monkeypatch)
    pd.testing.assert_frame_equal(go(grid=GRID).table, study.table)
    assert not kept, "nothing is left to do"


def test_a_torn_line_costs_one_trial(go: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    study = go(grid=GRID)
    path = study.folder / "trials.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    kept = _watch(monkeypatch)
    again = go(grid=GRID)
    assert len(kept) == 1 and len(path.read_text().splitlines()) == 6
    ranks = [s.table.drop(columns="seconds").sort_values([*GRID]).reset_index(drop=True) for s in (study, again)]
    pd.testing.assert_frame_equal(*ranks)


def test_ctrl_c_keeps_what_is_finished(go: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _watch(monkeypatch, stop_after=2, by=KeyboardInterrupt)
    with pytest.raises(Interrupted, match="2 finished trials are kept"):
        go(grid=GRID)


def test_fresh_begins_anew(go: Any, table: ta.ImageTable, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    first = go(grid=GRID)
    kept = _watch(monkeypatch)
    study = ta.sweep(table, "svm-pca-rbf", grid=GRID, settings=replace(settings, overwrite=True))
    assert len(kept) == 6 and study.folder == first.folder and study.run.id.startswith(first.run.id)


def test_another_grid_another_split_another_folder(go: Any, table: ta.ImageTable, settings: Settings) -> None:
    small = {"classifier.C": [1, 10]}
    first = go(grid=small)
    others = [
        go(grid={"classifier.C": [1, 10, 100]}),
        go(grid=small, overrides=["features.pca=5"]),
        ta.sweep(table, "svm-pca-rbf", grid=small, settings=replace(settings, seed=1)),
    ]
    assert len({study.folder for study in (first, *others)}) == 4


def test_other_families_become_runs_that_are_used_again(go: Any, table: ta.ImageTable, settings: Settings) -> None:
    asked = {"overrides": ["train.epochs=2", "train.images=null", "train.batch=32"]}
    grid = {"train.optimizer.lr": [0.1, 0.001], "train.label_smoothing": [0, 0.2]}
    same = ["train.optimizer.lr=0.1", "train.label_smoothing=0"]
    before = ta.train(table, "mlp", overrides=[*asked["overrides"], *same], settings=settings)
    study = go("mlp", grid=grid, **asked)
    assert {run.id for run in ta.list_runs(settings.runs)} == set(study.table["run"]) and len(study.table) == 4
    assert before.id in set(study.table["run"]), "a run that was there is a trial"
    assert study.run.id == study.table["run"].iloc[0]
    for row in study.table.to_dict("records"):
        run = ta.open_run(row["run"], settings.runs)
        assert row["valid"] == run.scores("valid")["accuracy"].value and row["seconds"] == run.cost["fit_seconds"]
        assert run.recipe["train"]["optimizer"]["lr"] == row["train.optimizer.lr"]


def test_families_and_sizes_can_be_varied(go: Any) -> None:
    study = go("knn", grid={"inputs.size": [4, 8], "classifier.k": [1, 5]})
    assert sorted(zip(study.table["inputs.size"], study.table["classifier.k"], strict=True)) == [(4, 1), (4, 5), (8, 1), (8, 5)]
    assert study.run.recipe["inputs"]["size"] == study.best["inputs.size"]
    assert "explained_variance" not in study.table or study.table["explained_variance"].isna().all()


def test_more_draws_go_on_with_fewer(go: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"ranges": {"classifier.C": "1e-3..1e3:log", "features.pca": "2..30:int"}}
    few = go(random=4, **asked)
    kept = _watch(monkeypatch)
    many = go(random=7, **asked)
    assert many.folder == few.folder and len(kept) == 3 and len(many.table) == 7
    assert many.table["features.pca"].between(2, 30).all() and many.table["features.pca"].dtype.kind == "i"
    assert {path.stem for path in write_figures(many)} == {"heatmap", "curves"}


def test_a_used_up_space_is_said(go: Any) -> None:
    study = go(random=9, grid={"classifier.C": [1, 10]})
    assert len(study.table) == 2 and "9 draws were requested; only 2" in " ".join(study.notes)


@pytest.mark.parametrize("recipe", ["svm-pca-rbf", "mlp"])
def test_optuna_goes_on(go: Any, monkeypatch: pytest.MonkeyPatch, recipe: str) -> None:
    pytest.importorskip("optuna")
    overrides = ["train.epochs=1", "train.images=null"] if recipe == "mlp" else []
    name = "train.optimizer.lr" if recipe == "mlp" else "classifier.C"
    asked = {"ranges": {name: "1e-3..1:log"}, "overrides": overrides}
    _watch(monkeypatch, stop_after=2)
    with pytest.raises(RuntimeError, match="killed"):
        go(recipe, optuna=4, **asked)
    kept = _watch(monkeypatch)
    study = go(recipe, optuna=4, **asked)
    assert len(kept) == 2 and len(study.table) == 4 and study.table[name].between(1e-3, 1).all()
    assert len(go(recipe, optuna=6, **asked).table) == 6


def test_a_candidate_that_fails_is_noted(go: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = {"train.optimizer.lr": [0.1, 0.01]}
    real = _Work._as_run

    def fails(self: _Work, one: Any) -> Any:
        if one.values["train.optimizer.lr"] == 0.1:
            raise DataError("no luck")
        return real(self, one)

    monkeypatch.setattr(_Work, "_as_run", fails)
    overrides = ["train.epochs=1", "train.images=null"]
    study = go("mlp", grid=grid, overrides=overrides)
    assert len(study.table) == 1 and "train.optimizer.lr 0.1 could not be fitted: no luck" in study.notes
    with pytest.raises(DataError, match="no luck"):
        go("mlp", grid={"train.optimizer.lr": [0.1]}, overrides=overrides)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "no setting to vary"),
        ({"grid": {"features.pcs": [1, 2]}}, "did you mean 'pca'"),
        ({"ranges": {"features.pcs": "1..2"}, "optuna": 3}, "did you mean 'pca'"),
        ({"ranges": {"classifier.C": "-1..2"}, "optuna": 3}, "C"),
        ({"grid": {"features.pca": [3]}, "overrides": ["features.pca=4"]}, "both set for all candidates and varied"),
        ({"grid": {"train.epochs": [3]}}, "does not use the section 'train'"),
    ],
)
def test_bad_questions_are_refused_before_the_data_are_read(settings: Settings, asked: Any, message: str) -> None:
    if "optuna" in asked:
        pytest.importorskip("optuna")
    with pytest.raises(RecipeError, match=message):
        ta.sweep("no such folder", "svm-pca-rbf", settings=settings, **asked)


def _watch(monkeypatch: pytest.MonkeyPatch, stop_after: int = 99, by: type[BaseException] = RuntimeError) -> list[str]:
    """The keys of trials kept from now on; the process "is killed" before one more than `stop_after` is kept."""
    kept: list[str] = []

    def watched(self: TrialFile, trial: Any) -> None:
        if len(kept) == stop_after:
            raise by("killed")
        kept.append(trial.key)
        ADD(self, trial)

    monkeypatch.setattr(TrialFile, "add", watched)
    return kept
