"""`learning_curve` on tiny arrays: nested subsets, reused runs, intervals, extrapolation."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tellapart as ta
from tellapart.data.prepare import prepare
from tellapart.data.source_splits import nested_subsets
from tellapart.errors import RecipeError, SplitError
from tellapart.inference.context import Settings
from tellapart.metrics.learning_curve import Size, power_law, size_of
from tellapart.runs.store import Run, list_runs
from tellapart.types import Predictions, Score
from tellapart.workflows.learning_curve import learning_curve

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


def test_parts_are_nested_stratified_and_seeded():
    table = prepare(with_sources(groups=[f"g{i // 3}" for i in range(240)]))
    parts = nested_subsets(table, [0.1, 0.5, 1.0], 0)
    ids = [set(part.table.where(split="train").ids) for part in parts]
    assert ids[0] < ids[1] < ids[2] == set(table.table.where(split="train").ids)
    assert all(set(part.table.where(split="valid").ids) == set(table.table.where(split="valid").ids) for part in parts)
    assert "test" not in parts[0].table.split_counts()
    for part, share in zip(parts, (0.1, 0.5, 1.0), strict=True):
        counts = np.bincount(part.table.where(split="train").labels)
        assert np.abs(counts - share * np.bincount(table.table.where(split="train").labels)).max() <= 3  # a group at most
        groups = part.table.where(split="train").frame["group"]
        assert groups.value_counts().eq(3).all()  # whole groups
    assert ids[0] == set(nested_subsets(table, [0.1], 0)[0].table.where(split="train").ids)
    assert ids[0] != set(nested_subsets(table, [0.1], 1)[0].table.where(split="train").ids)
    for size in (0, -1, 1000):
        with pytest.raises(SplitError, match="expected a share"):
            nested_subsets(table, [size], 0)


def test_a_curve(settings):
    curve = learning_curve(with_sources(), RECIPE, sizes=[0.5, 20, 0.2, 1.0], seeds=2, settings=settings)
    assert [s.images for s in curve.sizes] == [20, 35, 84, 168] and all(len(s.seeds) == 2 for s in curve.sizes)
    runs = sorted((curve.folder / "runs").iterdir())
    assert len(runs) == 8 and list_runs(settings.runs) == [] and not (settings.runs / "ledger.jsonl").exists()
    again = learning_curve(with_sources(), RECIPE, sizes=[0.5, 20, 0.2, 1.0], seeds=2, settings=settings)
    assert again.to_dict() == curve.to_dict() == json.loads((curve.folder / "curve.json").read_text())
    of = {run.name.rpartition("-")[0]: Run(run).predictions("valid") for run in runs}
    right = [np.mean(p.predicted == p.labels) for name, p in of.items() if p is not None and name.startswith("84-")]
    assert sorted(curve.sizes[2].seeds) == pytest.approx(sorted(right))
    assert curve.sizes[2].accuracy.value == pytest.approx(np.mean(right))
    assert curve.sizes[2].sd == pytest.approx(np.std(right, ddof=1))


def test_no_size_no_seed_no_ensemble(settings):
    for wrong in ({"sizes": []}, {"seeds": 0}):
        with pytest.raises(SplitError, match="at least 1 of each"):
            learning_curve(with_sources(), RECIPE, settings=settings, **wrong)
    ensemble = ta.Recipe.model_validate({"classifier": {"family": "ensemble", "how": {"mean": {}}, "members": ["a", "b"]}})
    with pytest.raises(RecipeError, match="is an ensemble of finished runs: there is nothing to train"):
        learning_curve(with_sources(), ensemble, settings=settings)


def test_seeds_do_not_multiply_n():
    rng = np.random.default_rng(0)
    proba = np.eye(2, dtype=np.float32)[(rng.random(200) < 0.2).astype(int)]
    one = Predictions(np.arange(200).astype(str).astype(object), proba, np.zeros(200, np.int64), ("a", "b"))
    single, five = size_of(50, [one]), size_of(50, [one] * 5)
    for end in ("value", "low", "high"):
        assert getattr(five.accuracy, end) == pytest.approx(getattr(single.accuracy, end), abs=0.005)
    assert math.isnan(single.sd) and five.sd == pytest.approx(0)


def test_a_power_law_only_where_it_fits():
    def size(images: int, error: float, half: float = 0.02) -> Size:
        return Size(images, Score(1 - error, 500, 1 - error - half, 1 - error + half), (1 - error,))

    n = [100, 200, 400, 800]
    law, why = power_law([size(i, 2 * i**-0.4) for i in n])
    assert why == "" and law is not None and law.images == 1600
    assert law.accuracy == pytest.approx(1 - 2 * 1600**-0.4) and law.low <= law.accuracy <= law.high
    bent = [0.5, 0.25, 0.24, 0.239]
    for sizes, reason in (
        ([size(i, 2 * i**-0.4) for i in n[:3]], "too few"),
        ([size(i, 0.2 + 0.01 * k) for k, i in enumerate(n)], "does not decrease"),
        ([size(i, e) for i, e in zip(n, bent, strict=True)], "outside the interval at"),
        ([size(i, e) for i, e in zip(n, [0.2, 0.1, 0.05, 0.0], strict=True)], "error is 0 at some size"),
    ):
        law, why = power_law(sizes)
        assert law is None and reason in why
