"""The verbs, end to end on a tiny folder of real image files: what is kept, reused, resumed, sealed and refused."""

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
from tellapart.data.listing import from_paths
from tellapart.data.metadata import metadata_features
from tellapart.errors import DataError, Interrupted, RecipeError, RunError
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


def test_train_leaves_the_test_part_closed(folder: Path, settings: Settings) -> None:
    run = ta.train(folder, "knn", settings=settings)
    assert set(run._scores) == {"train", "valid", "cost"}
    assert run.scores("test") == {} and run.predictions("test") is None
    assert not (settings.runs / "ledger.jsonl").exists()
    assert run.scores("valid")["accuracy"].n == 6


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


def test_test_labels_teach_nothing(folder: Path, settings: Settings, tmp_path: Path) -> None:
    """With the labels of the test part turned round, the same classifier comes out."""
    table = ta.split(ta.scan(folder))
    test = (table.frame["split"] == "test").to_numpy()
    turned = replace(table, frame=table.frame.assign(label=np.where(test, 1 - table.labels, table.labels)))
    straight = ta.train(table, "spectrum-linear", settings=settings)
    other = ta.train(turned, "spectrum-linear", settings=replace(settings, runs=tmp_path / "other"))
    assert straight.id != other.id, "other labels are other data"
    images = table.where(split="valid")
    answers = [ta.predict(run, images, settings=settings).proba for run in (straight, other)]
    np.testing.assert_array_equal(*answers)


