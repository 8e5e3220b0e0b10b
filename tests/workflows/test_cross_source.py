"""The verbs `sources` and `learning_curve`, on tiny arrays: who learns what, what is asked, what stays closed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

import tellapart as ta
from tellapart.data.folds import HELD_OUT
from tellapart.data.prepare import prepare
from tellapart.data.source_splits import by_class, by_source
from tellapart.errors import DataError, Interrupted
from tellapart.inference.context import Settings
from tellapart.metrics.cross_source import CrossSourceMatrix
from tellapart.runs.store import Run, list_runs
from tellapart.workflows._experiment import Experiment
from tellapart.workflows.cross_source import cross_source

LEVELS = {"real": 100, "bright": 160, "brighter": 180, "dark": 40}
RECIPE = "pixels-lda"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded pixels beside the test."""
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Runs beside the data."""
    return Settings(runs=tmp_path / "runs", device="cpu")


def images(each: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise around a level each for real photographs and three generators, one of which goes the other way."""
    rng = np.random.default_rng(seed)
    pixels = [rng.normal(level, 40, (each, 6, 6)) for level in LEVELS.values()]
    return np.concatenate(pixels).clip(0, 255).astype(np.uint8), np.repeat(list(LEVELS), each)


def with_sources(source: np.ndarray | None = None, **more: Any) -> ta.ImageTable:
    """Real and fake, the fakes by generator."""
    pixels, names = images()
    table = ta.from_arrays(pixels, np.where(names == "real", "real", "fake"), **more)
    return replace(table, frame=table.frame.assign(source=names if source is None else source))


