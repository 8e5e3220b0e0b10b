"""The verb `evaluate`: the run's own test part, and other images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score, confusion_matrix
from typer.testing import CliRunner

import tellapart as ta
from tellapart.cli.main import app
from tellapart.errors import DataError
from tellapart.inference.context import Settings
from tellapart.runs import ledger


def pictures(folder: Path, classes: dict[str, int], count: int, seed: int) -> Path:
    """Noise around a brightness, one folder a class."""
    generator = np.random.default_rng(seed)
    for name, level in classes.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = (level + generator.normal(0, 30, (12, 12, 3))).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(runs=tmp_path / "runs", device="cpu")


@pytest.fixture
def run(tmp_path: Path, settings: Settings) -> ta.Run:
    return ta.train(pictures(tmp_path / "data", {"real": 90, "fake": 150}, 30, 0), "knn", settings=settings)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return pictures(tmp_path / "other", {"original": 90, "editada": 150}, 10, 1)


MAP = {"editada": "fake", "original": "real"}


def test_validation_is_repeated_and_nothing_opened(run: ta.Run, settings: Settings) -> None:
    found = ta.evaluate(run, settings=settings)
    assert (found.part, found.opened, found.scores) == ("valid", 0, run.scores("valid"))
    assert not (settings.runs / "ledger.jsonl").exists()


def test_the_test_part_is_opened_once_and_written_down(run: ta.Run, settings: Settings) -> None:
    found = ta.evaluate(run.id, open_test=True, settings=settings)
    assert (found.part, found.opened, found.scores["accuracy"].n) == ("test", 1, 12)
    assert [o.by for o in ledger.openings(settings.runs, run.data["fingerprint"])] == ["evaluate"]
    again = ta.evaluate(run.id, open_test=True, settings=settings)
    assert again.opened == 1 and again.scores == found.scores


def test_other_images_by_other_names(run: ta.Run, other: Path, settings: Settings) -> None:
    found = ta.evaluate(run, other, mapping=MAP, settings=settings)
    names = np.array(["fake" if "editada" in i else "real" for i in found.predictions.ids])
    answers = np.array(run.classes)[found.predictions.predicted]
    assert found.part == "other" and found.opened == 0
    assert found.scores["accuracy"].n == 20
    assert found.scores["accuracy"].value == pytest.approx(accuracy_score(names, answers))
    assert found.scores["accuracy"].value > 0.9
    assert ta.open_run(run.id, settings.runs).evaluations == [], "no opening of the test part"


def test_one_class_is_enough_and_said(run: ta.Run, tmp_path: Path, settings: Settings) -> None:
    found = ta.evaluate(run, pictures(tmp_path / "one", {"fake": 150}, 5, 2), settings=settings)
    assert found.scores["accuracy"].n == 5 and "auroc" not in found.scores
    assert found.notes == ("no image of real among them",)


def test_what_cannot_be_scored(run: ta.Run, other: Path, tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(DataError, match="editada, original: not a class of knn.*fake, real"):
        ta.evaluate(run, other, settings=settings)
    with pytest.raises(DataError, match=r"--map: unknown class of .*'editado': did you mean 'editada'"):
        ta.evaluate(run, other, mapping={"editado": "fake"}, settings=settings)
    with pytest.raises(DataError, match=r"--map: unknown class of knn.*'fakes'"):
        ta.evaluate(run, other, mapping={"editada": "fakes"}, settings=settings)
    with pytest.raises(DataError, match="42 of 60 images were used for training, 6 .* 12 are in its sealed test split"):
        ta.evaluate(run, tmp_path / "data", settings=settings)
    with pytest.raises(DataError, match="12 of 12 test images are not in other"):
        ta.evaluate(run, other, open_test=True, settings=settings)
    (other / "editada" / "0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="1 image cannot be decoded"):
        ta.evaluate(run, other, mapping=MAP, settings=settings)
    found = ta.evaluate(run, other, mapping=MAP, settings=replace(settings, skip_bad=True))
    assert found.scores["accuracy"].n == 19
    assert found.notes == ("left out: 1 of 20 images (fake 1, real 0): corrupt image 1",)


def test_the_command(run: ta.Run, other: Path, settings: Settings) -> None:
    options = ["evaluate", run.id, str(other), "--map", "editada=fake", "--runs", str(settings.runs), "-q"]
    result = CliRunner().invoke(app, [*options, "--map", "original=real"])
    assert result.exit_code == 0 and "accuracy" in result.stdout and "n = 20" in result.stdout
    result = CliRunner().invoke(app, [*options, "--map", "original=real", "--json"])
    assert json.loads(result.stdout)["scores"]["accuracy"]["n"] == 20
    assert CliRunner().invoke(app, [*options, "--map", "original"]).exit_code == 2


def test_what_is_not_defined_is_said(run: ta.Run, tmp_path: Path, settings: Settings) -> None:
    found = ta.evaluate(run, pictures(tmp_path / "one", {"fake": 150}, 5, 2), settings=settings)
    assert found.undefined["auroc"] == "all images are of one class (fake)"
    assert not set(found.undefined) & set(found.scores)
    result = CliRunner().invoke(app, ["evaluate", run.id, str(tmp_path / "one"), "--runs", str(settings.runs), "-q"])
    assert "undefined: auroc, " in result.stdout and "(all images are of one class (fake))" in result.stdout


def test_confusions_are_those_of_scikit_learn(run: ta.Run, settings: Settings, tmp_path: Path) -> None:
    hard = pictures(tmp_path / "hard", {"real": 125, "fake": 118}, 12, 5)
    found = ta.evaluate(run, hard, settings=settings)
    labels, answers = found.predictions.labels, found.predictions.predicted
    np.testing.assert_array_equal(found.counts, confusion_matrix(labels, answers, labels=[0, 1]))
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))["confusion"]
    assert content["classes"] == list(run.classes) and content["counts"] == found.counts.tolist()
    for by, normalize in (("by_row", "true"), ("by_column", "pred")):
        theirs = confusion_matrix(labels, answers, labels=[0, 1], normalize=normalize)
        ours = np.array([[np.nan if share is None else share for share in row] for row in content[by]])
        np.testing.assert_allclose(np.nan_to_num(ours), theirs)
    pairs = found.confusions()
    assert sum(pair.count for pair in pairs) == (labels != answers).sum() > 0
    assert [pair.count for pair in pairs] == sorted((pair.count for pair in pairs), reverse=True)
    assert all(pair.of == 12 and pair.true != pair.answered for pair in pairs)


def test_a_share_of_nothing_is_none(run: ta.Run, tmp_path: Path, settings: Settings) -> None:
    found = ta.evaluate(run, pictures(tmp_path / "one", {"fake": 150}, 5, 2), settings=settings)
    assert found.to_dict()["confusion"]["by_row"][run.classes.index("real")] == [None, None]


def test_a_run_made_after_an_opening_says_so(run: ta.Run, other: Path, settings: Settings) -> None:
    assert ta.evaluate(run, open_test=True, settings=settings).notes == (), "its own opening came after it was made"
    for session in ("one", "one", "two"):
        ledger.record(run.runs, "another", run.data["fingerprint"], 12, "compare", session)
    late = ta.train(ta.scan(run.data["root"]), "knn", overrides=["classifier.k=2"], settings=settings)
    for found in (ta.evaluate(late, settings=settings), ta.evaluate(late, other, mapping=MAP, settings=settings)):
        assert "this run was made after the test was opened 3 times" in found.notes
    assert ta.evaluate(ta.open_run(run.id, settings.runs), settings=settings).notes == ()
