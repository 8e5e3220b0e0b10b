"""Case 01: images of a run are recognized by their content, whatever their names, times and container."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import tellapart as ta
from tellapart.cli.main import app
from tellapart.errors import DataError
from tellapart.inference.context import Settings
from tellapart.runs import ledger

SEEN = "42 of 60 images were used for training, 6 were used for validation, 12 are in its sealed test split"


def draw(path: Path, seed: int, kind: int) -> None:
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 90, (16, 16, 3)).astype(np.uint8)
    pixels[:, :8] += np.uint8(140 * kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def pictures(folder: Path, first: int, count: int) -> Path:
    for kind, name in enumerate(("real", "fake")):
        for seed in range(first, first + count):
            draw(folder / name / f"{name}{seed:03d}.png", 1000 * kind + seed, kind)
    return folder


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    return Settings(runs=tmp_path / "runs", device="cpu")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return pictures(tmp_path / "own", 0, 30)


@pytest.fixture
def run(own: Path, settings: Settings) -> ta.Run:
    return ta.train(own, "knn", settings=settings)


def unchanged(own: Path) -> Path:
    return own


def touched(own: Path) -> Path:
    os.utime(own / "real" / "real000.png")
    return own


def copied(own: Path) -> Path:
    return Path(shutil.copytree(own, own.with_name("own2"), copy_function=shutil.copyfile))


def moved(own: Path) -> Path:
    return own.rename(own.with_name("moved"))


def zipped(own: Path) -> Path:
    with zipfile.ZipFile(own.with_suffix(".zip"), "w") as archive:
        for path in own.rglob("*.png"):
            archive.write(path, path.relative_to(own))
    return own.with_suffix(".zip")


def renamed(own: Path) -> Path:
    for path in list(own.rglob("*.png")):
        path.rename(path.with_name(f"other-{path.name}"))
    return own


def added_to(own: Path) -> Path:
    draw(own / "real" / "new.png", 99_999, 0)
    return own


@pytest.mark.parametrize("change", [unchanged, touched, copied, moved, zipped, renamed], ids=lambda change: change.__name__)
def test_the_images_of_a_run_are_refused(own: Path, run: ta.Run, settings: Settings, change: Callable[[Path], Path]) -> None:
    with pytest.raises(DataError, match=f"{SEEN}.*{run.id}") as refused:
        ta.evaluate(run, change(own), settings=settings)
    assert "--open-test" in str(refused.value) and not (settings.runs / "ledger.jsonl").exists()


@pytest.mark.parametrize("change", [unchanged, touched, copied, moved, zipped], ids=lambda change: change.__name__)
def test_a_finished_run_is_used_again(own: Path, run: ta.Run, settings: Settings, change: Callable[[Path], Path]) -> None:
    assert ta.train(change(own), "knn", settings=settings).id == run.id


def test_the_ledger_knows_a_copy(own: Path, run: ta.Run, settings: Settings) -> None:
    ta.evaluate(run, open_test=True, settings=settings)
    again = ta.train(copied(own), "radial-linear", settings=settings)
    assert ledger.test_openings(again) == 1
    assert ledger.times_opened(settings.runs, again.data["fingerprint"]) == 1


def test_a_mix_is_refused_and_scored_without_the_images_of_the_run(
    own: Path, run: ta.Run, settings: Settings, tmp_path: Path
) -> None:
    mix = pictures(tmp_path / "mix", 500, 5)
    for number, (name, split) in enumerate(zip(run.table().ids, run.table().frame["split"], strict=True)):
        if number % 3 == 0:
            shutil.copyfile(own / name, mix / name.partition("/")[0] / f"again-{number}-{split}.png")
    words = r"mix: 1\d of 30 images were used for training, .*sealed test split \(of knn"
    with pytest.raises(DataError, match=rf"{words}[\s\S]*--exclude-seen to score the run on the 10 other images"):
        ta.evaluate(run, mix, settings=settings)
    found = ta.evaluate(run, mix, seen="exclude", settings=settings)
    assert found.scores["accuracy"].n == 10 and found.opened == 0
    assert found.notes[0].startswith("20 images are excluded: 1") and not any("again" in name for name in found.predictions.ids)


def test_what_is_opened_of_the_test_split_is_in_the_ledger(own: Path, run: ta.Run, settings: Settings) -> None:
    added_to(own)
    found = ta.evaluate(run, own, seen="include", settings=settings)
    assert found.scores["accuracy"].n == 61 and found.opened == 1
    assert found.notes[0].startswith("not independent: 42 of 61 images were used for training")
    (opening,) = ledger.openings(settings.runs, run.data["fingerprint"])
    assert (opening.run, opening.n, opening.by) == (run.id, 12, "evaluate")
    ta.evaluate(run, own, seen="exclude", settings=settings)
    assert ledger.test_openings(run) == 1, "nothing of the test split was opened"


def test_training_images_alone_open_nothing(own: Path, run: ta.Run, settings: Settings) -> None:
    table = run.table().where(split="train")
    found = ta.evaluate(run, table, seen="include", settings=settings)
    assert found.opened == 0 and found.notes[0] == "not independent: 42 of 42 images were used for training"


def test_images_of_the_run_that_another_one_started_from(own: Path, settings: Settings, tmp_path: Path) -> None:
    second = pictures(tmp_path / "second", 300, 30)
    small = ["train.epochs=1", "inputs.size=16", "classifier.stages=[{widths: [4]}]", "train.images=null"]
    run = ta.train(own, "cnn-small", overrides=small, settings=settings)
    made = ta.train(second, "cnn-small", overrides=[*small, f"classifier.init_from={run.id}"], settings=settings)
    assert made.data["started_from"] == [run.id]
    with pytest.raises(DataError, match=rf"42 of 60 images were used for training \(of {made.id}"):
        ta.evaluate(made, own, settings=settings)


def test_images_in_memory(own: Path, run: ta.Run, settings: Settings) -> None:
    table = run.table().where(split="test")
    blobs = [(own / path).read_bytes() for path in table.paths]
    again = ta.from_bytes(blobs, table.labels, classes=list(table.classes))
    with pytest.raises(DataError, match="12 of 12 images are in its sealed test split"):
        ta.evaluate(run, again, settings=settings)


@pytest.mark.parametrize("verb", ["robustness", "codec-bias"])
def test_other_evaluations_refuse_them_too(own: Path, run: ta.Run, settings: Settings, verb: str) -> None:
    renamed(added_to(own))
    work = {"robustness": ta.robustness, "codec-bias": ta.codec_bias}[verb]
    with pytest.raises(DataError, match=r"42 of 61 images were used for training[\s\S]*--exclude-seen"):
        work(run, own, settings=settings)


def test_the_command_says_it(own: Path, run: ta.Run, settings: Settings, tmp_path: Path) -> None:
    runs = ["--runs", str(settings.runs), "-q"]
    found = CliRunner().invoke(app, ["evaluate", run.id, str(zipped(own)), *runs])
    assert SEEN in str(found.exception)
    mixed = added_to(own)
    found = CliRunner().invoke(app, ["evaluate", run.id, str(mixed), "--exclude-seen", *runs])
    assert found.exit_code == 0 and "note: 60 images are excluded: 42 of 61 images were used for training" in found.stdout
    found = CliRunner().invoke(app, ["evaluate", run.id, str(mixed), "--include-seen", "--verify-files", *runs])
    assert found.exit_code == 0 and "test split of the run opened: once" in found.stdout
    found = CliRunner().invoke(app, ["evaluate", run.id, str(mixed), "--include-seen", "--exclude-seen", *runs])
    assert found.exit_code == 2