# --- sources ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> tuple[CrossSourceMatrix, list[Experiment]]:
    """One crossing, stopped by Ctrl-C after two runs and gone on with, and the experiment of every run that was made."""
    top = tmp_path_factory.mktemp("crossed")
    made: list[Experiment] = []
    make = Experiment._make

    def making(self: Experiment, *rest: Any) -> Run:
        if len(made) == 2 and not (top / "stopped").exists():
            (top / "stopped").touch()
            raise KeyboardInterrupt
        made.append(self)
        return make(self, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TELLAPART_CACHE", str(top / "cache"))
        patch.setattr(Experiment, "_make", making)
        settings = Settings(runs=top / "runs", device="cpu")
        with pytest.raises(Interrupted, match="the runs before it are kept"):
            cross_source(with_sources(), RECIPE, settings=settings)
        return cross_source(with_sources(), RECIPE, settings=settings), made


def test_what_is_learnt_and_what_is_asked(crossed):
    found, benches = crossed
    table = with_sources()
    assert found.sources == ("bright", "brighter", "dark") == found.one_sided and found.classes == ("fake", "real")
    split = prepare(table).table.frame.set_index("id")["split"]
    names = table.frame.set_index("id")["source"]
    assert len(benches) == 7  # all, three left out, three alone; those before the stop are not made again
    for experiment in benches:
        rows = experiment.prepared.table.frame.set_index("id")
        assert not (split[rows.index] == "test").any()  # the test part is in none of it
        learnt, held = rows.index[rows["split"] != HELD_OUT], rows.index[rows["split"] == HELD_OUT]
        assert (split[learnt] == "train").all() and "real" in set(names[learnt])
        known = set(names[learnt])
        assert ((split[held] == "valid") | ~names[held].isin(known)).all()  # of known sources only what was not learnt from
    runs = found.folder.parent.parent
    assert not (runs / "ledger.jsonl").exists() and list_runs(runs) == []


def test_a_generator_that_goes_the_other_way_is_missed(crossed):
    one = {one.source: one for one in crossed[0].left_out}["dark"]
    assert one.unseen.accuracy.value < 0.1 and one.unseen.auroc is not None and one.unseen.auroc.value <= 0.5
    assert one.common is not None and one.common.value > 0.8
    assert one.unseen.accuracy.n == 50 and one.seen.accuracy.n == one.paired.test.n  # all of its train + valid; valid


def test_scores_are_those_of_the_answers_kept(crossed):
    found, _ = crossed
    content = json.loads((found.folder / "sources.json").read_text())
    assert content == json.loads(json.dumps(found.to_dict())) and len(found.matrix) == 9
    cell = found.cell("bright", "dark")
    assert cell is not None and cell.auroc is not None and not cell.seen
    (folder,) = (found.folder / "runs").glob("only-bright-*")
    answers = Run(folder).predictions(HELD_OUT)
    assert answers is not None
    names = dict(zip(with_sources().ids, with_sources().frame["source"], strict=True))
    name = np.array([names[i] for i in answers.ids])
    mine, both = name == "dark", np.isin(name, ["dark", "real"])
    assert cell.accuracy.value == pytest.approx(accuracy_score(answers.labels[mine], answers.predicted[mine]))
    assert cell.auroc.value == pytest.approx(roc_auc_score(answers.labels[both] == 0, answers.proba[both, 0]))
    table = found.to_frame()
    assert len(table) == 12 and table["accuracy"].iloc[-1] == found.matrix[-1].accuracy.value


def test_sources_that_hold_both_classes(settings):
    table = with_sources(source=np.tile(["north", "south"], 120))
    found = cross_source(table, RECIPE, settings=settings)
    assert found.one_sided == () and found.sources == ("north", "south")
    assert all(one.common is None and one.unseen.auroc is not None for one in found.left_out)
    assert [one.unseen for one in found.left_out] == [found.cell("south", "north"), found.cell("north", "south")]


def test_more_than_two_classes_by_source(settings):
    pixels, names = images()
    table = ta.from_arrays(pixels, names)
    table = replace(table, frame=table.frame.assign(source=np.tile(["n", "s", ""], 80)))
    found = cross_source(table, RECIPE, settings=settings)
    assert found.left_out[0].unseen.auroc is None and found.left_out[0].unseen.undefined == "defined for two classes only"


def test_classes_as_sources(settings):
    pixels, names = images()
    table = ta.from_arrays(pixels, names)
    found = cross_source(table, RECIPE, by="class", matrix=False, settings=settings)
    assert found.classes == ("real", "fake") and found.sources == ("bright", "brighter", "dark")
    assert [one.unseen.accuracy.n for one in found.left_out] == [48, 48, 48]  # train + valid of 60
    assert found.left_out[2].unseen.accuracy.value < 0.1 < 0.8 < found.left_out[0].unseen.accuracy.value
    assert by_class(prepare(table), "dark").table.classes == ("dark", "not dark")


def test_a_source_without_which_a_class_is_gone(settings):
    """Rows of two sources where only one has fakes: leaving that out leaves nothing to learn."""
    source = np.where(np.repeat(list(LEVELS), 60) == "real", "camera", "web")
    source[:30] = "web"
    table = with_sources(source=source)
    with pytest.raises(DataError, match="at least two sources"):
        cross_source(table, RECIPE, settings=settings)  # the camera holds only real images, so it is common
    frame = with_sources().frame.assign(label=np.repeat([0, 1, 2, 3], 60))
    four = replace(with_sources(), frame=frame, classes=tuple("abcd"), positive=None)
    with pytest.raises(DataError, match="no source can be left out") as error:
        cross_source(four, RECIPE, settings=settings)
    assert "without-bright: no image of the class 'b' to learn from" in str(error.value)


def test_identical_files_and_groups_are_not_asked_about():
    pixels, names = images()
    pixels[60] = pixels[180]  # a bright and a dark image are the same file
    groups = [f"g{i}" for i in range(240)]
    groups[125], groups[200] = "pair", "pair"  # a brighter and a dark one belong together
    table = ta.from_arrays(pixels, np.where(names == "real", "real", "fake"), groups=groups, split=["train"] * 200 + [""] * 40)
    table = replace(table, frame=table.frame.assign(source=names, split=np.where(np.arange(240) % 10 == 9, "valid", "train")))
    prepared = by_source(replace(prepare(replace(table, frame=table.frame)), table=table)).trained_on(["bright", "brighter"])
    asked = prepared.table.frame[prepared.table.frame["split"] == HELD_OUT]
    assert "180" not in set(asked["id"]) and "200" not in set(asked["id"]) and "181" in set(asked["id"])


def test_what_makes_no_sense_is_refused(settings):
    table = with_sources()
    bare = replace(table, frame=table.frame.drop(columns="source"))
    for wrong, message in (
        ({"by": "camera"}, "expected source or class"),
        ({"real": "real"}, "--real names a class"),
        ({"by": "class"}, "two classes leave one source"),
    ):
        with pytest.raises(DataError, match=message):
            cross_source(table, RECIPE, settings=settings, **wrong)
    with pytest.raises(DataError, match="have no source"):
        cross_source(bare, RECIPE, settings=settings)
    pixels, names = images()
    unnamed = ta.from_arrays(pixels, np.where(names == "real", "photo of mine", names))
    with pytest.raises(DataError, match="which of .* is real is not clear"):
        cross_source(unnamed, RECIPE, by="class", settings=settings)
    with pytest.raises(DataError, match="did you mean 'dark'"):
        cross_source(unnamed, RECIPE, by="class", real="darc", settings=settings)


# --- learning curve ---------------------------------------------------------------------------------------------------
