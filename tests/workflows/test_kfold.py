"""`kfold` end to end on a tiny folder of real image files: who answered what, how it is scored, resumed, moved and refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, log_loss

import tellapart as ta
from tellapart import registry
from tellapart.classifiers.base import Context
from tellapart.data.folds import HELD_OUT, kfold_tables
from tellapart.data.listing import from_paths
from tellapart.data.prepare import prepare
from tellapart.errors import Interrupted, RecipeError, RunError, SplitError
from tellapart.inference.context import Settings
from tellapart.recipe.load import load as load_recipe
from tellapart.recipe.load import parse
from tellapart.runs import ledger
from tellapart.runs.store import Run
from tellapart.training.state import State
from tellapart.types import ImageTable
from tellapart.workflows.kfold import kfold, kfold_results

CNN = ("classifier.stages=[{widths: [4]}]", "train.epochs=3", "train.images=null", "inputs.size=12")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 PNG files of two classes that overlap, in a folder a class."""
    top, generator = tmp_path_factory.mktemp("kfold"), np.random.default_rng(0)
    for name, level in (("real", 110), ("fake", 120)):
        (top / name).mkdir()
        for i in range(40):
            pixels = (level + generator.normal(0, 25, (12, 12, 3)) + generator.normal(0, 8)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(top / name / f"{i:02}.png")
    return top


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Runs in an empty folder."""
    return Settings(runs=tmp_path / "runs", device="cpu")


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Four folds of neighbors."""
    return kfold(folder, "knn", folds=4, settings=Settings(runs=tmp_path_factory.mktemp("runs"), device="cpu"))


def fold_runs(run: Run) -> list[Run]:
    return [Run(run.folder / one["run"]) for one in kfold_results(run)["each"]]


# --- who answers what -------------------------------------------------------------------------------------------------


def test_every_image_is_answered_once_by_a_model_that_never_saw_it(made: Run) -> None:
    table, whole = made.table(), made.predictions("oof")
    ours = table.frame.loc[table.frame["split"] != "test", "id"]
    assert list(whole.ids) == list(ours) and len(whole) == 64
    answers = dict(zip(whole.ids, whole.proba, strict=True))
    seen: list[str] = []
    for run in fold_runs(made):
        frame, held = pd.read_parquet(run.folder / "split.parquet"), run.predictions(HELD_OUT)
        assert set(frame["id"]) == set(ours), "no test row lies in a fold run's folder"
        assert set(held.ids) == set(frame.loc[frame["split"] == HELD_OUT, "id"])
        assert not set(held.ids) & set(frame.loc[frame["split"] != HELD_OUT, "id"])
        assert set(frame["split"]) == {"train", "valid", HELD_OUT}
        for name, proba in zip(held.ids, held.proba, strict=True):
            np.testing.assert_array_equal(answers[name], proba)
        seen += list(held.ids)
    assert sorted(seen) == sorted(ours)


def test_a_fold_run_is_the_recipe_fitted_on_its_training_images(made: Run, folder: Path) -> None:
    """A second fit, without experiment and k-fold, on tables dealt here, gives the same answers."""
    prepared = prepare(ta.scan(folder))
    dealt = kfold_tables(prepared, 4, share=0.1)
    for run, fold in zip(fold_runs(made), dealt, strict=True):
        recipe = parse(run.recipe, "again")
        classifier = registry.find("classifiers", "knn")(recipe)
        parts = {part: fold.table.where(split=part) for part in ("train", "valid", HELD_OUT)}
        classifier.fit(parts["train"], parts["valid"], Context())
        np.testing.assert_array_equal(classifier.predict(parts[HELD_OUT], Context()).proba, run.predictions(HELD_OUT).proba)
        assert len(parts["valid"]) / (len(parts["train"]) + len(parts["valid"])) == pytest.approx(0.1, abs=0.05)


def test_train_and_valid_are_parts_of_the_out_of_fold_answers(made: Run) -> None:
    whole, table = made.predictions("oof"), made.table()
    place = {name: row for row, name in enumerate(whole.ids)}
    for part in ("train", "valid"):
        stored = made.predictions(part)
        assert list(stored.ids) == list(table.where(split=part).ids)
        np.testing.assert_array_equal(stored.proba, whole.proba[[place[name] for name in stored.ids]])
        assert made.scores(part)["accuracy"].value == accuracy_score(stored.labels, stored.predicted)
    assert any("out of fold" in note and "mean of all 4 models" in note for note in made.cost["notes"])


def test_the_test_part_stays_closed(folder: Path, settings: Settings, tmp_path: Path) -> None:
    """Turned labels of the test part change no answer, and nothing is entered in a ledger."""
    table = ta.split(ta.scan(folder))
    test = (table.frame["split"] == "test").to_numpy()
    turned = replace(table, frame=table.frame.assign(label=np.where(test, 1 - table.labels, table.labels)))
    one = kfold(table, "knn", folds=3, settings=settings)
    two = kfold(turned, "knn", folds=3, settings=replace(settings, runs=tmp_path / "other"))
    assert one.id != two.id
    np.testing.assert_array_equal(one.predictions("oof").proba, two.predictions("oof").proba)
    assert one.predictions("test") is None and not list(tmp_path.rglob("ledger.jsonl"))


def test_groups_and_identical_files_stay_together(folder: Path) -> None:
    table = ta.scan(folder)
    table = replace(table, frame=table.frame.assign(group=[f"g{i // 4}" for i in range(len(table))]))
    for fold in kfold_tables(prepare(table), 4, share=0.1):
        assert (fold.table.frame.groupby("group")["split"].nunique() == 1).all()


# --- how it is scored -------------------------------------------------------------------------------------------------


def test_scores_of_folds_and_pooled_equal_scikit_learns(made: Run) -> None:
    found = kfold_results(made)
    stored = [(one["scores"], run.predictions(HELD_OUT)) for one, run in zip(found["each"], fold_runs(made), strict=True)]
    for scores, p in [*stored, (found["pooled"], made.predictions("oof"))]:
        assert scores["accuracy"]["value"] == pytest.approx(accuracy_score(p.labels, p.predicted))
        assert scores["macro-f1"]["value"] == pytest.approx(f1_score(p.labels, p.predicted, average="macro"))
        assert scores["log-loss"]["value"] == pytest.approx(log_loss(p.labels, p.proba, labels=[0, 1]), rel=1e-4)
        assert scores["accuracy"]["n"] == len(p)
    assert made.scores("oof")["accuracy"].to_dict() == found["pooled"]["accuracy"]


def test_mean_sd_and_interval_over_folds_equal_scipys(made: Run) -> None:
    """Nadeau & Bengio: the variance of the mean is (1/k + n_held/n_learnt) s²; scipy does the rest."""
    found = kfold_results(made)
    for metric in ("accuracy", "macro-f1", "log-loss"):
        values = [one["scores"][metric]["value"] for one in found["each"]]
        learnt = [len(run.table().where(split="train")) for run in fold_runs(made)]
        assert [one["n_train"] for one in found["each"]] == learnt
        scale = np.sqrt((1 / 4 + 64 / sum(learnt)) * np.var(values, ddof=1))
        low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=scale)
        over = found["over_folds"][metric]
        assert [over[k] for k in ("mean", "sd", "folds")] == pytest.approx([np.mean(values), np.std(values, ddof=1), 4])
        assert (over["low"], over["high"]) == pytest.approx((max(low, 0), min(high, 1) if metric != "log-loss" else high))


