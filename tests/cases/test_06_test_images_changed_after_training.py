"""Case 06: a test split whose files are not the ones that were split is not scored."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tellapart as ta
from tellapart.errors import DataError, RunError
from tellapart.inference.context import Settings
from tellapart.runs import ledger


def draw(path: Path, seed: int, kind: int) -> None:
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 90, (16, 16, 3)).astype(np.uint8)
    pixels[:, :8] += np.uint8(140 * kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=0)  # so that all files have the same size


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    return Settings(runs=tmp_path / "runs", device="cpu")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for kind, name in enumerate(("real", "fake")):
        for seed in range(30):
            draw(tmp_path / "data" / name / f"{seed}.png", 1000 * kind + seed, kind)
    return tmp_path / "data"


@pytest.fixture
def run(data: Path, settings: Settings) -> ta.Run:
    return ta.train(data, "knn", settings=settings)


def redraw(data: Path, run: ta.Run, count: int) -> None:
    """Replace the first test images, with sizes and times kept."""
    rows = run.table().where(split="test").take(np.arange(count))
    for path, label in zip(rows.paths, rows.labels, strict=True):
        status = (data / path).stat()
        draw(data / path, 7000 + int(label), int(label))
        os.utime(data / path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert (data / path).stat().st_size == status.st_size


@pytest.mark.parametrize("count", [1, 12])
def test_changed_test_images_are_refused(data: Path, run: ta.Run, settings: Settings, count: int) -> None:
    redraw(data, run, count)
    differ = "is not the file that was split" if count == 1 else "are not the files that were split"
    words = rf"{count} of 12 test images {differ}; the first is 'fake/[\s\S]*restore the files, or train again"
    with pytest.raises(DataError, match=words):
        ta.evaluate(run, open_test=True, settings=settings)
    assert not (settings.runs / "ledger.jsonl").exists() and not run.evaluations


def test_the_robustness_on_changed_images_is_refused(data: Path, run: ta.Run, settings: Settings) -> None:
    redraw(data, run, 3)
    with pytest.raises(DataError, match="3 of 12 test images are not the files that were split"):
        ta.robustness(run, open_test=True, perturbations=["gray"], settings=settings)
    path = data / run.table().where(split="valid").paths[0]
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DataError, match="1 of 6 validation images is not the file that was split"):
        ta.codec_bias(run, settings=settings)


def test_training_images_may_change_but_make_another_run(data: Path, run: ta.Run, settings: Settings) -> None:
    path = data / run.table().where(split="train").paths[0]
    path.write_bytes(path.read_bytes() + b"\0")
    assert ta.evaluate(run, open_test=True, settings=settings).opened == 1
    assert ta.train(data, "knn", settings=settings).id != run.id


def test_touched_images_are_scored(data: Path, run: ta.Run, settings: Settings) -> None:
    for path in data.rglob("*.png"):
        os.utime(path)
    found = ta.evaluate(run, open_test=True, settings=settings)
    assert found.opened == 1 and found.scores["accuracy"].n == 12


def test_images_that_moved_are_scored_where_they_are_now(data: Path, run: ta.Run, settings: Settings) -> None:
    moved = data.rename(data.with_name("moved"))
    with pytest.raises(RunError, match=r"images of knn-.* are no longer in .*data[\s\S]*or pass DATA"):
        ta.evaluate(run, open_test=True, settings=settings)
    found = ta.evaluate(run, moved, open_test=True, settings=settings)
    assert found.part == "test" and found.scores["accuracy"].n == 12
    assert [o.n for o in ledger.openings(settings.runs, run.data["fingerprint"])] == [12]


def test_other_images_are_no_test_split(run: ta.Run, settings: Settings, tmp_path: Path) -> None:
    for kind, name in enumerate(("real", "fake")):
        draw(tmp_path / "other" / name / "1.png", 400 + kind, kind)
    with pytest.raises(DataError, match="12 of 12 test images are not in other; the first is 'fake/"):
        ta.evaluate(run, tmp_path / "other", open_test=True, settings=settings)


def test_a_run_without_digests_is_to_be_trained_again(run: ta.Run, settings: Settings) -> None:
    table = run.table()
    table.frame.drop(columns="digest").to_parquet(run.folder / "split.parquet", index=False)
    with pytest.raises(RunError, match=r"stored no digests of its images[\s\S]*train it again"):
        ta.evaluate(run, open_test=True, settings=settings)