def test_a_killed_network_goes_on_and_ends_the_same(
    folder: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ta.train(folder, "cnn-small", overrides=CNN, settings=replace(settings, runs=tmp_path / "whole"))
    from tellapart.training.state import State

    save, calls = State.save, []

    def kill(self: State, outcome: Any) -> None:
        save(self, outcome)
        calls.append(outcome.epochs)
        if outcome.epochs == 2:
            raise SystemExit("as if killed")

    monkeypatch.setattr(State, "save", kill)
    with pytest.raises(SystemExit):
        ta.train(folder, "cnn-small", overrides=CNN, settings=settings)
    with pytest.raises(RunError, match="not finished"):
        ta.open_run(whole.id, settings.runs)
    assert ta.list_runs(settings.runs) == []
    monkeypatch.setattr(State, "save", save)
    resumed = ta.train(folder, "cnn-small", overrides=CNN, settings=settings)
    assert [e["epoch"] for e in resumed.log] == [1, 2, 3]
    assert not (resumed.folder / "resume").exists()
    np.testing.assert_array_equal(resumed.predictions("valid").proba, whole.predictions("valid").proba)


def test_ctrl_c_keeps_the_best_as_a_run_and_can_go_on(
    folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tellapart.training import loop

    epoch, calls = loop._epoch, []

    def press(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return epoch(*args, **kwargs)

    monkeypatch.setattr(loop, "_epoch", press)
    with pytest.raises(Interrupted, match="stopped by hand after epoch 2") as caught:
        ta.train(folder, "cnn-small", overrides=CNN, settings=settings)
    assert caught.value.exit_code == 130
    (kept,) = ta.list_runs(settings.runs)
    assert kept.id.endswith("-stopped-2") and any("stopped by hand" in note for note in kept.cost["notes"])
    assert len(ta.predict(kept, ta.scan(folder), settings=settings)) == 60
    monkeypatch.setattr(loop, "_epoch", epoch)
    whole = ta.train(folder, "cnn-small", overrides=CNN, settings=settings)
    assert len(whole.log) == 3 and whole.id == kept.id.removesuffix("-stopped-2")


def test_ctrl_c_in_compare_opens_no_test_part(folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("tellapart.classifiers.knn.Neighbors._learn", press)
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


def test_split_from_uses_the_split_again(folder: Path, settings: Settings) -> None:
    first = ta.train(folder, "knn", settings=replace(settings, seed=3))
    second = ta.train(folder, "spectrum-linear", settings=replace(settings, split_from=first.id))
    assert first.data["split_fingerprint"] == second.data["split_fingerprint"]
    assert first.data["split_fingerprint"] != ta.train(folder, "knn", settings=settings).data["split_fingerprint"]
    (folder / "real" / "new.png").write_bytes((folder / "real" / "0.png").read_bytes())
    with pytest.raises(DataError, match=r"new\.png.*not in the split"):
        ta.train(folder, "knn", settings=replace(settings, split_from=first.id))


def test_planted_copies_are_found_and_written_down(folder: Path, settings: Settings) -> None:
    (folder / "fake" / "copy.png").write_bytes((folder / "real" / "0.png").read_bytes())
    run = ta.train(folder, "knn", settings=settings)
    assert run.data["duplicates"]["images"] == 2 and run.data["duplicates"]["across_classes"] == 2
    assert run.data["duplicates"]["across_splits"] == 0, "identical files stay on one side"
    assert ["fake/copy.png", "real/0.png"] in [sorted(pair) for pair in run.data["duplicates"]["examples"]]


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


def test_fresh_trains_anew(folder: Path, settings: Settings) -> None:
    first = ta.train(folder, "knn", settings=settings)
    second = ta.train(folder, "knn", settings=replace(settings, fresh=True))
    assert first.id != second.id and len(ta.list_runs(settings.runs)) == 2


def test_an_override_that_no_recipe_has_a_use_for_is_an_error(folder: Path, settings: Settings) -> None:
    with pytest.raises(RecipeError, match="none of metadata, knn has such a setting"):
        ta.compare(folder, ["knn"], overrides=["train.epochs=2"], settings=settings)


def test_unknown_ranking_is_an_error(folder: Path, settings: Settings) -> None:
    with pytest.raises(RecipeError, match="rank_by"):
        ta.compare(folder, ["knn"], rank_by="beauty", settings=settings)


def test_an_unknown_device_is_an_error(folder: Path, settings: Settings) -> None:
    with pytest.raises(ta.TellapartError, match="device"):
        ta.train(folder, "cnn-small", overrides=CNN, settings=replace(settings, device="toaster"))


def test_ctrl_c_twice_at_the_same_epoch_rewrites_nothing(
    folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tellapart.training import loop

    epoch, calls = loop._epoch, []

    def press(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return epoch(*args, **kwargs)

    monkeypatch.setattr(loop, "_epoch", press)
    times = []
    for _ in range(2):
        with pytest.raises(Interrupted, match="-stopped-1"):
            ta.train(folder, "cnn-small", overrides=CNN, settings=settings)
        (kept,) = ta.list_runs(settings.runs)
        times.append({p.name: p.stat().st_mtime_ns for p in kept.folder.iterdir() if p.is_file() and p.name != ".lock"})
    assert times[0] == times[1]


def test_two_recipes_of_one_name_are_refused(folder: Path, settings: Settings, tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "mine.yaml", tmp_path / "b" / "mine.yaml"]
    for path in paths:
        path.parent.mkdir()
        path.write_text("classifier: {family: knn}\n")
    with pytest.raises(RecipeError, match="the same name"):
        ta.compare(folder, paths, settings=settings)


def test_another_positive_class_or_grouping_is_another_run(folder: Path, settings: Settings) -> None:
    table = ta.scan(folder)
    first = ta.train(table, "knn", settings=settings)
    assert ta.train(replace(table, positive="real"), "knn", settings=settings).positive == "real"
    split = ta.train(table, "knn", settings=settings).table().frame["split"].to_numpy(dtype=object)
    groups = table.frame.assign(split=split, group=split)  # the same split, but images that are not independent
    grouped = ta.train(replace(table, frame=groups), "knn", settings=settings)
    assert grouped.id != first.id and grouped.data["split_fingerprint"] != first.data["split_fingerprint"]


def test_the_size_of_test_images_chooses_no_input_size(folder: Path, settings: Settings) -> None:
    frame = ta.train(folder, "knn", settings=settings).table().frame
    for path in frame["path"][frame["split"] != "train"]:
        Image.new("RGB", (100, 100)).save(folder / path)
    sizes = frame["split"].to_numpy(dtype=object)
    table = ta.scan(folder)
    run = ta.train(replace(table, frame=table.frame.assign(split=sizes)), "knn", settings=settings)
    assert run.recipe["inputs"]["size"] == [12, 12]


def test_the_null_answers_without_decoding(folder: Path, settings: Settings, tmp_path: Path) -> None:
    run = ta.train(folder, "metadata", settings=settings)
    whole = (folder / "real" / "0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    assert len(ta.predict(run, from_paths([tmp_path / "cut.png"], run.classes), settings=settings)) == 1


@pytest.mark.parametrize(("recipe", "file"), [("metadata", "model.skops"), ("knn", "weights.safetensors")])
def test_a_damaged_classifier_is_named(folder: Path, settings: Settings, recipe: str, file: str) -> None:
    run = ta.train(folder, recipe, settings=settings)
    for damage in (lambda: (run.folder / file).write_text("garbage"), (run.folder / "classifier.json").unlink):
        damage()
        with pytest.raises(RunError, match=f"{run.id}.*cannot be loaded"):
            ta.predict(run, ta.scan(folder), settings=settings)


def test_images_without_a_group_are_independent(folder: Path, settings: Settings) -> None:
    table = ta.scan(folder)
    run = ta.train(table, "knn", settings=settings)
    cells = np.array(["", None, "a", "a", *[""] * 56], dtype=object)
    answers = ta.predict(run, replace(table, frame=table.frame.assign(group=cells)), settings=settings)
    assert answers.groups is not None and len(set(answers.groups)) == 59 and list(answers.groups[2:4]) == ["a", "a"]


def test_the_seed_reaches_the_null(folder: Path, settings: Settings) -> None:
    run = ta.train(folder, "metadata", overrides=["seed=7"], settings=settings)
    null: Any = ta.load_classifier(run)
    assert null.estimator.random_state == 7


def test_a_null_that_knew_less_answers_as_it_did(folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saved before credentials, date, software, camera and text chunks were read: they count for nothing."""
    with monkeypatch.context() as before:
        before.setattr(
            "tellapart.classifiers.metadata.metadata_features", lambda content, path: metadata_features(content, path)[:-5]
        )
        run = ta.train(folder, "metadata", settings=settings)
    again = ta.predict(run, ta.scan(folder), settings=settings)
    valid = run.predictions("valid")
    assert valid is not None
    places = {str(name): n for n, name in enumerate(again.ids)}
    np.testing.assert_array_equal(again.proba[[places[str(name)] for name in valid.ids]], valid.proba)
