"""The verbs, end to end on a tiny folder of real image files: what is kept, reused, resumed, sealed and refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tellapart as ta
from tellapart.data.listing import from_paths
from tellapart.data.metadata import metadata_features
from tellapart.errors import DataError, Interrupted, RunError
from tellapart.inference.context import Settings

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


def test_split_from_uses_the_split_again(folder: Path, settings: Settings) -> None:
    first = ta.train(folder, "knn", settings=replace(settings, seed=3))
    second = ta.train(folder, "spectrum-linear", settings=replace(settings, split_from=first.id))
    assert first.data["split_fingerprint"] == second.data["split_fingerprint"]
    assert first.data["split_fingerprint"] != ta.train(folder, "knn", settings=settings).data["split_fingerprint"]
    Image.new("RGB", (24, 24), (1, 2, 3)).save(folder / "real" / "new.png")
    with pytest.raises(DataError, match=r"1 image is not in the split of .*, the first is 'real/new\.png'"):
        ta.train(folder, "knn", settings=replace(settings, split_from=first.id))


def test_planted_copies_are_found_and_written_down(folder: Path, settings: Settings) -> None:
    (folder / "fake" / "copy.png").write_bytes((folder / "real" / "0.png").read_bytes())
    run = ta.train(folder, "knn", settings=settings)
    assert run.data["duplicates"]["images"] == 2 and run.data["duplicates"]["across_classes"] == 2
    assert run.data["duplicates"]["across_splits"] == 0, "identical files stay on one side"
    assert ["fake/copy.png", "real/0.png"] in [sorted(pair) for pair in run.data["duplicates"]["examples"]]


def test_fresh_trains_anew(folder: Path, settings: Settings) -> None:
    first = ta.train(folder, "knn", settings=settings)
    second = ta.train(folder, "knn", settings=replace(settings, overwrite=True))
    assert first.id != second.id and len(ta.list_runs(settings.runs)) == 2


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
        with pytest.raises(RunError, match=f"{run.id}.*cannot be (loaded|read)"):
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