def test_repeats_and_seeds_are_averaged_and_their_spread_is_told(folder: Path, settings: Settings) -> None:
    run = kfold(folder, "pixels-forest", folds=2, repeats=2, seeds=3, overrides=["classifier.trees=5"], settings=settings)
    found, runs = kfold_results(run), fold_runs(run)
    assert len(runs) == 12 and len({r.id for r in runs}) == 12
    assert [(o["repeat"], o["seed"], o["fold"]) for o in found["each"][:3]] == [(1, 0, 1), (1, 0, 2), (1, 1, 1)]
    first = [set(r.predictions(HELD_OUT).ids) for r in runs]
    assert first[0] == first[2] == first[4] != first[6], "seeds share the folds, repeats do not"
    frames = [pd.DataFrame(r.predictions(HELD_OUT).proba, index=r.predictions(HELD_OUT).ids) for r in runs]
    mean = pd.concat(frames).groupby(level=0).mean().loc[run.predictions("oof").ids]
    np.testing.assert_allclose(run.predictions("oof").proba, mean, atol=1e-6)
    values = np.array([r.scores(HELD_OUT)["accuracy"].value for r in runs]).reshape(2, 3, 2)
    seeds, repeats, over = (found[k]["accuracy"] for k in ("over_seeds", "over_repeats", "over_folds"))
    assert seeds["means"] == pytest.approx(values.mean(axis=(0, 2)))
    assert seeds["sd"] == pytest.approx(values.mean(axis=(0, 2)).std(ddof=1))
    assert seeds["within_folds"] == pytest.approx(np.sqrt(values.var(axis=1, ddof=1).mean()))
    assert repeats["means"] == pytest.approx(values.mean(axis=(1, 2)))
    assert over["folds"] == 4 and over["sd"] == pytest.approx(values.mean(axis=1).std(ddof=1))


