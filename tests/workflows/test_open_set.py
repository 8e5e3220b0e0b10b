"""The verb `attribute`, on tiny arrays: who learns what, what is asked, what stays closed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tellapart as ta
from tellapart.data.folds import kfold_tables
from tellapart.errors import DataError
from tellapart.inference.context import Settings
from tellapart.runs.store import Run
from tellapart.workflows._experiment import Experiment
from tellapart.workflows.open_set import open_set, without_class

LEVELS = {"dark": 40, "middle": 110, "light": 180, "striped": 110}
RECIPE = "pixels-lda"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded pixels beside the test."""
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Runs beside the data."""
    return Settings(runs=tmp_path / "runs", device="cpu")


def table(each: int = 80) -> ta.ImageTable:
    """Noise around a level each; the last has the level of the second, and stripes."""
    rng = np.random.default_rng(0)
    pixels = np.concatenate([rng.normal(level, 15, (each, 6, 6)) for level in LEVELS.values()])
    pixels[3 * each :, ::2] += 60
    pixels[3 * each :, 1::2] -= 60
    return ta.from_arrays(pixels.clip(0, 255).astype(np.uint8), np.repeat(list(LEVELS), each), list(LEVELS))


def test_a_class_that_is_left_out_is_not_learnt(settings: Settings) -> None:
    found = open_set(table(), RECIPE, settings=settings)
    assert [one.unknown for one in found.left_out] == list(LEVELS)
    for label, one in enumerate(found.left_out):
        run = _run(found.folder, label)
        assert run.classes == tuple(name for name in LEVELS if name != one.unknown)
        assert set(one.predicted_as) == set(run.classes)
        assert one.accuracy.value > 0.9 and one.false_alarms.value < 0.25
    content = json.loads((found.folder / "attribution.json").read_text("utf-8"))
    assert content["mean_auroc"] == pytest.approx(np.mean([one["auroc"]["value"] for one in content["left_out"]]))
    assert not list(settings.runs.glob("evaluations/*"))


def _run(folder: Path, label: int) -> Run:
    (found,) = (folder / "runs").glob(f"without-{label}-*")
    return Run(found)


def test_known_and_unknown_never_meet(settings: Settings) -> None:
    experiment = Experiment(settings, table())
    held = kfold_tables(experiment.prepared, 5, share=0.1, seed=0)[0]
    test = set(experiment.prepared.table.where(split="test").ids)
    for label, name in enumerate(LEVELS):
        known, strange = without_class(held, label)
        assert len(known.table) + len(strange) == len(held.table)
        assert not set(known.table.ids) & set(strange.ids) and not test & {*known.table.ids, *strange.ids}
        assert (strange.labels == -1).all() and name not in known.table.classes
        original = dict(zip(held.table.ids, np.array(held.table.classes)[held.table.labels], strict=True))
        assert [original[i] for i in known.table.ids] == [known.table.classes[label] for label in known.table.labels]
        assert {original[i] for i in strange.ids} == {name}


def test_a_second_call_trains_and_asks_nothing(settings: Settings) -> None:
    first = open_set(table(), RECIPE, settings=settings)
    stamps = {p: p.stat().st_mtime_ns for p in first.folder.rglob("*.parquet")}
    again = open_set(table(), RECIPE, settings=settings)
    assert again == first and stamps == {p: p.stat().st_mtime_ns for p in stamps}


def test_two_classes_and_wrong_shares_are_refused(settings: Settings) -> None:
    full = table()
    two = ta.from_arrays(np.random.default_rng(0).integers(0, 256, (40, 4, 4), dtype=np.uint8), ["a", "b"] * 20)
    with pytest.raises(DataError, match="at least three classes are needed, found 2"):
        open_set(two, RECIPE, settings=settings)
    with pytest.raises(DataError, match="between 0 and 1"):
        open_set(full, RECIPE, share=5, settings=settings)
