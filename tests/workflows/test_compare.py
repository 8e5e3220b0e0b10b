"""`compare`, end to end on a tiny folder of real image files: what is opened, reused, bounded and refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score

import tellapart as ta
from tellapart.data.cache import CorruptImages
from tellapart.errors import Interrupted, RecipeError
from tellapart.inference.context import Settings
from tellapart.recipe.groups import GROUPS
from tellapart.runs import ledger
from tellapart.types import Predictions

CNN = ("classifier.stages=[{widths: [4]}]", "train.epochs=3", "train.images=null", "inputs.size=12")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """60 PNG files of two classes, dark and bright noise, in a folder a class."""
    generator = np.random.default_rng(0)
    for name, level in (("real", 90), ("fake", 150)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(30):
            pixels = (level + generator.normal(0, 25, (12, 12, 3))).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i}.png")
    return tmp_path / "data"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Runs beside the data."""
    return Settings(runs=tmp_path / "runs", device="cpu")


def test_compare_opens_it_once_and_writes_that_down(folder: Path, settings: Settings) -> None:
    board = ta.compare(folder, ["knn", "spectrum-linear"], settings=settings)
    assert {row.recipe for row in board.rows} == {"metadata", "knn", "spectrum-linear"}
    fingerprint = board.runs[0].data["fingerprint"]
    assert ledger.times_opened(settings.runs, fingerprint) == 1
    assert len(ledger.openings(settings.runs, fingerprint)) == 3
    again = ta.compare(folder, ["knn", "spectrum-linear"], settings=settings)
    assert ledger.times_opened(settings.runs, fingerprint) == 1, "finished runs are used again, nothing is opened"
    assert again.to_dict() == board.to_dict()


def test_scores_equal_scikit_learns(folder: Path, settings: Settings) -> None:
    board = ta.compare(folder, ["knn"], settings=settings)
    for run in board.runs:
        stored = Predictions.from_parquet(run.evaluations[-1].folder / "predictions" / "test.parquet")
        answers, scores = stored.proba.argmax(1), run.scores("test")
        fake = run.classes.index("fake")
        assert scores["accuracy"].value == pytest.approx(accuracy_score(stored.labels, answers))
        assert scores["macro-f1"].value == pytest.approx(f1_score(stored.labels, answers, average="macro", zero_division=0))
        assert scores["auroc"].value == pytest.approx(roc_auc_score(stored.labels == fake, stored.proba[:, fake]))
        assert scores["log-loss"].value == pytest.approx(log_loss(stored.labels, stored.proba, labels=[0, 1]), rel=1e-4)
        assert scores["accuracy"].n == 12


def test_the_null_is_always_there(folder: Path, settings: Settings) -> None:
    board = ta.compare(folder, ["knn"], settings=settings)
    assert "metadata" in [row.family for row in board.rows]


def test_ctrl_c_in_compare_opens_no_test_part(folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("tellapart.classifiers.knn.Knn._fit_vectors", press)
    with pytest.raises(Interrupted):
        ta.compare(folder, ["knn", "spectrum-linear"], settings=settings)
    assert not (settings.runs / "ledger.jsonl").exists()
    assert [run.recipe_name for run in ta.list_runs(settings.runs)] == ["metadata"]


def test_a_recipe_that_fails_is_named_and_the_others_go_on(folder: Path, settings: Settings) -> None:
    too_deep = "classifier.stages=[" + "{widths: [4]}," * 5 + "]"
    board = ta.compare(folder, ["knn", "cnn-small"], overrides=[too_deep], settings=settings)
    assert {row.recipe for row in board.rows} == {"metadata", "knn"}
    assert any("cnn-small could not be trained" in note and "too small" in note for note in board.notes)


def test_corrupt_images_stop_the_work_before_training(folder: Path, settings: Settings) -> None:
    (folder / "real" / "3.png").write_bytes((folder / "real" / "3.png").read_bytes()[:60])
    (folder / "fake" / "5.png").write_bytes(b"no picture")
    with pytest.raises(CorruptImages) as caught:
        ta.compare(folder, ["knn"], settings=settings)
    assert "real/3.png" in str(caught.value) and "fake/5.png" in str(caught.value)
    assert ta.list_runs(settings.runs) == []
    board = ta.compare(folder, ["knn"], settings=replace(settings, skip_bad=True))
    assert {p["where"] for p in board.runs[0].data["problems"]} == {"real/3.png", "fake/5.png"}
    assert sum(sum(c.values()) for c in board.runs[0].data["counts"].values()) == 58


def test_a_planted_leak_across_given_parts_is_said_out_loud(folder: Path, settings: Settings, tmp_path: Path) -> None:
    for part, rows in (("train", range(18)), ("valid", range(18, 22)), ("test", range(22, 30))):
        for name in ("real", "fake"):
            (tmp_path / "given" / part / name).mkdir(parents=True)
            for i in rows:
                (folder / name / f"{i}.png").rename(tmp_path / "given" / part / name / f"{i}.png")
    leaked = (tmp_path / "given" / "train" / "real" / "0.png").read_bytes()
    (tmp_path / "given" / "test" / "real" / "leak.png").write_bytes(leaked)
    board = ta.compare(tmp_path / "given", ["knn"], settings=settings)
    assert any(note.startswith("LEAK: 1 validation or test image") for note in board.notes)


def test_minutes_bound_the_networks_and_skip_what_comes_too_late(folder: Path, settings: Settings) -> None:
    board = ta.compare(folder, ["cnn-small"], overrides=CNN, minutes=1e-6, settings=settings)
    assert [row.recipe for row in board.rows] == ["metadata"]
    assert any("cnn-small was not started" in note for note in board.notes)


def test_a_group_stands_for_its_recipes(folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GROUPS, "pair", ("knn", "spectrum-linear"))
    board = ta.compare(folder, ["pair", "knn"], settings=settings)
    assert {row.recipe for row in board.rows} == {"metadata", "knn", "spectrum-linear"}


def test_an_override_that_no_recipe_has_a_use_for_is_an_error(folder: Path, settings: Settings) -> None:
    with pytest.raises(RecipeError, match="none of metadata, knn has such a setting"):
        ta.compare(folder, ["knn"], overrides=["train.epochs=2"], settings=settings)


def test_unknown_ranking_is_an_error(folder: Path, settings: Settings) -> None:
    with pytest.raises(RecipeError, match="rank_by"):
        ta.compare(folder, ["knn"], rank_by="beauty", settings=settings)


def test_two_recipes_of_one_name_are_refused(folder: Path, settings: Settings, tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "mine.yaml", tmp_path / "b" / "mine.yaml"]
    for path in paths:
        path.parent.mkdir()
        path.write_text("classifier: {family: knn}\n")
    with pytest.raises(RecipeError, match="the same name"):
        ta.compare(folder, paths, settings=settings)