# --- what it is afterwards --------------------------------------------------------------------------------------------


def test_it_answers_images_as_the_mean_of_its_fold_models_wherever_it_is_moved(
    folder: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = kfold(folder, "knn", folds=3, settings=settings)
    assert run.family == "ensemble" and run.recipe_name == "3-fold-knn"
    images = from_paths([str(path) for path in sorted((folder / "real").glob("*.png"))[:4]])
    wanted = np.mean([ta.predict(one, images, settings=settings).proba for one in fold_runs(run)], axis=0)
    np.testing.assert_allclose(ta.predict(run, images, settings=settings).proba, wanted, atol=1e-6)
    moved = settings.runs.rename(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    again = ta.predict(moved / run.id, images, settings=Settings(device="cpu"))
    np.testing.assert_allclose(again.proba, wanted, atol=1e-6)


def test_it_stands_in_the_leaderboard_and_its_test_part_can_be_opened(folder: Path, settings: Settings) -> None:
    run = kfold(folder, "knn", folds=3, settings=settings)
    plain = ta.train(folder, "knn", settings=settings)
    assert [r.id for r in ta.list_runs(settings.runs)] == [run.id, plain.id], "fold runs are not among the runs"
    assert {row.run_id for row in ta.leaderboard(ta.list_runs(settings.runs)).rows} == {run.id, plain.id}
    assert "out of fold" in (run.folder / "card.md").read_text("utf-8")
    ta.evaluate(run, open_test=True, settings=settings)
    table = run.table().where(split="test")
    wanted = np.mean([ta.predict(one, table, settings=settings).proba for one in fold_runs(run)], axis=0)
    np.testing.assert_allclose(run.predictions("test").proba, wanted, atol=1e-6)
    assert ledger.times_opened(settings.runs, run.data["fingerprint"]) == 1


def test_it_may_be_a_member_of_a_combination(folder: Path, settings: Settings) -> None:
    run = kfold(folder, "knn", folds=3, settings=settings)
    plain = ta.train(folder, "spectrum-linear", settings=settings)
    both = ta.combine([run, plain], settings=settings)
    np.testing.assert_allclose(
        both.predictions("valid").proba, (run.predictions("valid").proba + plain.predictions("valid").proba) / 2, atol=1e-6
    )
    images = from_paths([str(next((folder / "real").glob("*.png")))])
    given = [ta.predict(r, images, settings=settings).proba for r in (run, plain, both)]
    np.testing.assert_allclose(given[2], (given[0] + given[1]) / 2, atol=1e-5)


def test_bagging_in_every_fold(folder: Path, settings: Settings) -> None:
    of = {"classifier": {"family": "knn"}, "features": {"descriptors": [{"pixels": {}}]}}
    recipe = parse({"classifier": {"family": "ensemble", "of": of, "copies": 2}}, "bags")
    assert len(kfold(folder, recipe, folds=2, settings=settings).predictions("oof")) == 64


# --- found again, gone on with ----------------------------------------------------------------------------------------


def test_the_same_call_finds_the_run_and_other_folds_are_another_run(made: Run, folder: Path) -> None:
    settings = Settings(runs=made.runs, device="cpu")
    assert kfold(folder, "knn", folds=4, settings=settings).folder == made.folder
    others = [kfold(folder, "knn", folds=k, repeats=r, settings=settings).id for k, r in ((3, 1), (2, 2))]
    assert len({made.id, *others}) == 3


def _killed(self: State, outcome: Any) -> None:
    _SAVE(self, outcome)
    if "fold-2" in str(self.folder) and outcome.epochs == 2:
        raise SystemExit("as if killed")


_SAVE = State.save


def test_killed_inside_a_fold_it_goes_on_and_ends_the_same(
    folder: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(runs: Path) -> Run:
        return kfold(folder, "cnn-small", folds=3, overrides=CNN, settings=replace(settings, runs=runs))

    whole = again(tmp_path / "whole")
    monkeypatch.setattr(State, "save", _killed)
    with pytest.raises(SystemExit):
        again(settings.runs)
    assert ta.list_runs(settings.runs) == []
    first = next((settings.runs / whole.id / "folds").glob("fold-1-*/done"))
    stamp = first.stat().st_mtime_ns
    started: list[str] = []

    def counted(self: State, outcome: Any) -> None:
        started.append(f"{self.folder.parent.name[:6]} {outcome.epochs}")
        _SAVE(self, outcome)

    monkeypatch.setattr(State, "save", counted)
    resumed = again(settings.runs)
    assert first.stat().st_mtime_ns == stamp and not [s for s in started if s.startswith("fold-1")]
    assert [s for s in started if s.startswith("fold-2")] == ["fold-2 3"], "goes on after epoch 2"
    assert resumed.id == whole.id
    np.testing.assert_array_equal(resumed.predictions("oof").proba, whole.predictions("oof").proba)
    images = from_paths([str(next((folder / "real").glob("*.png")))])
    np.testing.assert_array_equal(*(ta.predict(run, images, settings=settings).proba for run in (resumed, whole)))


def test_ctrl_c_says_what_is_kept_and_leaves_no_half_run(
    folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: State, outcome: Any) -> None:
        _SAVE(self, outcome)
        if "fold-2" in str(self.folder):
            raise KeyboardInterrupt

    monkeypatch.setattr(State, "save", stop)
    with pytest.raises(Interrupted, match="stopped in fold 2; 1 of 2 models are finished and kept") as error:
        kfold(folder, "cnn-small", folds=2, overrides=CNN, settings=settings)
    assert "repeat the command to resume" in str(error.value.hint)
    assert ta.list_runs(settings.runs) == [] and not list(settings.runs.rglob("*-stopped-*"))
    monkeypatch.setattr(State, "save", _SAVE)
    assert len(kfold(folder, "cnn-small", folds=2, overrides=CNN, settings=settings).predictions("oof")) == 64


def test_fold_runs_of_a_killed_call_are_used_as_they_are(folder: Path, settings: Settings) -> None:
    """Killed between the last fold and the end: nothing is trained again."""
    run = kfold(folder, "knn", folds=2, settings=settings)
    before = run.predictions("oof").proba
    stamps = {p: p.stat().st_mtime_ns for p in run.folder.glob("folds/*/done")}
    (run.folder / "done").unlink()
    again = kfold(folder, "knn", folds=2, settings=settings)
    assert again.id == run.id and {p: p.stat().st_mtime_ns for p in stamps} == stamps
    np.testing.assert_array_equal(again.predictions("oof").proba, before)


# --- bad input --------------------------------------------------------------------------------------------------------


def test_too_few_folds_or_images(folder: Path, settings: Settings) -> None:
    with pytest.raises(SplitError, match="1: at least 2 folds are needed"):
        kfold(folder, "knn", folds=1, settings=settings)
    with pytest.raises(SplitError, match="0 repeats and 1 seeds"):
        kfold(folder, "knn", repeats=0, settings=settings)
    with pytest.raises(SplitError, match="is too small for 40 folds: 32 images .*none to be judged on") as error:
        kfold(folder, "knn", folds=40, settings=settings)
    assert "at most 32 folds" in str(error.value.hint)


def test_groups_are_what_counts(folder: Path) -> None:
    table = _grouped(ta.scan(folder))
    with pytest.raises(SplitError, match=r"too small for 5 folds: \d+ images .* in \d groups that must stay together"):
        kfold_tables(prepare(table), 5, share=0.1)


def _grouped(table: ImageTable) -> ImageTable:
    return replace(table, frame=table.frame.assign(group=[f"g{i // 8}" for i in range(len(table))]))


def test_ensembles_of_finished_runs_and_runs_that_know_the_images_are_refused(folder: Path, settings: Settings) -> None:
    first = ta.train(folder, "cnn-small", overrides=CNN, settings=settings)
    members = parse({"classifier": {"family": "ensemble", "members": [first.id]}}, "of runs")
    with pytest.raises(RecipeError, match="is an ensemble of finished runs: there is nothing to train"):
        kfold(folder, members, settings=settings)
    started = load_recipe("cnn-small", [*CNN, f"classifier.init_from={first.id}"])
    with pytest.raises(RunError, match=f"{first.id} cannot be a start: it was trained on '.*png', which is held out"):
        kfold(folder, started, folds=2, settings=settings)


def test_other_runs_have_no_folds(folder: Path, settings: Settings) -> None:
    with pytest.raises(RunError, match="was not made by k-fold"):
        kfold_results(ta.train(folder, "knn", settings=settings))
